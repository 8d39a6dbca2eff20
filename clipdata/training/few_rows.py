"""What few rows do to a tower with BatchNorm of which more than the projection trains. It knows models and configs."""

from __future__ import annotations

from typing import Any

from torch import nn

from clipdata.encoder import Encoder
from clipdata.training.config import TrainConfig
from clipdata.training.recipe_choice import FLYP_FROM

_BatchNorm = nn.modules.batchnorm._BatchNorm


def has_batchnorm(encoder: Encoder) -> bool:
    """Whether the image tower normalises by statistics of batches, as ResNets do."""
    model: Any = encoder.model
    return any(isinstance(module, _BatchNorm) for module in model.visual.modules())


def warning_of_few_rows(encoder: Encoder, config: TrainConfig, num_rows: int) -> str | None:
    """What is known to happen where such a tower is trained on few rows; None where nothing is.

    Source: openai/CLIP#150 and wise-ft#10, where ResNets that are wholly fine-tuned end below zero-shot.
    """
    if config.train not in ("last_blocks", "all") or num_rows >= FLYP_FROM or not has_batchnorm(encoder):
        return None
    return (
        f"the image tower of {encoder.name} has BatchNorm, and {num_rows:,} rows are few for train={config.train}: "
        "such models often end below where they began; --set train=projections is safe, and compare tells"
    )
