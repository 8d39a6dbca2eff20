"""Which parameters an optimizer moves and how: groups by part and decay, the pull back, the clamp of the logit scale.

It knows parameters, and nothing of losses or of how long a run is; the rate of a step comes from outside, as a part of
each group's peak.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from clipdata.encoder.adapters import additions
from clipdata.encoder.towers import TowerSplit, distances
from clipdata.training.config import TrainConfig

MAX_LOGIT_SCALE = math.log(100)
"""Largest logarithm of the logit scale. Source: Radford et al. 2021, section 2.5."""

_SCALES = frozenset({"logit_scale", "logit_bias"})


def part_of(name: str, towers: TowerSplit) -> str:
    """Part of the model that a parameter belongs to: "head", "image" or "text" (trunks)."""
    if name in _SCALES or name in towers.image_head_names or name in towers.text_head_names:
        return "head"
    return "image" if name.startswith("visual.") else "text"


def parameter_groups(model: nn.Module, towers: TowerSplit, config: TrainConfig) -> list[dict[str, Any]]:
    """Group the trained parameters by part, by whether they decay, and by layer where `config.layer_decay` asks for it.

    A layer's rate is its part's, times `layer_decay` for each layer from there to the head. Source: BEiT
    (arXiv 2106.08254), with the layers of timm's `param_groups_layer_decay`: the norms behind the last block are its
    own.

    Weights decay, and neither biases, norms nor the logit scale, unless `config.decay_all`: then all of them do, as in
    an optimizer of torch that is given the parameters as one list.

    Returns:
        Groups for a torch optimizer, in a fixed order, each with its peak rate as `peak_lr`.
    """
    multipliers = {"head": 1.0, "image": config.image_lr_multiplier, "text": config.text_lr_multiplier}
    layer_of = distances(model) if config.layer_decay != 1 else {}
    groups: dict[tuple[str, int, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decays = config.decay_all or (parameter.ndim >= 2 and name not in _SCALES)
            groups.setdefault((part_of(name, towers), layer_of.get(name, 0), decays), []).append(parameter)
    return [
        {
            "params": parameters,
            "name": f"{part}, {f'layer -{layer}, ' if layer else ''}{'decayed' if decays else 'not decayed'}",
            "weight_decay": config.weight_decay if decays else 0.0,
            "peak_lr": config.lr * multipliers[part] * config.layer_decay**layer,
        }
        for (part, layer, decays), parameters in sorted(groups.items())
    ]


class Pull:
    """A penalty on how far the weights have moved: rate * |W - W0|^2, over all that trains but the logit scale.

    What a low-rank addition moves is the weight that it is merged into, so its W - W0 is alpha / rank * B A.

    Made before the first step of a run, also of one that goes on: W0 are the weights that the run began with.

    Args:
        model: with what trains already chosen, and the weights that training begins with.
        rate: of the sum of squares; 0 is no penalty and keeps no copy.

    Source: ProLIP (arXiv 2410.05270).
    """

    def __init__(self, model: nn.Module, rate: float) -> None:
        self._additions = list(additions(model)) if rate else []
        self._rate = rate
        left_out = {id(parameter) for added in self._additions for parameter in added.parameters()}
        left_out |= {id(model.get_parameter(name)) for name in _SCALES if getattr(model, name, None) is not None}
        trained = [one for one in model.parameters() if one.requires_grad and id(one) not in left_out]
        self._pairs = [(parameter, parameter.detach().clone()) for parameter in trained] if rate else []

    def __call__(self) -> torch.Tensor | None:
        """The penalty as a scalar with gradients, or None."""
        squares = [(now - begun).square().sum() for now, begun in self._pairs]
        squares += [added.squared() for added in self._additions]
        return self._rate * torch.stack(squares).sum() if squares else None


def build_optimizer(groups: Iterable[dict[str, Any]], config: TrainConfig) -> torch.optim.Optimizer:
    """Make the optimizer of torch that a config names, over `parameter_groups`.

    "adamw" decays weights apart from the gradient; "adam" and "sgd" add the decay to the gradient (L2).

    Source: torch.optim.AdamW, Adam and SGD (no Nesterov, no dampening), with `betas` and `eps`, or `momentum`.
    """
    if config.optimizer == "sgd":
        return torch.optim.SGD(list(groups), lr=config.lr, momentum=config.momentum)
    kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[config.optimizer]
    return kind(list(groups), lr=config.lr, betas=config.betas, eps=config.eps)


def set_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set every group's rate to a part of its own peak."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * factor


def clamp_logit_scale(model: nn.Module) -> None:
    """Keep the logit scale at 100 or below."""
    scale = getattr(model, "logit_scale", None)
    if isinstance(scale, nn.Parameter):
        with torch.no_grad():
            scale.clamp_(max=MAX_LOGIT_SCALE)
