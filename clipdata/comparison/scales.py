"""Scales: values that cannot be held against each other, a probability and a logit, a cosine and a percentage.

What a step of ours writes its lineage tells. Of other columns the range of the values tells, and only where it leaves
no doubt. Knows lineage and arrays; reads no table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from clipdata.comparison.provenance import Provenance
from clipdata.errors import SchemaError
from clipdata.statistics import FloatArray

Scale = Literal["probabilities", "cosines"]
_BOUNDS: dict[Scale, tuple[float, float]] = {"probabilities": (0.0, 1.0), "cosines": (-1.0, 1.0)}
_ROUNDING = 1e-3
_MANY = 0.25  # of the values beyond 2 leave no doubt that they are no shares


@dataclass(frozen=True)
class _Range:
    """Where the values of a column lie."""

    low: float
    high: float
    is_whole: bool
    share_beyond_two: float

    @classmethod
    def of(cls, values_N: FloatArray) -> _Range:
        low, high = float(values_N.min()), float(values_N.max())
        if max(-low, high) > 1.0 + _ROUNDING:
            return cls(low, high, False, np.count_nonzero(np.abs(values_N) > 2.0) / len(values_N))
        return cls(low, high, bool((values_N == np.rint(values_N)).all()), 0.0)

    def __str__(self) -> str:
        return f"{self.low:.4g} … {self.high:.4g}"

    @property
    def is_small(self) -> bool:
        """Whether it is that of shares, probabilities and cosines, and no mere counts or marks."""
        return max(-self.low, self.high) <= 1.0 + _ROUNDING and not self.is_whole

    def lies_in(self, scale: Scale) -> bool:
        low, high = _BOUNDS[scale]
        return low - _ROUNDING <= self.low and self.high <= high + _ROUNDING


def scale_of(origin: Provenance) -> Scale | None:
    """What a step of ours writes; None for other steps, and for columns without a lineage."""
    made = origin.maker or origin.lineage
    if made is None:
        return None
    if made.step == "PairScore":
        return "cosines"
    if made.step == "ClassScores":
        return "probabilities"
    if made.step == "ChoiceScores":
        return "cosines" if made.parameters.get("probabilities") is False else "probabilities"
    return None


def require_one_scale(
    names: tuple[str, str], origins: tuple[Provenance, Provenance], values: tuple[FloatArray, FloatArray]
) -> None:
    """Check that both columns' values can be subtracted from each other.

    Raises:
        SchemaError: they are on two scales.
    """
    scales = tuple(scale_of(origin) for origin in origins)
    ranges = tuple(_Range.of(values_N) for values_N in values)
    if scales[0] and scales[1]:
        if scales[0] != scales[1]:
            raise _differ(names, [f"holds {scale}, as its lineage says" for scale in scales])
        return
    for one, other in ((0, 1), (1, 0)):
        scale = scales[one]
        if scale is not None and not ranges[other].lies_in(scale):
            said = [""] * 2
            said[one], said[other] = f"holds {scale}, as its lineage says", f"runs from {ranges[other]}"
            raise _differ(names, said)
        if scales == (None, None) and ranges[one].is_small and ranges[other].share_beyond_two >= _MANY:
            raise _differ(names, [f"runs from {each}" for each in ranges])


def _differ(names: tuple[str, str], said: list[str]) -> SchemaError:
    found = ", ".join(f"{name!r} {told}" for name, told in zip(names, said, strict=True))
    return SchemaError(
        f"compare: {found}; expected both on one scale, or their difference means nothing",
        hint="map both with one step and the same parameters: clipdata map TABLE choice-scores NAME -p "
        "probabilities=true, or divide percentages by 100; any_scale=True (--any-scale) compares them as they are",
    )
