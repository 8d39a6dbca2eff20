"""Which parameters an optimizer moves and how fast: groups, weight decay, the pull back, the learning rate of a step.

The rate is a pure function of the step, so that a run that goes on needs no scheduler's state.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from clipdata.encoder.towers import TowerSplit
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
    """Group the trained parameters by part and by whether their weights decay.

    Returns:
        Groups for a torch optimizer, in a fixed order, each with its peak rate as `peak_lr`.
    """
    multipliers = {"head": 1.0, "image": config.image_lr_multiplier, "text": config.text_lr_multiplier}
    groups: dict[tuple[str, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decays = parameter.ndim >= 2 and name not in _SCALES
            groups.setdefault((part_of(name, towers), decays), []).append(parameter)
    return [
        {
            "params": parameters,
            "name": f"{part}, {'decayed' if decays else 'not decayed'}",
            "weight_decay": config.weight_decay if decays else 0.0,
            "peak_lr": config.lr * multipliers[part],
        }
        for (part, decays), parameters in sorted(groups.items())
    ]


class Pull:
    """A penalty on how far the weights have moved: rate * |W - W0|^2, over all that trains but the logit scale.

    Made before the first step of a run, also of one that goes on: W0 are the weights that the run began with.

    Args:
        model: with what trains already chosen, and the weights that training begins with.
        rate: of the sum of squares; 0 is no penalty and keeps no copy.

    Source: ProLIP (arXiv 2410.05270).
    """

    def __init__(self, model: nn.Module, rate: float) -> None:
        self._rate = rate
        trained = [p for name, p in model.named_parameters() if p.requires_grad and name not in _SCALES]
        self._pairs = [(parameter, parameter.detach().clone()) for parameter in trained] if rate else []

    def __call__(self) -> torch.Tensor | None:
        """The penalty as a scalar with gradients, or None."""
        if not self._pairs:
            return None
        return self._rate * torch.stack([(now - begun).square().sum() for now, begun in self._pairs]).sum()


def build_optimizer(groups: Iterable[dict[str, Any]], config: TrainConfig) -> torch.optim.Optimizer:
    """Make the optimizer that a config names."""
    kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[config.optimizer]
    return kind(list(groups), lr=config.lr, betas=config.betas, eps=config.eps)


def rate_factor(step: int, num_steps: int, config: TrainConfig) -> float:
    """Learning rate of a step, as a part of the peak.

    Args:
        step: from 0. The first step of a warm-up already moves.
        num_steps: steps of the whole run.
    """
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return 1.0
    progress = (step - config.warmup_steps) / max(num_steps - config.warmup_steps, 1)
    return 0.5 * (1 + math.cos(math.pi * progress))


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
