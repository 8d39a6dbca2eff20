"""open_clip's own text transformer, in a class of its own or unpacked in CLIP.

Shapes: as in protocol.py.
"""

from __future__ import annotations

from itertools import chain
from typing import Any

import torch
from torch import nn

from clipdata.encoder.towers.attention import projections_in
from clipdata.encoder.towers.layering import Layers, layers_in_order
from clipdata.encoder.towers.protocol import Tower, pass_through


def native_text_tower(text: Any) -> Tower:
    """Cut open_clip's own text tower, which CLIP carries unpacked among its own attributes."""
    from open_clip.transformer import text_global_pool

    pool_type = getattr(text, "text_pool_type", None) or text.pool_type
    eos_id = getattr(text, "text_eos_id", None) or getattr(text, "eos_id", None)
    appends_class = getattr(text, "cls_emb", None) is not None

    def embed(tokens_BL: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        if hasattr(text, "_embeds"):
            features_BLT, mask = text._embeds(tokens_BL)
        else:
            features_BLT = text.token_embedding(tokens_BL) + text.positional_embedding[: tokens_BL.shape[1]]
            mask = text.attn_mask
        length = features_BLT.shape[1]
        return features_BLT, None if mask is None else mask[..., :length, :length]

    def trunk(tokens_BL: torch.Tensor) -> torch.Tensor:
        features_BLT, mask = embed(tokens_BL)
        features_BLT = text.transformer(features_BLT, attn_mask=mask)
        if appends_class:
            return text.ln_final(text_global_pool(features_BLT, pool_type="last"))
        return text_global_pool(text.ln_final(features_BLT), tokens_BL, pool_type, eos_token_id=eos_id)

    def head(trunk_BT: torch.Tensor) -> torch.Tensor:
        projection = text.text_projection
        if projection is None:
            return trunk_BT
        return projection(trunk_BT) if isinstance(projection, nn.Linear) else trunk_BT @ projection

    def trim(tokens_BL: torch.Tensor) -> torch.Tensor:
        # With a causal mask the end mark cannot see what follows it.
        is_end = tokens_BL if pool_type == "argmax" else tokens_BL.eq(eos_id or 0).int()
        return tokens_BL[:, : int(is_end.argmax(dim=-1).max()) + 1] if len(tokens_BL) else tokens_BL

    causal = text.attn_mask is not None and pool_type in ("argmax", "eos") and not appends_class
    return Tower(
        trunk=trunk,
        head=head,
        trunk_dim=text.ln_final.normalized_shape[0],
        head_parameters=_parameters_of(text.text_projection),
        layers=lambda: _layers(text),
        attention=lambda: projections_in(text.transformer),
        trim=trim if causal else pass_through,
    )


def _parameters_of(projection: nn.Linear | nn.Parameter | None) -> tuple[nn.Parameter, ...]:
    if projection is None:
        return ()
    return tuple(projection.parameters()) if isinstance(projection, nn.Linear) else (projection,)


def _layers(text: Any) -> Layers:
    embeddings = [*text.token_embedding.parameters(), text.positional_embedding]
    if getattr(text, "cls_emb", None) is not None:
        embeddings.append(text.cls_emb)
    rest = chain(text.transformer.parameters(), text.ln_final.parameters())
    return layers_in_order([*embeddings, *rest], list(text.transformer.resblocks))
