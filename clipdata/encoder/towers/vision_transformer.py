"""open_clip's own image towers: the vision transformer, and the ResNet whose attention pooling cannot be cut.

Shapes: as in protocol.py.
"""

from __future__ import annotations

import types
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn

from clipdata.encoder.towers.attention import Projection, projections_in
from clipdata.encoder.towers.layering import Layers, layers_in_order
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
        layers=lambda: _layers(visual),
        attention=lambda: projections_in(visual),
    )


def uncut(visual: Any) -> Tower:
    """Take an image tower whole: a ResNet, or whatever else open_clip has."""
    return Tower(
        trunk=lambda image_BCHW: pooled(visual(image_BCHW)),
        head=pass_through,
        trunk_dim=int(visual.output_dim),
        head_parameters=(),
        layers=lambda: _layers(visual),
        attention=lambda: _attention(visual),
    )


def _layers(visual: Any) -> Layers:
    projection = getattr(visual, "proj", None)
    parameters = [parameter for parameter in visual.parameters() if parameter is not projection]
    if hasattr(visual, "attnpool"):
        stages = visual.layer1, visual.layer2, visual.layer3, visual.layer4
        return layers_in_order(parameters, [block for stage in stages for block in stage])
    return layers_in_order(parameters, list(visual.transformer.resblocks))


def _attention(visual: Any) -> Iterable[Projection]:
    pool = getattr(visual, "attnpool", None)
    return (
        projection if pool is None else replace(projection, prepare=partial(_call_layers, pool))
        for projection in projections_in(visual)
    )


def _call_layers(pool: Any) -> None:
    # A bound method, unlike a closure, follows its module through copy.deepcopy.
    pool.__dict__["forward"] = types.MethodType(_pooled_by_layers, pool)


def _pooled_by_layers(pool: Any, features_BTHW: torch.Tensor) -> torch.Tensor:
    """What open_clip's AttentionPool2d gives, [B, D], by calling its layers; its own forward takes their weights."""
    cells_BLT = features_BTHW.flatten(2).transpose(1, 2)
    tokens_BLT = torch.cat([cells_BLT.mean(dim=1, keepdim=True), cells_BLT], dim=1) + pool.positional_embedding
    query_B1T, key_BLT, value_BLT = pool.q_proj(tokens_BLT[:, :1]), pool.k_proj(tokens_BLT), pool.v_proj(tokens_BLT)
    heads = (one.unflatten(-1, (pool.num_heads, -1)).transpose(1, 2) for one in (query_B1T, key_BLT, value_BLT))
    attended_BHLT = nn.functional.scaled_dot_product_attention(*heads)
    return pool.c_proj(attended_BHLT.transpose(1, 2).flatten(2))[:, 0]
