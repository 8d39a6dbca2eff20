"""Probabilities: log loss, Brier score and its parts, calibration, and what temperature scaling alone would change.

Knows arrays; reads no table. Shapes: M rows, C clusters, U units that are resampled, B bins, S rows of the sample.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from clipdata.answers import Lists
from clipdata.comparison.changes import Change, verdict_of
from clipdata.comparison.intervals import MIN_CLUSTERS, Sampling, change
from clipdata.comparison.score_records import TEMPERATURES, Bin, Probabilities, Reliability, Tempered
from clipdata.comparison.score_rows import ScoreRows, SideScores
from clipdata.statistics import FloatArray, IntArray, dense_codes

CURVE_BINS = 15
MIN_HALF_CLUSTERS = 10
_KNUTH, _MIX = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)


def compare_probabilities(
    rows: ScoreRows, right_before_M: np.ndarray, right_after_M: np.ndarray, cluster_M: IntArray, sampling: Sampling
) -> Probabilities:
    """Every figure of both sides' probabilities.

    Args:
        rows: what was kept of the lists.
        right_before_M: 1 where the choice that scores highest is the right one.
        right_after_M: the same after.
        cluster_M: cluster of each row, as `dense_codes` gives them.
        sampling: how intervals are made.
    """
    before, after = rows.before, rows.after
    halved = 0.5 if before.pairs_only and after.pairs_only else 1.0
    temperatures, tempered = _tempered(rows, cluster_M, halved, sampling)
    curves = [_Curve.of(*one) for one in ((before.confidence_M, right_before_M), (after.confidence_M, right_after_M))]
    gaps = _gaps(curves, cluster_M, sampling)
    sides = [
        _reliability(side, halved, curve, ends, temperature)
        for side, curve, ends, temperature in zip((before, after), curves, gaps.ends, temperatures, strict=True)
    ]
    return Probabilities(
        log_loss=change(cluster_M, before.loss_M, after.loss_M, sampling, higher_is_better=False),
        brier=change(cluster_M, halved * before.brier_M, halved * after.brier_M, sampling, higher_is_better=False),
        calibration_error=gaps.change,
        before=sides[0],
        after=sides[1],
        tempered=tempered,
        num_clipped=int((before.clipped_M | after.clipped_M).sum()),
    )


def _reliability(
    side: SideScores,
    halved: float,
    curve: _Curve,
    ends: tuple[float, float] | None,
    temperature: float | None,
) -> Reliability:
    """The parts of the Brier score: reliability, resolution, uncertainty. They add up, within bins too.

    Source: A. H. Murphy, A New Vector Partition of the Probability Score (1973); D. B. Stephenson, C. A. S. Coelho and
        I. T. Jolliffe, Two Extra Components in the Brier Score Decomposition (2008), on what is lost within bins, which
        is counted to the resolution here.
    """
    cells = side.cells[side.cells[:, 0] > 0]
    count_B, said_B, square_B, true_B, product_B = cells.T
    total, base = count_B.sum(), true_B.sum() / count_B.sum()
    mean_said_B, mean_true_B = said_B / count_B, true_B / count_B
    reliability = float((count_B * (mean_said_B - mean_true_B) ** 2).sum())
    between = float((count_B * (mean_true_B - base) ** 2).sum())
    variance = float((square_B - count_B * mean_said_B**2).sum())
    covariance = float((product_B - count_B * mean_said_B * mean_true_B).sum())
    uncertainty = float(total * base * (1.0 - base))
    of_one_entry = total == len(side.loss_M)  # of a label, the yes alone
    per_row = (1.0 if of_one_entry else halved) / len(side.loss_M)
    return Reliability(
        brier=float(halved * side.brier_M.mean()),
        reliability=reliability * per_row,
        resolution=(between - variance + 2.0 * covariance) * per_row,
        uncertainty=uncertainty * per_row,
        calibration_error=curve.error,
        calibration_low=ends[0] if ends else None,
        calibration_high=ends[1] if ends else None,
        curve=curve.bins,
        temperature=temperature,
    )


@dataclasses.dataclass(frozen=True)
class _Curve:
    """Equal-mass bins of confidence of one side: the bin of each row, and how far it lies from what came true."""

    bin_M: IntArray
    gap_M: FloatArray
    bins: tuple[Bin, ...]
    error: float

    @classmethod
    def of(cls, confidence_M: np.ndarray, right_M: np.ndarray) -> _Curve:
        """Bins by quantiles, so that equal confidences share one.

        Source: M. P. Naeini, G. F. Cooper and M. Hauskrecht (2015) and C. Guo et al., On Calibration of Modern Neural
            Networks (2017), on the error; K. Nguyen and B. O'Connor (2015), on bins of equal numbers.
        """
        edges = np.unique(np.quantile(confidence_M, np.linspace(0.0, 1.0, CURVE_BINS + 1)[1:-1]))
        bin_M = np.searchsorted(edges, confidence_M, side="right")
        gap_M = confidence_M.astype(np.float64) - right_M
        count_B = np.bincount(bin_M, minlength=len(edges) + 1)
        said_B = np.bincount(bin_M, confidence_M, len(edges) + 1)
        true_B = np.bincount(bin_M, right_M, len(edges) + 1)
        bins = tuple(
            Bin(int(count), float(said / count), float(true / count))
            for count, said, true in zip(count_B, said_B, true_B, strict=True)
            if count
        )
        return cls(bin_M, gap_M, bins, float(np.abs(said_B - true_B).sum() / len(bin_M)))

    def signed_M(self) -> FloatArray:
        """Each row's gap, with the sign that makes its bin's sum positive; they add up to the error."""
        signed: FloatArray = self.gap_M * np.sign(np.bincount(self.bin_M, self.gap_M))[self.bin_M]
        return signed

    def crossed_error(self, second_M: np.ndarray) -> float:
        """The error with the signs of each half's bins taken from the other half."""
        size = int(self.bin_M.max()) + 1
        first_B = np.bincount(self.bin_M, np.where(second_M, 0.0, self.gap_M), size)
        second_B = np.bincount(self.bin_M, np.where(second_M, self.gap_M, 0.0), size)
        return float((np.sign(second_B) * first_B + np.sign(first_B) * second_B).sum() / len(self.bin_M))


