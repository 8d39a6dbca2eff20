"""The statistics of a paired comparison: resampling of clusters, exact McNemar, many questions at once, Student's t.

Pure functions of arrays; SciPy has the distributions, and is loaded when one is asked for. Knows nothing of tables,
columns or images: a "cluster" is whatever the caller says is drawn together (all questions about one picture, all
captions of one photo).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
AnyFloatArray = NDArray[np.floating[Any]]

MAX_RESAMPLED_UNITS = 8192
_DRAWS_IN_MEMORY = 4_000_000


@dataclass(frozen=True)
class ClusterSums:
    """Sums over clusters, which are all that a resampled ratio of sums needs.

    Args:
        weight_C: number of rows in each of the C clusters.
        sums_CK: for each cluster the sum of each of the K measured values.
    """

    weight_C: FloatArray
    sums_CK: FloatArray

    def __post_init__(self) -> None:
        assert self.sums_CK.ndim == 2
        assert len(self.weight_C) == len(self.sums_CK)

    def __len__(self) -> int:
        return len(self.weight_C)

    def means(self) -> FloatArray:
        """Mean over rows of each value."""
        return self.sums_CK.sum(axis=0) / self.weight_C.sum()


def dense_codes(cluster_N: IntArray) -> IntArray:
    """Codes 0, 1, 2, … in order of first appearance, so that nothing depends on which integers stand for clusters."""
    # Arrow's table of values keeps the order of appearance; sorting ten million codes takes four times as long.
    code_N: IntArray = pa.array(cluster_N).dictionary_encode().indices.to_numpy().astype(np.int64)
    return code_N


def sum_clusters(code_N: IntArray, *values_N: AnyFloatArray) -> ClusterSums:
    """Add up the rows of each cluster.

    Args:
        code_N: cluster of each row, as `dense_codes` gives them; codes without a row are left out.
        values_N: K arrays of values.
    """
    weight_C = np.bincount(code_N)
    used = weight_C > 0
    sums = [np.bincount(code_N, weights=values)[used] for values in values_N]
    return ClusterSums(weight_C[used].astype(np.float64), np.stack(sums, axis=1))


def deal(sums: ClusterSums, num_units: int, rng: np.random.Generator) -> ClusterSums:
    """Deal the clusters at random into `num_units` hands of (nearly) equal size and add up each hand.

    Hands of independent clusters are themselves independent and equally distributed, so resampling hands has the same
    mean, variance and skewness as resampling clusters, at a cost that no longer grows with the table. With 8,192 hands
    the standard error is known to 1/sqrt(2 * 8192) = 0.8 %, less than 2,000 resamples blur it by themselves.
    """
    hand_C = rng.permutation(len(sums)) % num_units
    columns = [np.bincount(hand_C, weights=column, minlength=num_units) for column in sums.sums_CK.T]
    weight = np.bincount(hand_C, weights=sums.weight_C, minlength=num_units)
    return ClusterSums(np.asarray(weight, np.float64), np.stack(columns, axis=1))


def bootstrap_means(
    sums: ClusterSums, *, resamples: int, seed: int, max_units: int = MAX_RESAMPLED_UNITS
) -> FloatArray:
    """Means over rows when whole clusters are drawn with replacement.

    Args:
        sums: what `sum_clusters` returned.
        resamples: number of draws R.
        seed: the same seed gives the same draws.
        max_units: above this many clusters they are dealt into this many hands first (see `deal`).

    Returns:
        means_RK, one row of K means a draw.
    """
    rng = np.random.default_rng(seed)
    if len(sums) > max_units:
        sums = deal(sums, max_units, rng)
    totals_RK = resampled_totals(np.column_stack([sums.weight_C, sums.sums_CK]), resamples=resamples, rng=rng)
    return totals_RK[:, 1:] / totals_RK[:, :1]


def resampled_totals(columns_UK: FloatArray, *, resamples: int, rng: np.random.Generator) -> FloatArray:
    """Sums of K columns over U units that are drawn with replacement: totals_RK, a row for each of R draws."""
    num_units = len(columns_UK)
    totals_RK = np.empty((resamples, columns_UK.shape[1]))
    chunk = max(1, _DRAWS_IN_MEMORY // num_units)
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        drawn = rng.integers(0, num_units, size=(size, num_units))
        drawn += np.arange(size)[:, None] * num_units
        times_RU = np.bincount(drawn.reshape(-1), minlength=size * num_units).reshape(size, num_units)
        totals_RK[start : start + size] = times_RU.astype(np.float64) @ columns_UK
    return totals_RK


def percentile_interval(draws_R: FloatArray, num_clusters: int, confidence: float = 0.95) -> tuple[float, float]:
    """The percentile interval of bootstrap draws, widened for few clusters.

    A plain percentile interval of few clusters is too narrow, twice over: it uses the standard deviation with n in
    place of n - 1, and the normal quantile in place of Student's. The quantiles are moved outwards to make up for both.

    Source: T. Hesterberg, What Teachers Should Know About the Bootstrap (2015), the "expanded percentile interval".

    Args:
        draws_R: one statistic a draw.
        num_clusters: how many clusters were resampled; at least 2.
        confidence: share of intervals that should hold the true value.
    """
    from scipy.special import ndtr, stdtrit

    assert num_clusters >= 2, "an interval needs at least two clusters"
    tail = (1.0 - confidence) / 2.0
    wider_tail = ndtr(stdtrit(num_clusters - 1, tail) * math.sqrt(num_clusters / (num_clusters - 1)))
    low, high = np.quantile(draws_R, [wider_tail, 1.0 - wider_tail])
    return float(low), float(high)


def standard_error(draws_R: FloatArray, num_clusters: int) -> float:
    """Standard error from bootstrap draws, with the n / (n - 1) that resampling leaves out."""
    return float(draws_R.std() * math.sqrt(num_clusters / max(1, num_clusters - 1)))


def smallest_detectable(error: float, *, confidence: float = 0.95, power: float = 0.8) -> float:
    """The true difference that a comparison with this standard error finds with the given power."""
    from scipy.special import ndtri

    return float(ndtri(0.5 + confidence / 2.0) + ndtri(power)) * error


def mcnemar_exact(num_mended: int, num_broken: int) -> float:
    """Two-sided exact p-value that answers are mended as often as they are broken.

    Source: Q. McNemar (1947); the exact form is the binomial test of the discordant pairs at one half.
    """
    from scipy.stats import binomtest

    discordant = num_mended + num_broken
    return float(binomtest(num_mended, discordant).pvalue) if discordant else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for having asked many questions at once.

    Source: S. Holm, A Simple Sequentially Rejective Multiple Test Procedure (1979).
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted so that, of all that fall under a bound q, no more than the share q are false in the mean.

    Source: Y. Benjamini and Y. Hochberg, Controlling the False Discovery Rate (1995).
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i], reverse=True)
    adjusted, lowest = [0.0] * len(p_values), 1.0
    for above, index in enumerate(order):
        lowest = min(lowest, p_values[index] * len(p_values) / (len(p_values) - above))
        adjusted[index] = lowest
    return adjusted


def two_sided_p(estimate: float, error: float, num_clusters: float) -> float:
    """P-value of a mean at zero, from its standard error and the number of clusters behind it."""
    if error <= 0.0:
        return 1.0 if estimate == 0.0 else 0.0
    from scipy.special import stdtr

    return float(2.0 * stdtr(max(1, num_clusters - 1), -abs(estimate) / error))


def wilson_interval(num_of: float, num: int, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of a share that was found `num_of` times in `num`; 0 to 1 where nothing was counted.

    Source: E. B. Wilson, Probable Inference, the Law of Succession, and Statistical Inference (1927).
    """
    if num <= 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, scale = num_of / num, 1 + z * z / num
    middle = (share + z * z / (2 * num)) / scale
    half = z * math.sqrt(share * (1 - share) / num + z * z / (4 * num * num)) / scale
    return max(0.0, middle - half), min(1.0, middle + half)
