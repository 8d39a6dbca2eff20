"""Intervals: from the sums over clusters of paired differences to a `Change`. Knows arrays and draws; no table.

Which interval is decided by what was seen in simulation (`benchmarks/coverage.py`): the percentile interval of the
cluster bootstrap, widened three ways, covers 93 to 97 % from eight clusters on as long as these are not skewed. Where
they are, it is too narrow on the side of the long tail, and the studentised bootstrap is not.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np

from clipdata.comparison.changes import Change, Method, verdict_of
from clipdata.statistics import (
    MAX_RESAMPLED_UNITS,
    AnyFloatArray,
    ClusterSums,
    FloatArray,
    IntArray,
    deal,
    resampled_totals,
    smallest_detectable,
    sum_clusters,
)

MIN_CLUSTERS = 2
MIN_LOOKED_AT = 30
SKEWED = 0.05
_TAIL = 0.025
_TUNED_TO = 1_000


@dataclass(frozen=True)
class Sampling:
    """How intervals are made.

    Args:
        resamples: bootstrap draws.
        seed: of the draws.
        max_units: clusters beyond so many are dealt into hands first (`statistics.deal`).
        anytime: whether the interval must stand however often one looks.
    """

    resamples: int = 2000
    seed: int = 0
    max_units: int = MAX_RESAMPLED_UNITS
    anytime: bool = False


def change(
    cluster_N: IntArray,
    before_N: AnyFloatArray,
    after_N: AnyFloatArray,
    sampling: Sampling,
    *,
    higher_is_better: bool = True,
) -> Change:
    """The change of a mean over rows, with its interval where there are clusters enough for one.

    Args:
        cluster_N: cluster of each row, as `dense_codes` gives them.
        before_N: value of each row.
        after_N: the same after.
        sampling: how.
        higher_is_better: whether a rise is a gain.
    """
    sums = sum_clusters(cluster_N, before_N, after_N)
    before, after = (float(mean) for mean in sums.means())
    plain = Change(len(before_N), len(sums), before, after, after - before, higher_is_better=higher_is_better)
    moved = ClusterSums(sums.weight_C, (sums.sums_CK[:, 1] - sums.sums_CK[:, 0])[:, None])
    return with_interval(plain, moved, sampling)


def with_interval(plain: Change, moved: ClusterSums, sampling: Sampling) -> Change:
    """The same change with the interval of its difference.

    Args:
        plain: without one.
        moved: sums over clusters of after - before.
        sampling: how.
    """
    if len(moved) < (MIN_LOOKED_AT if sampling.anytime else MIN_CLUSTERS):
        return plain
    unit = _unit(moved)
    moved = ClusterSums(moved.weight_C, moved.sums_CK / unit)
    spread = Spread.of(moved)
    method: Method = "anytime"
    if sampling.anytime:
        half = sequence_half_width(spread.error, len(moved), spread.effective)
        low, high = plain.difference / unit - half, plain.difference / unit + half
    else:
        low, high, method = _bootstrap(moved, spread, sampling)
    low, high, error = low * unit, high * unit, spread.error * unit
    return dataclasses.replace(
        plain,
        low=low,
        high=high,
        standard_error=error,
        smallest_detectable=smallest_detectable(error),
        verdict=verdict_of(low, high, higher_is_better=plain.higher_is_better),
        method=method,
    )


def _unit(moved: ClusterSums) -> float:
    """The power of two next below the largest sum: in it squares and cubes of any values neither overflow nor vanish.

    A power of two, so that dividing by it changes no digit.
    """
    largest = float(np.abs(moved.sums_CK).max(initial=0.0))
    return math.ldexp(1.0, math.frexp(largest)[1] - 1) if largest else 1.0


@dataclass(frozen=True)
class Spread:
    """How a ratio of cluster sums scatters, by leaving out one cluster at a time.

    Args:
        mean: the ratio.
        error: its standard error by the jackknife, which few or unequal clusters do not make too small.
        plain_error: its standard error as a bootstrap has it, for large numbers, with n / (n - 1).
        acceleration: skewness of the jackknife over six times the root of the number of clusters.
        effective: how many clusters of equal size tell as much: (sum of sizes)^2 / sum of squared sizes.

    Source: B. Efron, Better Bootstrap Confidence Intervals (1987), on the acceleration; A. C. Cameron and D. L. Miller,
        A Practitioner's Guide to Cluster-Robust Inference (2015), on the jackknife and on unequal clusters.
    """

    mean: float
    error: float
    plain_error: float
    acceleration: float
    effective: float

    @classmethod
    def of(cls, moved: ClusterSums) -> Spread:
        weight_C, sum_C, num = moved.weight_C, moved.sums_CK[:, 0], len(moved)
        total, weight = float(sum_C.sum()), float(weight_C.sum())
        mean = total / weight
        residual_C = sum_C - mean * weight_C
        left_out_C = residual_C / (weight - weight_C)  # by so much the mean falls without the cluster
        square = float((left_out_C**2).sum())
        centred_C = left_out_C - left_out_C.mean()
        scatter = float((centred_C**2).sum())
        return cls(
            mean=mean,
            error=math.sqrt((num - 1) / num * square),
            plain_error=math.sqrt(num / (num - 1) * float((residual_C**2).sum())) / weight,
            acceleration=float((centred_C**3).sum()) / (6.0 * scatter**1.5) if scatter > 0.0 else 0.0,
            effective=weight**2 / float((weight_C**2).sum()),
        )


def _bootstrap(moved: ClusterSums, spread: Spread, sampling: Sampling) -> tuple[float, float, Method]:
    if spread.error == 0.0:
        return spread.mean, spread.mean, "percentile"
    rng = np.random.default_rng(sampling.seed)
    units = deal(moved, sampling.max_units, rng) if len(moved) > sampling.max_units else moved
    weight_U, sum_U = units.weight_C, units.sums_CK[:, 0]
    columns = [weight_U, sum_U]
    skewed = abs(spread.acceleration) > SKEWED
    if skewed:
        columns += [sum_U**2, sum_U * weight_U, weight_U**2]
    totals_RK = resampled_totals(np.column_stack(columns), resamples=sampling.resamples, rng=rng)
    draws_R = totals_RK[:, 1] / totals_RK[:, 0]
    low, high = _widened(draws_R, spread, len(units))
    if not skewed:
        return low, high, "percentile"
    farther = _studentised(totals_RK, draws_R, spread, len(units))
    if farther is None:
        return low, high, "percentile"
    return min(low, farther[0]), max(high, farther[1]), "studentised"


def _widened(draws_R: FloatArray, spread: Spread, num_units: int) -> tuple[float, float]:
    """The percentile interval, its quantiles moved outwards by Student's t, n / (n - 1) and the jackknife.

    Source: T. Hesterberg, What Teachers Should Know About the Bootstrap (2015), the "expanded percentile interval".
    """
    from scipy.special import ndtr, stdtrit

    freedom = max(1.0, spread.effective - 1.0)
    wider = stdtrit(freedom, _TAIL) * math.sqrt(num_units / (num_units - 1)) * spread.error / spread.plain_error
    tail = float(ndtr(wider))
    low, high = np.quantile(draws_R, [tail, 1.0 - tail])
    return float(low), float(high)


def _studentised(
    totals_RK: FloatArray, draws_R: FloatArray, spread: Spread, num_units: int
) -> tuple[float, float] | None:
    """The bootstrap of (draw - mean) / error of the draw; None where most draws have no scatter of their own.

    Source: B. Efron and R. Tibshirani, An Introduction to the Bootstrap (1993), chapter 12.
    """
    weight_R, _, square_R, product_R, weights_R = totals_RK.T
    scatter_R = square_R - 2.0 * draws_R * product_R + draws_R**2 * weights_R
    error_R = np.sqrt(num_units / (num_units - 1) * np.maximum(scatter_R, 0.0)) / weight_R
    told_R = error_R > 1e-9 * spread.error
    if told_R.mean() < 0.5:
        return None
    low, high = np.quantile((draws_R[told_R] - spread.mean) / error_R[told_R], [_TAIL, 1.0 - _TAIL])
    return spread.mean - float(high) * spread.error, spread.mean - float(low) * spread.error


def sequence_half_width(error: float, num_clusters: int, effective: float | None = None, alpha: float = 0.05) -> float:
    """Half the width of a confidence sequence of a mean: it holds the truth at all sizes at once.

    In 1 - alpha of worlds, so one may look every night and stop when one likes. It is an asymptotic one: clusters are
    independent draws, and the first look comes at 30 of them or later. It is tuned to 1,000 clusters, where it is half
    as wide again as an interval that may be looked at once.

    Source: I. Waudby-Smith, D. Arbour, R. Sinha, E. H. Kennedy and A. Ramdas, Time-uniform central limit theory and
        asymptotic confidence sequences (2024), with its tuning; the factor of Student's t for few clusters is ours.

    Args:
        error: standard error of the mean.
        num_clusters: clusters behind it.
        effective: how many of equal size tell as much; as many by default.
        alpha: share of worlds in which it may miss the truth at some size.
    """
    from scipy.special import ndtri, stdtrit

    log = math.log(alpha)
    rho2 = (-2.0 * log + math.log(-2.0 * log + 1.0)) / _TUNED_TO
    grown = num_clusters * rho2 + 1.0
    units = math.sqrt(2.0 * grown / (num_clusters * rho2) * math.log(math.sqrt(grown) / alpha))
    few = stdtrit(max(1.0, (effective or num_clusters) - 1.0), _TAIL) / ndtri(_TAIL)
    return float(few) * units * error