@dataclasses.dataclass(frozen=True)
class _Gaps:
    change: Change
    ends: tuple[tuple[float, float] | None, tuple[float, float] | None] = (None, None)


def _gaps(curves: list[_Curve], cluster_M: IntArray, sampling: Sampling) -> _Gaps:
    """The calibration error of both sides and its change, each between two bounds.

    A mean of absolute values is too large by chance: a model that is calibrated has an error too. Signed by the other
    half of the clusters, the same gaps give a mean that is too small, and about 0 for such a model. So the interval
    runs from the one, less its scatter, to the other, and more. It holds the truth in 92 to 99 % of simulations, and of
    changes in 98 % or more (`benchmarks/coverage.py`), where percentiles of resamples held it in 30 to 90 %.

    Source: R. Roelofs et al., Mitigating Bias in Calibration Error Estimation (2022), on the bias.
    """
    from scipy.special import stdtrit

    num_clusters = int(cluster_M.max()) + 1
    errors = [curve.error for curve in curves]
    plain = Change(len(cluster_M), num_clusters, errors[0], errors[1], errors[1] - errors[0], higher_is_better=False)
    if num_clusters < MIN_CLUSTERS or sampling.anytime:
        return _Gaps(plain)
    student = float(-stdtrit(num_clusters - 1, 0.025))
    second_M = second_half(cluster_M)
    low_high, signed = [], []
    for curve in curves:
        least = min(curve.error, curve.crossed_error(second_M))
        low_high.append((least, curve.error))
        signed.append(np.bincount(cluster_M, curve.signed_M()) / len(cluster_M))
    errors_of = [_error(signed_C) for signed_C in (*signed, signed[1] - signed[0])]
    half = student * errors_of[2]
    low, high = low_high[1][0] - low_high[0][1] - half, low_high[1][1] - low_high[0][0] + half
    moved = dataclasses.replace(
        plain,
        low=low,
        high=high,
        standard_error=errors_of[2],
        verdict=verdict_of(low, high, higher_is_better=False),
        method="bracketed",
    )
    ends = [
        (max(0.0, least - student * error), most + student * error)
        for (least, most), error in zip(low_high, errors_of, strict=False)
    ]
    return _Gaps(moved, (ends[0], ends[1]))


