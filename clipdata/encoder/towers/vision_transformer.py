"""open_clip's own image towers: the vision transformer, and the ResNet whose attention pooling cannot be cut.

Shapes: as in protocol.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

from torch import nn

from clipdata.encoder.towers.protocol import Tower, pass_through, pooled


def vision_transformer(visual: Any) -> Tower:
    """Cut open_clip's VisionTransformer at its projection, if it has one."""
    if visual.proj is None:
        return uncut(visual)
    return Tower(
        trunk=lambda image_BCHW: visual._pool(visual.transformer(visual._embeds(image_BCHW)))[0],
        head=lambda trunk_BT: trunk_BT @ visual.proj,
        trunk_dim=visual.proj.shape[0],
        head_parameters=(visual.proj,),
        last_blocks=lambda num_blocks: _last_blocks(visual, num_blocks),
    )


def uncut(visual: Any) -> Tower:
    """Take an image tower whole: a ResNet, or whatever else open_clip has."""
    return Tower(
        trunk=lambda image_BCHW: pooled(visual(image_BCHW)),
        head=pass_through,
        trunk_dim=int(visual.output_dim),
        head_parameters=(),
        last_blocks=lambda num_blocks: _last_blocks(visual, num_blocks),
    )


def _last_blocks(visual: Any, num_blocks: int) -> Iterator[nn.Parameter]:
    if hasattr(visual, "attnpool"):
        yield from visual.attnpool.parameters()
        yield from chain.from_iterable(block.parameters() for block in visual.layer4[-num_blocks:])
        return
    yield from chain.from_iterable(block.parameters() for block in visual.transformer.resblocks[-num_blocks:])
    for name in ("ln_post", "attn_pool", "attn_pool_contrastive"):
        yield from (getattr(visual, name, None) or nn.Identity()).parameters()
