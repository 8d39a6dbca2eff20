"""Ranks: R@k, mean reciprocal rank and median rank before and after, with paired intervals. Knows arrays; no table."""

from __future__ import annotations

import dataclasses

import numpy as np

from clipdata.comparison.changes import Change, verdict_of
from clipdata.comparison.intervals import MIN_CLUSTERS, Sampling, change
from clipdata.comparison.score_records import Ranks
from clipdata.errors import SchemaError
from clipdata.statistics import (
    AnyFloatArray,
    FloatArray,
    IntArray,
    percentile_interval,
    resampled_totals,
    standard_error,
)

SIZES = (1, 5, 10)
_VALUES = 512


def compare_ranks(
    source: str, before_N: np.ndarray, after_N: np.ndarray, cluster_N: IntArray, longest: int | None, sampling: Sampling
) -> Ranks:
    """Figures of ranks.

    Args:
        source: where the ranks come from, in words.
        before_N: rank of each row, from 1.
        after_N: the same after.
        cluster_N: cluster of each row, as `dense_codes` gives them.
        longest: how many things are ranked at most, where that is known: no R@k tells anything from there on.
        sampling: how intervals are made.
    """
    sizes = [k for k in SIZES if k == 1 or longest is None or k < longest]
    return Ranks(
        source=source,
        recall={str(k): change(cluster_N, _hits(before_N, k), _hits(after_N, k), sampling) for k in sizes},
        reciprocal=change(cluster_N, 1.0 / before_N, 1.0 / after_N, sampling),
        median=median_change(before_N, after_N, cluster_N, sampling),
    )


def _hits(rank_N: np.ndarray, k: int) -> AnyFloatArray:
    return (rank_N <= k).astype(np.float32)


def require_ranks(column: str, values_N: FloatArray) -> None:
    """Check that a column holds ranks.

    Raises:
        SchemaError: a value is below 1 or not whole.
    """
    wrong_N = (values_N < 1.0) | (values_N != np.rint(values_N))
    if wrong_N.any():
        raise SchemaError(
            f"compare: {column!r} holds {float(values_N[wrong_N][0]):.6g}; expected ranks, whole numbers from 1",
            hint="name columns of ranks, or of score lists with label_index=…; or leave --ranks out",
        )


def median_change(before_N: np.ndarray, after_N: np.ndarray, cluster_N: IntArray, sampling: Sampling) -> Change:
    """The change of a median, of which lower is better, by the percentile bootstrap of whole clusters."""
    num_clusters = int(cluster_N.max()) + 1
    before, after = float(np.median(before_N)), float(np.median(after_N))
    plain = Change(len(before_N), num_clusters, before, after, after - before, higher_is_better=False)
    if num_clusters < MIN_CLUSTERS or sampling.anytime:  # no sequence of ours holds a median
        return plain
    rng = np.random.default_rng(sampling.seed)
    num_units = min(num_clusters, sampling.max_units)
    unit_C = rng.permutation(num_clusters) % num_units if num_clusters > num_units else np.arange(num_clusters)
    value_V = _values(np.concatenate([before_N, after_N]))
    counts = [_histogram(rank_N, value_V, unit_C[cluster_N], num_units) for rank_N in (before_N, after_N)]
    totals_RK = resampled_totals(np.column_stack(counts), resamples=sampling.resamples, rng=rng)
    medians = [_medians(part_RV, value_V) for part_RV in np.split(totals_RK, 2, axis=1)]
    draws_R = medians[1] - medians[0]
    low, high = percentile_interval(draws_R, num_clusters)
    return dataclasses.replace(
        plain,
        low=low,
        high=high,
        standard_error=standard_error(draws_R, num_clusters),
        verdict=verdict_of(low, high, higher_is_better=False),
        method="percentile",
    )


def _values(rank_N: np.ndarray) -> FloatArray:
    """The distinct ranks, or so many quantiles of them: their places are all that a median needs."""
    distinct = np.unique(rank_N)
    if len(distinct) > _VALUES:
        distinct = np.unique(np.quantile(rank_N, np.linspace(0.0, 1.0, _VALUES), method="higher"))
    return distinct.astype(np.float64)


def _histogram(rank_N: np.ndarray, value_V: FloatArray, unit_N: IntArray, num_units: int) -> FloatArray:
    place_N = np.searchsorted(value_V, rank_N)
    cell_N = unit_N * len(value_V) + np.minimum(place_N, len(value_V) - 1)
    return np.bincount(cell_N, minlength=num_units * len(value_V)).reshape(num_units, -1).astype(np.float64)


def _medians(counts_RV: FloatArray, value_V: FloatArray) -> FloatArray:
    """The median of each row of counts; the middle of both where two are in the middle."""
    below_RV = np.cumsum(counts_RV, axis=1)
    half_R1 = below_RV[:, -1:] / 2.0
    lower_R, upper_R = (below_RV < half_R1).sum(axis=1), (below_RV <= half_R1).sum(axis=1)
    middle_R: FloatArray = (value_V[lower_R] + value_V[np.minimum(upper_R, len(value_V) - 1)]) / 2.0
    return middle_R