def _error(share_C: FloatArray) -> float:
    """Standard error of a sum over clusters."""
    return float(np.sqrt(len(share_C) ** 2 / (len(share_C) - 1) * share_C.var()))


def second_half(cluster_M: IntArray) -> np.ndarray:
    """Whether each row is of the second of two halves of the clusters, drawn by their codes: bool."""
    mixed_M = (cluster_M.astype(np.uint64) + np.uint64(1)) * _KNUTH
    mixed_M = (mixed_M ^ (mixed_M >> np.uint64(29))) * _MIX
    half_M: np.ndarray = (mixed_M >> np.uint64(40)) & np.uint64(1) == 1
    return half_M


def _tempered(
    rows: ScoreRows, cluster_M: IntArray, halved: float, sampling: Sampling
) -> tuple[tuple[float | None, float | None], Tempered | None]:
    """Each side's temperature, and log losses and Brier scores with that of the other half of the clusters."""
    cluster_S = dense_codes(cluster_M[rows.sampled_S])
    second_S = second_half(cluster_M[rows.sampled_S])
    halves = [np.flatnonzero(second_S), np.flatnonzero(~second_S)]
    if min(len(np.unique(cluster_S[half])) for half in halves) < MIN_HALF_CLUSTERS:
        return (None, None), None
    sides = [_Side(side.lists) for side in (rows.before, rows.after)]
    losses, scores = zip(*(side.crossed(halves) for side in sides), strict=True)
    as_is = sides[0].figures(np.ones(len(cluster_S)))
    lower = {"higher_is_better": False}
    return (sides[0].fitted(None), sides[1].fitted(None)), Tempered(
        num_rows=len(cluster_S),
        alone=change(cluster_S, as_is[0], losses[0], sampling, **lower),
        alone_brier=change(cluster_S, halved * as_is[1], halved * scores[0], sampling, **lower),
        beyond=change(cluster_S, losses[0], losses[1], sampling, **lower),
    )


class _Side:
    """The lists of the sample as logits, and what a temperature makes of them."""

    def __init__(self, lists: Lists) -> None:
        self._lists, self._logit_E = lists, np.log(lists.scores_E)
        self._owner_E = np.repeat(np.arange(len(lists.size_K)), lists.size_K)

    def fitted(self, rows_s: IntArray | None) -> float:
        """The temperature of the least log loss over these rows, by default over all.

        Source: C. Guo et al., On Calibration of Modern Neural Networks (2017), section 4.2.
        """
        from scipy.optimize import minimize_scalar

        lists = self._lists
        wanted_S = np.ones(len(lists.size_K)) if rows_s is None else np.bincount(rows_s, minlength=len(lists.size_K))

        def loss(log_temperature: float) -> float:
            loss_S = self._log_losses(np.full(len(lists.size_K), np.exp(log_temperature)))[0]
            return float(loss_S @ wanted_S)

        low, high = np.log(TEMPERATURES)
        found = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-4})
        return float(np.exp(found.x))

    def crossed(self, halves: list[IntArray]) -> tuple[FloatArray, FloatArray]:
        """Log losses and Brier scores of all rows, each with the temperature of the half that it is not in."""
        temperature_S = np.ones(len(self._lists.size_K))
        for half, other in zip(halves, halves[::-1], strict=True):
            temperature_S[half] = self.fitted(other)
        return self.figures(temperature_S)

    def figures(self, temperature_S: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Log loss and Brier score of each row at its temperature."""
        loss_S, shifted_E, log_total_S = self._log_losses(temperature_S)
        share_E = np.exp(shifted_E - log_total_S[self._owner_E])
        square_S = np.add.reduceat(share_E**2, self._lists.first_K)
        return loss_S, square_S - 2.0 * share_E[self._lists.right_K] + 1.0

    def _log_losses(self, temperature_S: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        lists = self._lists
        scaled_E = self._logit_E / temperature_S[self._owner_E]
        shifted_E = scaled_E - np.maximum.reduceat(scaled_E, lists.first_K)[self._owner_E]
        log_total_S = np.log(np.add.reduceat(np.exp(shifted_E), lists.first_K))
        return log_total_S - shifted_E[lists.right_K], shifted_E, log_total_S
