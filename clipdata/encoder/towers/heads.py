"""Heads: what maps a trunk's features [B, T] into the shared space [B, D], not L2-normalised."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn

from clipdata.encoder.tower_kinds import Head


class ResidualHead(nn.Module):
    """Linear, GELU, Linear, dropout, plus the first Linear's output, then LayerNorm."""

    def __init__(self, trunk_dim: int, embed_dim: int, *, bias: bool, dropout: float) -> None:
        super().__init__()
        self.projection = nn.Linear(trunk_dim, embed_dim, bias=bias)
        self.gelu = nn.GELU()
        self.fc = nn.Linear(embed_dim, embed_dim, bias=bias)
        self.dropout = nn.Dropout(dropout)
        self.layer_norm = nn.LayerNorm(embed_dim)

    def forward(self, trunk_BT: torch.Tensor) -> torch.Tensor:
        """Return [B, D]."""
        projected_BD = self.projection(trunk_BT)
        return self.layer_norm(self.dropout(self.fc(self.gelu(projected_BD))) + projected_BD)


def build_head(head: Head, trunk_dim: int, embed_dim: int) -> nn.Module:
    """Make a head with random weights, or the identity for one of the kind "none"."""
    assert head.kind != "own"
    if head.kind == "none":
        return nn.Identity()
    if head.kind == "mlp":
        return ResidualHead(trunk_dim, embed_dim, bias=head.has_bias, dropout=head.dropout)
    linear = nn.Linear(trunk_dim, embed_dim, bias=head.has_bias)
    if head.kind == "linear":
        return linear
    return nn.Sequential(OrderedDict(projection=linear, layer_norm=nn.LayerNorm(embed_dim)))
