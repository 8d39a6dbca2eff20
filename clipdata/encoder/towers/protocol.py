"""What a tower is here: a trunk and a head, and what else depends on the kind of its architecture.

It must know no architecture. Shapes: B = batch, C, H, W = channels, height, width, L = ids of a text, T = trunk
features, D = shared space.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from clipdata.encoder.towers.attention import Projection
from clipdata.encoder.towers.layering import Layers

TensorMap = Callable[[torch.Tensor], torch.Tensor]


def pass_through(features: torch.Tensor) -> torch.Tensor:
    """Stand for a head or a trimming that a tower does not have."""
    return features


def pooled(output: Any) -> torch.Tensor:
    """Take the pooled features of a tower that also gives its tokens."""
    return output[0] if isinstance(output, tuple) else output


@dataclass(frozen=True)
class Tower:
    """One live tower as functions that carry gradients.

    A tower without a projection that can be cut off is all trunk, and its head passes features through.

    Args:
        trunk: the tower's input to [B, T].
        head: [B, T] to [B, D], not L2-normalised.
        trunk_dim: T.
        head_parameters: what belongs to the head.
        layers: the trunk's parameters from its input to its head.
        attention: the projections of the trunk's attention layers.
        trim: drops what of a batch [B, L] changes no features; a text tower's.
    """

    trunk: TensorMap
    head: TensorMap
    trunk_dim: int
    head_parameters: tuple[nn.Parameter, ...]
    layers: Callable[[], Layers]
    attention: Callable[[], Iterable[Projection]]
    trim: TensorMap = pass_through


@dataclass(frozen=True)
class TowerSplit:
    """A live model's towers as four functions that carry gradients.

    Args:
        image_trunk: normalised float [B, C, H, W] to [B, T].
        image_head: [B, T] to [B, D], not L2-normalised.
        text_trunk: int64 [B, L] to [B, T].
        text_head: [B, T] to [B, D], not L2-normalised.
        trim_tokens: drops the columns of [B, L] that no text of the batch needs; the features stay the same.
        image_trunk_dim: T of the image tower.
        text_trunk_dim: T of the text tower.
        image_head_names: names of the model's parameters that belong to the image head.
        text_head_names: names of the model's parameters that belong to the text head.
    """

    image_trunk: TensorMap
    image_head: TensorMap
    text_trunk: TensorMap
    text_head: TensorMap
    trim_tokens: TensorMap
    image_trunk_dim: int
    text_trunk_dim: int
    image_head_names: tuple[str, ...]
    text_head_names: tuple[str, ...]
