"""Recipes: functions that return a TrainConfig which is known to work. They know no models and no tables."""

from __future__ import annotations

from typing import Any

from clipdata.training.config import TrainConfig


def caption_contest(**overrides: Any) -> TrainConfig:
    """Choose the right caption of a picture among several, by training the two projections.

    Args:
        overrides: any field of `TrainConfig`.

    Raises:
        ConfigError: lists every override that is wrong.
    """
    return TrainConfig.from_json(overrides)
