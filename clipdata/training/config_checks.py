"""What the values of a training config must be beside their types: ranges, and fields that exclude each other.

It knows fields, and nothing of how a config is read or used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clipdata.training.config import TrainConfig

AUTO = "auto"
"""`evaluate_where` that goes by the table's split; `prepared` that takes what fits."""
_RANGES: tuple[tuple[tuple[str, ...], Callable[[Any], bool], str], ...] = (
    (
        ("epochs", "batch_size", "accumulate", "step_epochs", "evaluation_batch", "checkpoint_every_epochs", "blocks",
         "lora_rank", "keep_checkpoints"),
        lambda value: value >= 1,
        "at least 1",
    ),
    (
        ("min_steps", "warmup_steps", "text_cache", "checkpoint_every_steps", "export_every_epochs",
         "tell_every_steps", "num_workers", "grad_cache_chunk"),
        lambda value: value >= 0,
        "0 or more",
    ),
    (("lr", "eps", "step_gamma", "lora_alpha"), lambda value: 0 < value < math.inf, "a number above 0"),
    (
        ("weight_decay", "pull", "image_lr_multiplier", "text_lr_multiplier"),
        lambda value: 0 <= value < math.inf,
        "0 or a number above it",
    ),
    (("betas",), lambda value: all(0 <= beta < 1 for beta in value), "two numbers from 0 to below 1"),
    (("grad_clip",), lambda value: value is None or value > 0, "a number above 0, or none"),
    (("num_threads", "steps"), lambda value: value is None or value >= 1, "at least 1, or none"),
    (
        ("max_bad_share", "warmup_ratio", "momentum", "validation_share"),
        lambda value: 0 <= value <= 1,
        "a share from 0 to 1",
    ),
    (("lora_dropout", "ema"), lambda value: 0 <= value < 1, "a number from 0 to below 1"),
    (("layer_decay",), lambda value: 0 < value <= 1, "a number above 0 up to 1"),
    (
        ("wise_ft",),
        lambda value: not isinstance(value, (int, float)) or 0 <= value <= 1,
        "a number from 0 to 1, auto, or none",
    ),
    (("init_logit_scale",), lambda value: value is None or 0 < value <= 100, "a number above 0 up to 100, or none"),
)  # fmt: skip


def out_of_range(config: TrainConfig) -> list[str]:
    """Say of every field that is out of its range, or that another one excludes, what was found and expected."""
    return [
        f"{name} is {getattr(config, name)}; expected {expected}"
        for names, holds, expected in _RANGES
        for name in names
        if not holds(getattr(config, name))
    ] + list(_excluded(config))


def _excluded(config: TrainConfig) -> Iterator[str]:
    """What is wrong with fields beside each other."""
    if config.image_trunk is not None and config.train in ("last_blocks", "all"):
        yield (
            f"image_trunk is {config.image_trunk!r} and train is {config.train!r}; features that are computed once can "
            'only train what lies behind them: train="projections" or train="text", or image_trunk=none to decode '
            "images"
        )
    if config.image_trunk is not None:
        asked = {"prepared": config.prepared not in (None, AUTO), "augment": config.augment is not None}
        for name in (name for name, is_asked in asked.items() if is_asked):
            yield (
                f"image_trunk is {config.image_trunk!r} and {name} is {getattr(config, name)!r}; no picture is read "
                f"where features are: expected {name}=none, or image_trunk=none"
            )
    if config.best is not None and config.evaluate_where is None:
        yield f"best is {config.best!r} and no row is measured; expected evaluate_where, or best=none"
