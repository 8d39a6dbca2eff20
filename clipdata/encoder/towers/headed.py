"""A trunk of any kind and a head of any kind: the tower of a model that open_clip's classes cannot express.

Shapes: as in protocol.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from clipdata.encoder.towers.protocol import Tower, pooled


class HeadedTower(nn.Module):
    """A trunk and behind it a head.

    Args:
        trunk: gives [B, T], or a tuple that begins with it.
        head: from [B, T] to [B, D].
        trunk_dim: T.
        output_dim: D.
    """

    image_size: tuple[int, int]

    def __init__(self, trunk: nn.Module, head: nn.Module, trunk_dim: int, output_dim: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = head
        self.trunk_dim = trunk_dim
        self.output_dim = output_dim

    @property
    def config(self) -> Any:
        """transformers' config of a text trunk that has one, or None."""
        return getattr(self.trunk, "config", None)

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """Return [B, D] from the tower's input, not L2-normalised."""
        return self.head(pooled(self.trunk(given)))

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Compute activations anew in the backward pass, where the trunk can."""
        trunk: Any = self.trunk
        if hasattr(trunk, "set_grad_checkpointing"):
            trunk.set_grad_checkpointing(enable)


def headed_tower(module: HeadedTower, tower_of: Callable[[Any], Tower]) -> Tower:
    """Cut a tower between its trunk and its head.

    Args:
        module: the tower.
        tower_of: makes a Tower of its trunk; what that takes for a head belongs to the trunk here.
    """
    inner = tower_of(module.trunk)
    return replace(
        inner,
        trunk=lambda given: inner.head(inner.trunk(given)),
        head=module.head,
        trunk_dim=module.trunk_dim,
        head_parameters=tuple(module.head.parameters()),
    )
