"""What lists of scores tell beyond right and wrong: ranks, and how far they can be taken as probabilities. Records.

Shapes: B bins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from clipdata.comparison.changes import Change

TEMPERATURES = (0.02, 50.0)
"""Between these the best one is looked for; scores that tell nothing have none."""


@dataclass(frozen=True)
class Ranks:
    """How early the right choice comes among all, from 1; of those that score as high as it, it is the last.

    Args:
        source: "score lists", or "rank columns" where the compared columns hold ranks.
        recall: k → share of rows whose right choice is among the first k (R@k); R@1 is the accuracy.
        reciprocal: mean of 1 / rank (MRR).
        median: median rank.
    """

    source: str
    recall: Mapping[str, Change]
    reciprocal: Change
    median: Change


@dataclass(frozen=True)
class Bin:
    """Rows of one stretch of confidence, one point of a reliability curve.

    Args:
        num_rows: how many.
        confidence: mean probability of the choice that scores highest.
        accuracy: share of rows in which that is the right one.
    """

    num_rows: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Reliability:
    """One side's probabilities held against what came true.

    Args:
        brier: mean over rows of the squared differences between probabilities and truth, summed over choices; halved
            where every row has two, as scikit-learn does. It is reliability - resolution + uncertainty.
        reliability: mean squared distance between what was said and what came true, over 20 bins of equal width.
        resolution: how far the bins' truths lie apart, with what forecasts tell within a bin.
        uncertainty: what saying the mean every time would give.
        calibration_error: expected calibration error: mean distance between confidence and accuracy over `curve`.
        calibration_low: lower end of its 95 % interval; None with too few images for one.
        calibration_high: upper end.
        curve: bins of (nearly) equal numbers of rows.
        temperature: that by which the logarithms of the scores are best divided: above 1 they were too sure.
    """

    brier: float
    reliability: float
    resolution: float
    uncertainty: float
    calibration_error: float
    calibration_low: float | None
    calibration_high: float | None
    curve: tuple[Bin, ...]
    temperature: float | None


@dataclass(frozen=True)
class Tempered:
    """What one number alone does: scores divided by the temperature that fits best, fitted on the other half of rows.

    Args:
        num_rows: rows it was looked at on.
        alone: log loss before as it is, and with its temperature: what temperature scaling alone would have changed.
        alone_brier: the same of the Brier score.
        beyond: log loss with each side's own temperature: what changed beyond that.
    """

    num_rows: int
    alone: Change
    alone_brier: Change
    beyond: Change


@dataclass(frozen=True)
class Probabilities:
    """Scores as probabilities.

    Args:
        log_loss: mean negative logarithm (natural) of the right choice's probability.
        brier: see `Reliability.brier`.
        calibration_error: expected calibration error, with an interval.
        before: one side by itself.
        after: the other.
        tempered: what temperature scaling does to both; None with too few images to fit on one half.
        num_clipped: rows whose right choice has a probability of 0 on either side; the least that its type tells from
            0 stands in for it.
    """

    log_loss: Change
    brier: Change
    calibration_error: Change
    before: Reliability
    after: Reliability
    tempered: Tempered | None
    num_clipped: int
