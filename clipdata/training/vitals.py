"""Vitals: what the features of a step tell of a training's health, looked at now and then.

It knows features and an objective's loss, and neither steps nor what is healthy. Shapes: B rows, D shared space.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch.nn import functional

from clipdata.training.features import BatchFacts, Features
from clipdata.training.objectives import Objective


@dataclass(frozen=True)
class Vitals:
    """What one look found.

    Args:
        image_cosine: mean cosine between the features of different pictures, from -1 to 1; None where there is one
            picture only.
        flat_loss: loss of the same rows for a model to which all scores are equal, which knows nothing: ln of the
            number of choices, or of the rows that are compared. None where it is no number.
    """

    image_cosine: float | None
    flat_loss: float | None


def look_at(features: Features, facts: BatchFacts, objective: Objective) -> Vitals:
    """Look at a batch of at least one row.

    Args:
        features: as the objective's loss takes them.
        facts: of the same rows.
    """
    with torch.no_grad():
        nothing = replace(
            features, image_BD=torch.zeros_like(features.image_BD), text_TD=torch.zeros_like(features.text_TD)
        )
        flat = float(objective.loss(nothing, facts))
        return Vitals(mean_cosine(features.image_BD, facts.picture_B), flat if math.isfinite(flat) else None)


def mean_cosine(image_BD: torch.Tensor, picture_B: torch.Tensor) -> float | None:
    """Mean cosine of all pairs of different pictures; None where there is no pair.

    Args:
        image_BD: float.
        picture_B: int64, equal for rows of one picture; 0 is a picture of its own.
    """
    # The first row of each picture, and every row of an unknown one. Of N unit vectors x, the sum over all pairs of
    # x_i · x_j is |Σx|² - N, in linear time.
    seen: set[int] = set()
    places = []
    for place, picture in enumerate(picture_B.tolist()):
        if picture == 0 or picture not in seen:
            places.append(place)
            seen.add(picture)
    num = len(places)
    if num < 2:
        return None
    unit_ND = functional.normalize(image_BD.detach()[places].double(), dim=-1)
    return float((unit_ND.sum(0).square().sum() - unit_ND.square().sum()) / (num * (num - 1)))
