"""Image towers from timm, as they are and as open_clip wraps them.

Shapes: as in protocol.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import nn

from clipdata.encoder.towers.attention import Projection, projections_in
from clipdata.encoder.towers.layering import Layers
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
            layers=lambda: _layers(visual.trunk),
            attention=lambda: _attention(visual.trunk),
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
            layers=lambda: _layers(visual.trunk),
            attention=lambda: _attention(visual.trunk),
        )
    return Tower(
        trunk=visual,
        head=pass_through,
        trunk_dim=int(visual.trunk.num_features),
        head_parameters=(),
        layers=lambda: _layers(visual.trunk),
        attention=lambda: _attention(visual.trunk),
    )


def bare_tower(trunk: Any) -> Tower:
    """Take timm's own model whole, as a trunk."""
    return Tower(
        trunk=trunk,
        head=pass_through,
        trunk_dim=int(trunk.num_features),
        head_parameters=(),
        layers=lambda: _layers(trunk),
        attention=lambda: _attention(trunk),
    )


def _in_turn(layers: Iterable[nn.Module], features: torch.Tensor) -> torch.Tensor:
    for layer in layers:
        features = layer(features)
    return features


def _layers(trunk: Any) -> Layers:
    """Cut a trunk as timm's own layer decay does; its classifier, if it has one, is no part of it."""
    from timm.models import group_parameters

    classifier = {f"{name}." for name, module in trunk.named_modules() if module is trunk.get_classifier()}
    by_group = group_parameters(trunk, trunk.group_matcher(coarse=False))
    groups = [
        [name for name in by_group[group] if not name.startswith(tuple(classifier))] for group in sorted(by_group)
    ]
    stem, *blocks = [group for group in groups if group]
    if len(blocks) > 1 and not any(map(_is_numbered, blocks[-1])):  # what lies behind the last block belongs to it
        behind = blocks.pop()
        blocks[-1] = [*blocks[-1], *behind]
    modules = [module for group in blocks for module in _modules(trunk, group)]
    return Layers(_parameters(trunk, stem), tuple(_parameters(trunk, group) for group in blocks), tuple(modules))


def _is_numbered(name: str) -> bool:
    return any(part.isdigit() for part in name.split("."))


def _parameters(trunk: Any, names: Sequence[str]) -> tuple[nn.Parameter, ...]:
    return tuple(trunk.get_parameter(name) for name in names)


def _modules(trunk: Any, group: Sequence[str]) -> Iterator[nn.Module]:
    """The numbered module whose parameters all are in a group, such as blocks.3 or stages.1.blocks.0."""
    parts = next((name.split(".") for name in group if _is_numbered(name)), [])
    for end in range(1, len(parts)):
        path = ".".join(parts[:end])
        if parts[end - 1].isdigit():
            module = trunk.get_submodule(path)
            if {f"{path}.{name}" for name, _ in module.named_parameters()} <= set(group):
                yield module
                return


def _attention(trunk: Any) -> Iterator[Projection]:
    # BEiT, EVA and Swin v2 take the weight past the layer unless they are told to.
    told = {id(one.qkv): one for one in trunk.modules() if hasattr(one, "qkv_bias_separate")}
    for projection in projections_in(trunk):
        attention = told.get(id(projection.module))
        if attention is None:
            yield projection
        else:
            yield replace(projection, prepare=partial(setattr, attention, "qkv_bias_separate", True))
