"""What the values of a training config must be beside their types: ranges, and fields that exclude each other.

It knows fields, and nothing of how a config is read or used.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clipdata.training.config import TrainConfig

AUTO = "auto"
"""`evaluate_where` that goes by the table's split; `prepared` that takes what fits."""


def out_of_range(config: TrainConfig) -> list[str]:
    """Say of every field that is out of its range, or that another one excludes, what was found and expected."""
    problems = []
    at_least_1 = (
        "epochs",
        "batch_size",
        "accumulate",
        "step_epochs",
        "evaluation_batch",
        "checkpoint_every_epochs",
        "blocks",
        "lora_rank",
    )
    for name in (*at_least_1, "keep_checkpoints"):
        if getattr(config, name) < 1:
            problems.append(f"{name} is {getattr(config, name)}; expected at least 1")
    at_least_0 = ("min_steps", "warmup_steps", "text_cache", "checkpoint_every_steps", "export_every_epochs")
    for name in (*at_least_0, "tell_every_steps", "num_workers", "grad_cache_chunk"):
        if getattr(config, name) < 0:
            problems.append(f"{name} is {getattr(config, name)}; expected 0 or more")
    for name in ("lr", "eps", "step_gamma", "lora_alpha"):
        if not 0 < getattr(config, name) < math.inf:
            problems.append(f"{name} is {getattr(config, name)}; expected a number above 0")
    for name in ("weight_decay", "pull", "image_lr_multiplier", "text_lr_multiplier"):
        if not 0 <= getattr(config, name) < math.inf:
            problems.append(f"{name} is {getattr(config, name)}; expected 0 or a number above it")
    if not all(0 <= beta < 1 for beta in config.betas):
        problems.append(f"betas is {config.betas}; expected two numbers from 0 to below 1")
    if config.grad_clip is not None and not config.grad_clip > 0:
        problems.append(f"grad_clip is {config.grad_clip}; expected a number above 0, or none")
    for name in ("num_threads", "steps"):
        value = getattr(config, name)
        if value is not None and value < 1:
            problems.append(f"{name} is {value}; expected at least 1, or none")
    for name in ("max_bad_share", "warmup_ratio", "momentum", "validation_share"):
        if not 0 <= getattr(config, name) <= 1:
            problems.append(f"{name} is {getattr(config, name)}; expected a share from 0 to 1")
    for name in ("lora_dropout", "ema"):
        if not 0 <= getattr(config, name) < 1:
            problems.append(f"{name} is {getattr(config, name)}; expected a number from 0 to below 1")
    if not 0 < config.layer_decay <= 1:
        problems.append(f"layer_decay is {config.layer_decay}; expected a number above 0 up to 1")
    if isinstance(config.wise_ft, (int, float)) and not 0 <= config.wise_ft <= 1:
        problems.append(f"wise_ft is {config.wise_ft}; expected a number from 0 to 1, auto, or none")
    if config.init_logit_scale is not None and not 0 < config.init_logit_scale <= 100:
        problems.append(f"init_logit_scale is {config.init_logit_scale}; expected a number above 0 up to 100, or none")
    if config.image_trunk is not None and config.train in ("last_blocks", "all"):
        problems.append(
            f"image_trunk is {config.image_trunk!r} and train is {config.train!r}; features that are computed once can "
            'only train what lies behind them: train="projections" or train="text", or image_trunk=none to decode '
            "images"
        )
    if config.image_trunk is not None:
        asked = {"prepared": config.prepared not in (None, AUTO), "augment": config.augment is not None}
        problems += [
            f"image_trunk is {config.image_trunk!r} and {name} is {getattr(config, name)!r}; no picture is read where "
            f"features are: expected {name}=none, or image_trunk=none"
            for name, is_asked in asked.items()
            if is_asked
        ]
    if config.best is not None and config.evaluate_where is None:
        problems.append(f"best is {config.best!r} and no row is measured; expected evaluate_where, or best=none")
    return problems
