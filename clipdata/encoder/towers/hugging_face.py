"""Text towers from transformers, in our own class or as open_clip wraps them, and others of which nothing is known.

open_clip's class builds few types of encoders (no DistilBERT) and no heads but its own; ours takes any encoder.

Shapes: as in protocol.py.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from clipdata.encoder.towers.attention import projections_in
from clipdata.encoder.towers.layering import Layers, layers_in_order
from clipdata.encoder.towers.protocol import Tower, pass_through, pooled


class HuggingFaceText(nn.Module):
    """An encoder of transformers and its pooling.

    Args:
        transformer: takes input_ids and attention_mask, and gives last_hidden_state.
        pooling: "cls", "mean" or "pooler"; see tower_kinds.HuggingFaceText.
        pad_id: the id of padding, which is masked.
    """

    def __init__(self, transformer: nn.Module, pooling: str, pad_id: int) -> None:
        super().__init__()
        self.transformer = transformer
        self.pooling = pooling
        self.pad_id = pad_id

    @property
    def config(self) -> Any:
        """transformers' config of the encoder."""
        return self.transformer.config

    def forward(self, tokens_BL: torch.Tensor) -> torch.Tensor:
        """Return [B, T] from int64 [B, L]."""
        mask_BL = (tokens_BL != self.pad_id).long()
        output = self.transformer(input_ids=tokens_BL, attention_mask=mask_BL)
        if self.pooling == "pooler":
            return output.pooler_output
        hidden_BLT = output.last_hidden_state
        if self.pooling == "cls":
            return hidden_BLT[:, 0]
        mask_BL1 = mask_BL.unsqueeze(-1).to(hidden_BLT.dtype)
        # A text that is all padding has no features; it gets zeros instead of the 0 / 0 that spoil a whole batch.
        return (hidden_BLT * mask_BL1).sum(dim=1) / mask_BL1.sum(dim=1).clamp(min=1)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Compute activations anew in the backward pass."""
        getattr(self.transformer, f"gradient_checkpointing_{'enable' if enable else 'disable'}")()


def own_tower(text: HuggingFaceText) -> Tower:
    """Take an encoder with its pooling as a trunk without a head."""
    return Tower(
        trunk=text,
        head=pass_through,
        trunk_dim=int(text.config.hidden_size),
        head_parameters=(),
        layers=lambda: _layers(text.transformer),
        attention=lambda: projections_in(text.transformer),
        trim=lambda tokens_BL: _without_padding(tokens_BL, text.pad_id),
    )


def hugging_face_tower(text: Any) -> Tower:
    """Cut a Hugging Face encoder in open_clip's class behind its pooling."""
    pad_id = text.config.pad_token_id

    def trunk(tokens_BL: torch.Tensor) -> torch.Tensor:
        mask_BL = (tokens_BL != pad_id).long()
        return text.pooler(text.transformer(input_ids=tokens_BL, attention_mask=mask_BL), mask_BL)

    linear = next((layer for layer in text.proj.modules() if isinstance(layer, nn.Linear)), None)
    return Tower(
        trunk=trunk,
        head=text.proj,
        trunk_dim=text.output_dim if linear is None else linear.in_features,
        head_parameters=tuple(text.proj.parameters()),
        layers=lambda: _layers(text.transformer),
        attention=lambda: projections_in(text.transformer),
        trim=lambda tokens_BL: _without_padding(tokens_BL, pad_id),
    )


def uncut(text: Any) -> Tower:
    """Take a text tower whole."""
    return Tower(
        trunk=lambda tokens_BL: pooled(text(tokens_BL)),
        head=pass_through,
        trunk_dim=int(text.output_dim),
        head_parameters=(),
        layers=lambda: _layers(text.transformer),
        attention=lambda: projections_in(text.transformer),
    )


def _without_padding(tokens_BL: torch.Tensor, pad_id: int) -> torch.Tensor:
    """Padding is masked, so only its width matters; ids that end in no padding (or begin with it) stay whole."""
    used = (tokens_BL != pad_id).any(dim=0).nonzero()
    return tokens_BL[:, : int(used[-1]) + 1] if len(used) else tokens_BL


def _layers(transformer: nn.Module) -> Layers:
    """Cut an encoder by its longest list of layers."""
    lists = [list(module) for module in transformer.modules() if isinstance(module, nn.ModuleList)]
    return layers_in_order(transformer.parameters(), max(lists, key=len))
