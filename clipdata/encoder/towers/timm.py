"""Image towers from timm, as they are and as open_clip wraps them.

Shapes: as in protocol.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import torch
from torch import nn

from clipdata.encoder.towers.protocol import Tower, pass_through


def timm_tower(visual: Any) -> Tower:
    """Cut a timm tower at open_clip's own projection, else at timm's classifier, else not at all."""
    layers = dict(visual.head.named_children())
    pool = layers.pop("pool", None) or nn.Identity()
    if layers:
        first = layers["proj"] if "proj" in layers else layers["mlp"].fc1
        return Tower(
            trunk=lambda image_BCHW: pool(visual.trunk(image_BCHW)),
            head=lambda trunk_BT: _in_turn(layers.values(), trunk_BT),
            trunk_dim=first.in_features,
            head_parameters=tuple(chain.from_iterable(layer.parameters() for layer in layers.values())),
            last_blocks=lambda num_blocks: _last_blocks(visual.trunk, num_blocks),
        )
    classifier = visual.trunk.get_classifier()
    if isinstance(classifier, nn.Linear):
        return Tower(
            trunk=lambda image_BCHW: visual.trunk.forward_head(
                visual.trunk.forward_features(image_BCHW), pre_logits=True
            ),
            head=classifier,
            trunk_dim=classifier.in_features,
            head_parameters=tuple(classifier.parameters()),
            last_blocks=lambda num_blocks: _last_blocks(visual.trunk, num_blocks),
        )
    return Tower(
        trunk=visual,
        head=pass_through,
        trunk_dim=int(visual.trunk.num_features),
        head_parameters=(),
        last_blocks=lambda num_blocks: _last_blocks(visual.trunk, num_blocks),
    )


def bare_tower(trunk: Any) -> Tower:
    """Take timm's own model whole, as a trunk."""
    return Tower(
        trunk=trunk,
        head=pass_through,
        trunk_dim=int(trunk.num_features),
        head_parameters=(),
        last_blocks=lambda num_blocks: _last_blocks(trunk, num_blocks),
    )


def _in_turn(layers: Iterable[nn.Module], features: torch.Tensor) -> torch.Tensor:
    for layer in layers:
        features = layer(features)
    return features


def _last_blocks(trunk: Any, num_blocks: int) -> Iterator[nn.Parameter]:
    from timm.models import group_parameters

    by_group = group_parameters(trunk, trunk.group_matcher(coarse=False))
    groups = [by_group[group] for group in sorted(by_group)]
    # Blocks are numbered; most models have a norm or convolution behind them, which is not.
    has_tail = not any(part.isdigit() for name in groups[-1] for part in name.split("."))
    for name in chain.from_iterable(groups[-(num_blocks + has_tail) :]):
        yield trunk.get_parameter(name)
