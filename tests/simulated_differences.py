"""Paired differences with a known mean, in clusters that hang together, and how often an interval holds it.

Shapes: N rows, C clusters.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import ndtr

from clipdata.comparison.intervals import Sampling, change

KINDS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float]] = {
    "normal": (lambda z_N: z_N, 0.0),
    # Answers mended, broken or as they were: a mean of 0, of whole numbers.
    "answers": (lambda z_N: np.where(ndtr(z_N) < 0.15, -1.0, np.where(ndtr(z_N) > 0.85, 1.0, 0.0)), 0.0),
    # Bounded and skewed, as probabilities that mostly rise by little and sometimes by much.
    "skewed": (lambda z_N: ndtr(z_N) ** 4, 0.2),
}
MAX_CLUSTER = 5


def differences(
    rng: np.random.Generator, num_rows: int, correlation: float, kind: str
) -> tuple[np.ndarray, np.ndarray]:
    """Clusters of 1 to 5 rows, and differences whose normal scores correlate so within them: int64, float64 [N]."""
    size_C = rng.integers(1, MAX_CLUSTER + 1, num_rows)
    cluster_N = np.repeat(np.arange(num_rows), size_C)[:num_rows]
    shared_C, own_N = rng.normal(size=num_rows), rng.normal(size=num_rows)
    return cluster_N, KINDS[kind][0](np.sqrt(correlation) * shared_C[cluster_N] + np.sqrt(1 - correlation) * own_N)


def shares(
    num_rows: int, correlation: float, kind: str, *, repetitions: int, resamples: int = 600, seed: int = 0
) -> tuple[float, float]:
    """Share of intervals that hold the true mean, and share that call an A/A comparison better.

    An A/A comparison is one whose true mean difference is zero: the mean is taken off.
    """
    rng = np.random.default_rng([seed, num_rows, int(100 * correlation), list(KINDS).index(kind)])
    held = better = 0
    for draw in range(repetitions):
        cluster_N, moved_N = differences(rng, num_rows, correlation, kind)
        moved_N = moved_N - KINDS[kind][1]
        found = change(cluster_N, np.zeros(num_rows), moved_N, Sampling(resamples=resamples, seed=draw))
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 0.0 <= found.high
        better += found.verdict == "better"
    return held / repetitions, better / repetitions


def share_of_false_alarms(kind: str, *, looks: int, first: int, last: int, repetitions: int, seed: int = 0) -> float:
    """Share of A/A comparisons that an anytime interval calls better or worse at any of the looks, as rows come in."""
    rng = np.random.default_rng(seed)
    stops = np.unique(np.linspace(first, last, looks).astype(int))
    alarms = 0
    for _ in range(repetitions):
        cluster_N, moved_N = differences(rng, MAX_CLUSTER * last, 0.5, kind)
        moved_N = moved_N - KINDS[kind][1]
        end_C = np.cumsum(np.bincount(cluster_N))
        for stop in stops:
            rows = slice(0, end_C[stop - 1])
            found = change(cluster_N[rows], np.zeros(rows.stop), moved_N[rows], Sampling(anytime=True))
            if found.verdict != "unclear":
                alarms += 1
                break
    return alarms / repetitions
