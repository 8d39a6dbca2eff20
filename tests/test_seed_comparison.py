"""Two recipes with several seeds each: the interval over seeds and pictures, against closed forms and simulation."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy import stats as oracle

from clipdata.comparison import compare_seeds
from clipdata.errors import UsageError


def crossed(rng, *, seeds=3, pictures=40, of_seed=0.2, of_picture=0.5, of_cell=0.5, difference=0.0):
    """Values of S seeds a side on the rows of C pictures, one to three a picture, with no difference but the given."""
    cluster_N = np.repeat(np.arange(pictures), rng.integers(1, 4, pictures))
    base_C, moved_C = rng.normal(size=pictures), of_picture * rng.normal(size=pictures)

    def side(shift_C):
        cell_SC = of_cell * rng.normal(size=(seeds, pictures)) + of_seed * rng.normal(size=(seeds, 1))
        return (base_C + shift_C + cell_SC)[:, cluster_N]

    return side(0.0), side(moved_C + difference), cluster_N


def test_with_one_row_a_picture_and_no_scatter_between_seeds_it_is_the_paired_t_interval():
    rng = np.random.default_rng(0)
    before_N, after_N = rng.normal(size=(2, 25))

    found = compare_seeds([before_N] * 3, [after_N] * 3)
    expected = oracle.ttest_rel(after_N, before_N).confidence_interval(0.95)

    assert found.interval == pytest.approx((expected.low, expected.high), rel=1e-9)
    assert (found.over, found.error_of_seeds) == ("seeds and pictures", 0.0)


def test_with_no_scatter_between_pictures_it_is_the_t_interval_of_welch():
    before, after = np.array([0.1, 0.2, 0.15]), np.array([0.5, 0.9, 0.4, 0.7])
    spread = [np.full(40, mean) for mean in before], [np.full(40, mean) for mean in after]

    found = compare_seeds(*spread, clusters=["one picture"] * 40)
    expected = oracle.ttest_ind(after, before, equal_var=False).confidence_interval(0.95)

    assert found.over == "seeds only"
    assert found.interval == pytest.approx((expected.low, expected.high), rel=1e-9)
    assert compare_seeds(*spread).interval == pytest.approx((expected.low, expected.high), rel=1e-9)


@pytest.mark.parametrize("effects", [(0.0, 1.0, 0.3), (0.3, 0.3, 0.1), (0.1, 0.3, 1.0)])
def test_the_interval_holds_the_truth_of_other_seeds_and_other_pictures(effects):
    rng = np.random.default_rng(1)
    of_seed, of_picture, of_cell = effects
    held = 0
    for _ in range(600):
        sides = crossed(rng, of_seed=of_seed, of_picture=of_picture, of_cell=of_cell, difference=0.4)
        low, high = compare_seeds(*sides).interval
        held += low <= 0.4 <= high

    assert held / 600 > 0.95 - 3.0 * math.sqrt(0.95 * 0.05 / 600)


def test_the_error_lies_where_the_pigeonhole_bootstrap_says():
    """That bootstrap counts the scatter of single cells three times: it is an upper bound, and not far above."""
    rng = np.random.default_rng(2)
    before_SN, after_SN, cluster_N = crossed(rng, seeds=40, pictures=80, of_cell=0.4)
    found = compare_seeds(before_SN, after_SN, cluster_N)
    weight_C = np.bincount(cluster_N)
    sums = [np.stack([np.bincount(cluster_N, weights=row) for row in side]) for side in (before_SN, after_SN)]
    draws = []
    for _ in range(3000):
        times_C = np.bincount(rng.integers(0, 80, 80), minlength=80)
        before, after = (side[rng.integers(0, 40, 40)].mean(0) @ times_C / (weight_C @ times_C) for side in sums)
        draws.append(after - before)

    assert found.standard_error < 1.03 * np.std(draws)
    assert found.standard_error > 0.85 * np.std(draws)


def test_one_seed_says_nothing_of_other_seeds_and_rows_without_a_value_are_left_out():
    before_SN, after_SN, cluster_N = crossed(np.random.default_rng(3), difference=5.0)
    after_SN[1, 7] = np.nan

    one = compare_seeds(before_SN[:1], after_SN, cluster_N)
    all_of_them = compare_seeds(before_SN, after_SN, cluster_N)

    assert (one.over, one.error_of_seeds, one.num_left_out) == ("pictures only", None, 1)
    assert (all_of_them.over, all_of_them.verdict) == ("seeds and pictures", "better")
    assert all_of_them.after_by_seed == pytest.approx(np.delete(after_SN, 7, axis=1).mean(axis=1))
    assert "over seeds and pictures  better" in str(all_of_them)
    assert json.loads(json.dumps(all_of_them.to_dict()))["num_clusters"] == 40
    assert compare_seeds([[1.0]], [[2.0]]).verdict == "too few to say"


@pytest.mark.parametrize(
    ("before", "after", "clusters", "said"),
    [
        ([], [[1.0]], None, "no seed"),
        ([[1.0, 2.0]], [[1.0]], None, "the same rows"),
        ([[1.0, 2.0], [1.0]], [[1.0, 2.0]], None, "one array of the same rows for each seed"),
        ([[1.0, 2.0]], [[1.0, 2.0]], [1], "1 clusters"),
        ([[1.0, math.nan]], [[math.nan, 2.0]], None, "none has a value under every seed"),
        ([["a", "b"]], [[1.0, 2.0]], None, "before: .*expected one array of numbers"),
        ([[1.0, 2.0]], [[[1.0], [2.0, 3.0]]], None, "after: .*expected one array of numbers"),
        ([[1.0, 2.0]], [[1.0, 2.0]], np.array([["a"], None], object), "clusters: .*unhashable"),
    ],
)
def test_sides_that_do_not_fit_are_refused(before, after, clusters, said):
    with pytest.raises(UsageError, match=said):
        compare_seeds(before, after, clusters)


def test_clusters_are_values_of_any_kind_and_rows_without_one_stand_alone():
    rng = np.random.default_rng(0)
    before_SN, after_SN = rng.normal(size=(2, 3, 6))

    named = compare_seeds(before_SN, after_SN, ["a", None, "a", 3, None, 3])
    numbered = compare_seeds(before_SN, after_SN, [0, 1, 0, 2, 3, 2])

    assert named == numbered
