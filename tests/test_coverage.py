"""Self-test: intervals hold the truth nineteen times in twenty, also of few rows in clusters, and alarms are rare.

`benchmarks/coverage.py` runs the same with repetitions enough to state the figures; here the tolerance is three
standard errors of so many repetitions.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as oracle

from clipdata.comparison.intervals import Sampling, Spread, change, sequence_half_width
from clipdata.statistics import ClusterSums, benjamini_hochberg, sum_clusters
from tests.simulated_differences import share_of_false_alarms, shares

REPETITIONS = {30: 300, 100: 200, 1000: 80}


def error_of(share, repetitions):
    return math.sqrt(share * (1.0 - share) / repetitions)


@pytest.mark.parametrize("num_rows", REPETITIONS)
@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.8])
def test_intervals_hold_the_truth_and_hardly_any_comparison_is_called_better_by_chance(num_rows, correlation):
    repetitions = REPETITIONS[num_rows]

    held, better = shares(num_rows, correlation, "normal", repetitions=repetitions, seed=1)

    assert 0.93 - 3.0 * error_of(0.95, repetitions) < held < 0.97 + 3.0 * error_of(0.95, repetitions)
    assert better < 0.025 + 3.0 * error_of(0.025, repetitions)


def test_two_hundred_looks_raise_an_alarm_in_one_of_twenty_at_most():
    alarms = share_of_false_alarms("answers", looks=200, first=30, last=330, repetitions=50)

    assert alarms < 0.05 + 3.0 * error_of(0.05, 50)


def test_where_clusters_are_skewed_the_interval_reaches_further_on_the_side_of_the_long_tail():
    moved_N = np.exp(1.5 * np.random.default_rng(0).normal(size=60))
    rows = np.arange(60), np.zeros(60), moved_N
    found = change(*rows, Sampling(seed=1))
    even = change(rows[0], rows[1], np.random.default_rng(0).normal(size=60), Sampling(seed=1))
    theirs = oracle.bootstrap((moved_N,), np.mean, method="BCa", random_state=0).confidence_interval

    assert (found.method, even.method) == ("studentised", "percentile")
    assert found.high - found.difference > 1.4 * (found.difference - found.low)
    assert found.high >= theirs.high
    assert found.low < theirs.low


def test_the_jackknife_and_the_acceleration_are_those_of_a_plain_loop():
    rng = np.random.default_rng(2)
    cluster_N, moved_N = np.repeat(np.arange(12), rng.integers(1, 5, 12)), None
    moved_N = rng.normal(size=len(cluster_N)) ** 2
    spread = Spread.of(sum_clusters(cluster_N, moved_N))
    without = np.array([moved_N[cluster_N != c].mean() for c in range(12)])
    fall = without.mean() - without

    assert spread.error == pytest.approx(math.sqrt(11 / 12 * ((without - moved_N.mean()) ** 2).sum()))
    assert spread.acceleration == pytest.approx((fall**3).sum() / (6 * (fall**2).sum() ** 1.5))
    assert spread.effective == pytest.approx(len(moved_N) ** 2 / (np.bincount(cluster_N) ** 2).sum())


def test_a_cluster_of_nearly_all_rows_makes_the_interval_very_wide_and_constant_differences_make_it_a_point():
    size_C = np.array([1000, 1, 1, 1, 1])
    cluster_N = np.repeat(np.arange(5), size_C)
    moved_N = np.random.default_rng(0).normal(size=1004)

    lopsided = change(cluster_N, np.zeros(1004), moved_N, Sampling())
    constant = change(cluster_N, np.zeros(1004), np.full(1004, 0.25), Sampling())

    assert lopsided.high - lopsided.low > 3.0 * 2 * 1.96 * moved_N.std() / math.sqrt(1004)
    assert (constant.low, constant.high, constant.verdict) == (0.25, 0.25, "better")


def test_a_confidence_sequence_is_the_published_one_and_narrowest_where_it_is_tuned_to():
    """At 1,000 clusters, by the formula of the paper with rho from its tuning, up to Student's factor."""
    rho2 = (-2 * math.log(0.05) + math.log(-2 * math.log(0.05) + 1)) / 1000
    radius = math.sqrt(2 * (1000 * rho2 + 1) / (1000**2 * rho2) * math.log(math.sqrt(1000 * rho2 + 1) / 0.05))
    few = oracle.t.ppf(0.975, 999) / oracle.norm.ppf(0.975)
    widths = {n: sequence_half_width(1.0 / math.sqrt(n), n) * math.sqrt(n) for n in (30, 100, 1000, 10_000, 10**6)}

    assert widths[1000] == pytest.approx(few * radius * math.sqrt(1000))
    assert 1.5 < widths[1000] / 1.96 < 1.6
    assert min(widths.values()) == pytest.approx(widths[1000], rel=0.03)
    looked_at_too_early = change(np.arange(29), np.zeros(29), np.ones(29), Sampling(anytime=True))
    assert looked_at_too_early.verdict == "too few to say"


@pytest.mark.parametrize(
    "p_values", [[], [0.2], [0.01, 0.04, 0.03, 0.005], [0.5, 0.5, 1.0, 0.0], [1e-9, 0.9, 0.04, 0.04]]
)
def test_benjamini_and_hochberg_are_those_of_scipy_and_statsmodels(p_values):
    from statsmodels.stats.multitest import multipletests

    found = benjamini_hochberg(p_values)

    if p_values:
        assert found == pytest.approx(oracle.false_discovery_control(p_values))
        assert found == pytest.approx(multipletests(p_values, method="fdr_bh")[1])
    else:
        assert found == []


def test_hands_of_many_clusters_give_the_interval_of_the_clusters():
    rng = np.random.default_rng(3)
    moved_N = rng.normal(0.01, 1.0, 40_000)
    found = change(np.arange(40_000), np.zeros(40_000), moved_N, Sampling(max_units=2048))
    sums = ClusterSums(np.ones(40_000), moved_N[:, None])

    assert found.low == pytest.approx(moved_N.mean() - 1.96 * Spread.of(sums).error, abs=0.15 * Spread.of(sums).error)
