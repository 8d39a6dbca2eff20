"""The statistics against published tables, closed forms and simulations with known truth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from clipdata import statistics as stats


def clustered_differences(rng, num_clusters, mean=0.0):
    """Differences that share a cluster effect, in clusters of 1 to 8 rows."""
    size_C = rng.integers(1, 9, num_clusters)
    cluster_N = np.repeat(np.arange(num_clusters), size_C)
    shared_C = rng.normal(size=num_clusters)
    return cluster_N, mean + shared_C[cluster_N] + 0.5 * rng.normal(size=len(cluster_N))


def interval_of(cluster_N, moved_N, seed, resamples=400):
    sums = stats.sum_clusters(stats.dense_codes(cluster_N), moved_N)
    draws_R = stats.bootstrap_means(sums, resamples=resamples, seed=seed)[:, 0]
    return stats.percentile_interval(draws_R, len(sums))


def share_of_intervals_that_hold_zero(num_clusters, replications, *, by_row=False):
    rng = np.random.default_rng(num_clusters)
    held = 0
    for seed in range(replications):
        cluster_N, moved_N = clustered_differences(rng, num_clusters)
        if by_row:
            cluster_N = np.arange(len(moved_N))
        low, high = interval_of(cluster_N, moved_N, seed)
        held += low <= 0.0 <= high
    return held / replications


def test_intervals_of_clustered_rows_hold_the_truth_nineteen_times_in_twenty():
    share = share_of_intervals_that_hold_zero(60, 800)

    assert abs(share - 0.95) < 3.0 * math.sqrt(0.95 * 0.05 / 800)


def test_intervals_stay_honest_with_eight_clusters():
    share = share_of_intervals_that_hold_zero(8, 800)

    assert 0.91 < share < 0.99


def test_resampling_rows_instead_of_clusters_would_be_far_too_sure():
    assert share_of_intervals_that_hold_zero(60, 300, by_row=True) < 0.80


def test_bootstrap_error_agrees_with_the_closed_form_of_a_ratio_of_cluster_sums():
    cluster_N, moved_N = clustered_differences(np.random.default_rng(1), 500, mean=0.3)
    sums = stats.sum_clusters(stats.dense_codes(cluster_N), moved_N)
    residual_C = sums.sums_CK[:, 0] - sums.means()[0] * sums.weight_C
    closed_form = math.sqrt(500 / 499 * np.sum(residual_C**2)) / sums.weight_C.sum()

    draws_R = stats.bootstrap_means(sums, resamples=4000, seed=0)[:, 0]

    assert stats.standard_error(draws_R, 500) == pytest.approx(closed_form, rel=0.06)


def test_dealing_many_clusters_into_hands_keeps_the_error():
    cluster_N, moved_N = clustered_differences(np.random.default_rng(2), 40_000)
    sums = stats.sum_clusters(stats.dense_codes(cluster_N), moved_N)
    residual_C = sums.sums_CK[:, 0] - sums.means()[0] * sums.weight_C
    closed_form = math.sqrt(np.sum(residual_C**2)) / sums.weight_C.sum()

    draws_R = stats.bootstrap_means(sums, resamples=4000, seed=0, max_units=2048)[:, 0]

    assert draws_R.mean() == pytest.approx(sums.means()[0], abs=closed_form / 4)
    assert stats.standard_error(draws_R, 40_000) == pytest.approx(closed_form, rel=0.06)


def test_the_same_seed_gives_the_same_draws_whatever_the_cluster_codes_are():
    cluster_N, moved_N = clustered_differences(np.random.default_rng(3), 50)
    renamed_N = (cluster_N * 7919 + 13) % 104_729

    first = interval_of(cluster_N, moved_N, seed=5)

    assert first == interval_of(renamed_N, moved_N, seed=5)
    assert first != interval_of(cluster_N, moved_N, seed=6)


def test_cluster_sums_add_rows_in_order_of_first_appearance():
    code_N = stats.dense_codes(np.array([9, 2, 9, -4]))
    sums = stats.sum_clusters(code_N, np.array([1.0, 2.0, 3.0, 4.0]))

    assert code_N.tolist() == [0, 1, 0, 2]
    assert sums.weight_C.tolist() == [2, 1, 1]
    assert sums.sums_CK[:, 0].tolist() == [4, 2, 4]


def test_cluster_sums_leave_out_codes_without_a_row():
    assert len(stats.sum_clusters(np.array([0, 5, 5]), np.ones(3))) == 2


# Source: the two-sided 5 % column of any printed table of Student's t, and the normal share below -t * sqrt(n / (n-1)).
@pytest.mark.parametrize(("num_clusters", "t"), [(2, 12.706), (3, 4.303), (5, 2.776), (31, 2.042)])
def test_intervals_of_few_clusters_widen_as_the_printed_table_of_student_says(num_clusters, t):
    draws_R = np.random.default_rng(0).normal(size=200_000)
    wider = t * math.sqrt(num_clusters / (num_clusters - 1))
    tail = 0.5 * math.erfc(wider / math.sqrt(2.0))

    found = stats.percentile_interval(draws_R, num_clusters)

    assert found == pytest.approx(tuple(np.quantile(draws_R, [tail, 1.0 - tail])), abs=2e-3)


@pytest.mark.parametrize("num_clusters", [2, 3, 4, 7, 30, 1002])
def test_p_values_agree_with_the_integrated_density_of_student(num_clusters):
    dof, t = num_clusters - 1, np.linspace(0.0, 2.0, 20_001)
    scale = math.exp(math.lgamma((dof + 1) / 2) - math.lgamma(dof / 2)) / math.sqrt(dof * math.pi)
    density = scale * (1 + t * t / dof) ** (-(dof + 1) / 2)

    assert stats.two_sided_p(-2.0, 1.0, num_clusters) == pytest.approx(1.0 - 2 * np.trapezoid(density, t), abs=1e-6)


def test_p_values_far_out_do_not_round_to_nothing():
    assert 0.0 < stats.two_sided_p(40.0, 1.0, 1_000) < 1e-100


@pytest.mark.parametrize(("mended", "broken"), [(0, 0), (1, 0), (5, 5), (1, 9), (9, 1), (12, 30), (301, 39)])
def test_mcnemar_agrees_with_the_binomial_tail_in_whole_numbers(mended, broken):
    discordant = mended + broken
    tail = sum(math.comb(discordant, k) for k in range(min(mended, broken) + 1))

    assert stats.mcnemar_exact(mended, broken) == pytest.approx(min(1.0, 2 * tail / 2**discordant), rel=1e-9)


def test_mcnemar_of_a_million_pairs_agrees_with_the_normal_limit():
    mended, broken = 501_500, 498_500
    z = (mended - broken - 1) / math.sqrt(mended + broken)

    assert stats.mcnemar_exact(mended, broken) == pytest.approx(math.erfc(z / math.sqrt(2.0)), rel=1e-3)


# Source: the worked example of four p-values in Holm's step-down procedure.
def test_holm_multiplies_by_the_questions_left_and_never_falls():
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert stats.holm([]) == []


def test_smallest_detectable_difference_is_found_four_times_in_five():
    rng = np.random.default_rng(0)
    error = 0.2
    detectable = stats.smallest_detectable(error)
    estimates = detectable + error * rng.normal(size=100_000)

    assert np.mean(estimates > 1.959964 * error) == pytest.approx(0.8, abs=0.005)


def test_p_values_and_mcnemar_are_those_of_scipy():
    from scipy.stats import binomtest, t

    assert stats.two_sided_p(1.3, 0.7, 12) == pytest.approx(2 * t.sf(1.3 / 0.7, 11), rel=1e-12)
    assert stats.mcnemar_exact(150_100, 149_000) == pytest.approx(binomtest(150_100, 299_100).pvalue, rel=1e-9)
