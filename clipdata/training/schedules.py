"""Schedules: the learning rate of a step, as a part of the peak.

It is a pure function of the step and the length of the run, so that a run that goes on needs no scheduler's state. It
knows numbers alone: neither optimizers nor models.
"""

from __future__ import annotations

import math

from clipdata.training.config import TrainConfig


def rate_factor(step: int, num_steps: int, steps_per_epoch: int, config: TrainConfig) -> float:
    """Learning rate of a step, as a part of the peak.

    Args:
        step: from 0; each moves the weights once.
        num_steps: steps of the whole run.
        steps_per_epoch: steps of an epoch; only "step" counts epochs.
        config: its warm-up and schedule.

    Returns:
        From 0 to 1. A warm-up rises in equal parts to 1. Behind it "cosine" and "linear" fall, towards the 0 that they
        would reach one step after the last; "constant" stays. "step" counts its epochs from the first step on, also
        during a warm-up, which it is multiplied with.

    Source: torch.optim.lr_scheduler.StepLR, and get_linear_schedule_with_warmup and get_cosine_schedule_with_warmup of
        transformers: the same numbers where `warmup_from_zero`, or without a warm-up.
    """
    num_warmup = warmup_steps(num_steps, config)
    if config.schedule == "step":
        return _warmup(step, num_warmup, config) * _stepped(step // steps_per_epoch, config)
    if step < num_warmup:
        return _warmup(step, num_warmup, config)
    progress = (step - num_warmup) / max(num_steps - num_warmup, 1)
    if config.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    return max(1 - progress, 0.0) if config.schedule == "linear" else 1.0


def warmup_steps(num_steps: int, config: TrainConfig) -> int:
    """Steps of the warm-up of a run: `warmup_steps` where it is given, else `warmup_ratio` of the run, rounded up."""
    return config.warmup_steps or math.ceil(num_steps * config.warmup_ratio)


def _warmup(step: int, num_warmup: int, config: TrainConfig) -> float:
    if step >= num_warmup:
        return 1.0
    return (step if config.warmup_from_zero else step + 1) / num_warmup


def _stepped(epoch: int, config: TrainConfig) -> float:
    return float(config.step_gamma ** (epoch // config.step_epochs))
