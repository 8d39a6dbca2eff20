"""Text towers from transformers, as open_clip wraps them, and other text towers of which nothing is known.

Shapes: as in protocol.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from clipdata.encoder.towers.protocol import Tower, pass_through, pooled


def hugging_face_tower(text: Any) -> Tower:
    """Cut a Hugging Face encoder behind its pooling."""
    pad_id = text.config.pad_token_id

    def trunk(tokens_BL: torch.Tensor) -> torch.Tensor:
        mask_BL = (tokens_BL != pad_id).long()
        return text.pooler(text.transformer(input_ids=tokens_BL, attention_mask=mask_BL), mask_BL)

    def trim(tokens_BL: torch.Tensor) -> torch.Tensor:
        # Padding is masked, so only its width matters; ids that end in no padding (or begin with it) stay whole.
        used = (tokens_BL != pad_id).any(dim=0).nonzero()
        return tokens_BL[:, : int(used[-1]) + 1] if len(used) else tokens_BL

    linear = next((layer for layer in text.proj.modules() if isinstance(layer, nn.Linear)), None)
    return Tower(
        trunk=trunk,
        head=text.proj,
        trunk_dim=text.output_dim if linear is None else linear.in_features,
        head_parameters=tuple(text.proj.parameters()),
        last_blocks=lambda num_blocks: _last_blocks(text, num_blocks),
        trim=trim,
    )


def uncut(text: Any) -> Tower:
    """Take a text tower whole."""
    return Tower(
        trunk=lambda tokens_BL: pooled(text(tokens_BL)),
        head=pass_through,
        trunk_dim=int(text.output_dim),
        head_parameters=(),
        last_blocks=lambda num_blocks: _last_blocks(text, num_blocks),
    )


def _last_blocks(text: Any, num_blocks: int) -> Iterator[nn.Parameter]:
    """Parameters of the encoder's longest list of layers from its end, and what was declared behind it."""
    lists = [module for module in text.transformer.modules() if isinstance(module, nn.ModuleList)]
    blocks = max(lists, key=len)
    last = {id(parameter) for parameter in blocks[-num_blocks:].parameters()}
    reached = False
    for parameter in text.transformer.parameters():
        reached = reached or id(parameter) in last
        if reached:
            yield parameter
