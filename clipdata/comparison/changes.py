"""Changes: a figure before and after over the same rows, and what is concluded from its interval. Records alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["better", "worse", "unclear", "too few to say"]
Method = Literal["percentile", "studentised", "bracketed", "anytime", "none"]


@dataclass(frozen=True)
class Change:
    """A figure before and after over the same rows.

    Args:
        num_rows: rows behind both figures.
        num_clusters: groups of rows that were resampled together.
        before: the figure, such as a mean over rows.
        after: the same after.
        difference: after - before.
        low: lower end of the 95 % interval of the difference; None when there are too few clusters for one.
        high: upper end.
        standard_error: of the difference; None under two clusters.
        smallest_detectable: the true difference that a table of this size finds four times in five.
        verdict: "better" or "worse" when zero lies outside the interval.
        higher_is_better: whether a rise is a gain; it is a loss of ranks, losses and errors.
        method: of the interval: "percentile" of the bootstrap, widened for few or unequal clusters; "studentised", at
            each end the farther of that and the studentised bootstrap, where the clusters are skewed; "bracketed", that
            of a calibration error, between an estimate that is too small in the mean and one that is too large;
            "anytime", a confidence sequence, which stands however often one looks.
    """

    num_rows: int
    num_clusters: int
    before: float
    after: float
    difference: float
    low: float | None = None
    high: float | None = None
    standard_error: float | None = None
    smallest_detectable: float | None = None
    verdict: Verdict = "too few to say"
    higher_is_better: bool = True
    method: Method = "none"


def verdict_of(low: float, high: float, *, higher_is_better: bool) -> Verdict:
    """What an interval of a difference says of it."""
    if low <= 0.0 <= high:
        return "unclear"
    return "better" if (low > 0.0) == higher_is_better else "worse"


@dataclass(frozen=True)
class Margin:
    """Whether a figure fell by less than a margin.

    Args:
        figure: name of the figure: "mean", "accuracy" and so on.
        margin: the most that it may get worse by, in its own unit, above zero.
        unit: "points" (hundredths) or "absolute", as it was asked for.
        not_worse: whether the whole 95 % interval lies above -margin (below it, where a fall is a gain): shown not to
            be worse by as much (one-sided, at 2.5 %).
        same: whether the whole interval lies within the margin on both sides: shown to be the same but for that (two
            one-sided tests, each at 2.5 %).
        verdict: in words.
    """

    figure: str
    margin: float
    unit: Literal["points", "absolute"]
    not_worse: bool
    same: bool
    verdict: str
