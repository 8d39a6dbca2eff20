"""Ranks and probabilities of score lists, held against scikit-learn and plain loops."""

from __future__ import annotations

import json
import math

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import brier_score_loss, label_ranking_average_precision_score, log_loss

from clipdata.comparison import compare, json_schema
from clipdata.comparison.intervals import Sampling
from clipdata.comparison.probabilities import _Side, compare_probabilities
from clipdata.comparison.ranks import median_change
from clipdata.comparison.score_rows import ScoreCollector
from clipdata.errors import SchemaError, UsageError
from tests.comparisons import answered, ids
from tests.json_schemas import check_schema


def scored(rng, num_rows, choices, *, strength=1.0, sharpness=1.0):
    """Probabilities of choices as float64 [N, K], and the places of the right ones: calibrated at a sharpness of 1."""
    logit_NK = strength * rng.normal(size=(num_rows, choices))
    share_NK = np.exp(logit_NK) / np.exp(logit_NK).sum(axis=1, keepdims=True)
    label_N = (share_NK.cumsum(axis=1) < rng.random(num_rows)[:, None]).sum(axis=1)
    sharp_NK = np.exp(sharpness * logit_NK)
    return sharp_NK / sharp_NK.sum(axis=1, keepdims=True), label_N


@pytest.fixture(scope="module")
def scores():
    rng = np.random.default_rng(0)
    before_NK, label_N = scored(rng, 900, 4, strength=1.5, sharpness=2.5)
    after_NK = 0.7 * before_NK + 0.3 * np.eye(4)[label_N]
    return before_NK, after_NK, label_N


@pytest.fixture
def table(save, scores):
    before_NK, after_NK, label_N = scores
    path = [f"{n // 2}.jpg" for n in range(900)]
    return save(id=ids(900), path=path, label_ind=label_N.tolist(), scores=before_NK.tolist(), tuned=after_NK.tolist())


def test_log_loss_brier_score_and_ranks_are_those_of_scikit_learn(table, scores):
    before_NK, after_NK, label_N = scores

    found = compare(table, "scores", "tuned", calibration=True, ranks=True)

    for side_NK, word in ((before_NK, "before"), (after_NK, "after")):
        probabilities, ranks = found.probabilities, found.ranks
        assert getattr(probabilities.log_loss, word) == pytest.approx(log_loss(label_N, side_NK), rel=1e-12)
        assert getattr(probabilities.brier, word) == pytest.approx(brier_score_loss(label_N, side_NK), rel=1e-12)
        mrr = label_ranking_average_precision_score(np.eye(4)[label_N], side_NK)
        assert getattr(ranks.reciprocal, word) == pytest.approx(mrr, rel=1e-12)
        rank_N = (side_NK >= side_NK[np.arange(900), label_N][:, None]).sum(axis=1)
        assert getattr(ranks.median, word) == np.median(rank_N)
    assert list(found.ranks.recall) == ["1"], "five of four choices tell nothing"
    assert found.ranks.recall["1"] == found.accuracy.change
    assert found.probabilities.log_loss.verdict == "better"
    assert not found.probabilities.log_loss.higher_is_better


def test_parts_of_the_brier_score_add_up_and_are_those_of_a_plain_loop(table, scores):
    found = compare(table, "scores", "tuned", calibration=True).probabilities

    for side, side_NK in ((found.before, scores[0]), (found.after, scores[1])):
        truth_E, said_E = np.eye(4)[scores[2]].reshape(-1), side_NK.reshape(-1)
        bin_E = np.minimum((said_E * 20).astype(int), 19)
        bins = [np.flatnonzero(bin_E == b) for b in range(20)]
        plain = sum(len(e) * (said_E[e].mean() - truth_E[e].mean()) ** 2 for e in bins if len(e)) / 900
        assert side.reliability == pytest.approx(plain, rel=1e-9)
        assert side.uncertainty == pytest.approx(4 * 0.25 * 0.75, rel=1e-12)
        assert abs(side.reliability - side.resolution + side.uncertainty - side.brier) < 1e-12


def test_two_choices_are_halved_as_scikit_learn_does_and_equal_probabilities_share_a_bin(save):
    rng = np.random.default_rng(1)
    sure_N, label_N = rng.choice([0.5, 0.7, 0.9], 300), rng.integers(0, 2, 300)
    lists = np.column_stack([1 - sure_N, sure_N])
    table = save(label_ind=label_N.tolist(), a=lists.tolist(), b=lists[:, ::-1].tolist())

    found = compare(table, "a", "b", calibration=True).probabilities

    assert found.before.brier == pytest.approx(brier_score_loss(label_N, sure_N), rel=1e-12)
    assert found.brier.before == pytest.approx(found.before.brier, rel=1e-12)
    assert [one.confidence for one in found.before.curve] == pytest.approx([0.5, 0.7, 0.9])
    assert sum(one.num_rows for one in found.before.curve) == 300


def test_probabilities_of_a_label_are_held_against_it_as_the_textbook_does(save):
    rng = np.random.default_rng(6)
    true_N = rng.beta(1, 4, 600)
    label_N = (rng.random(600) < true_N).astype(int)
    said_N = np.clip(true_N + 0.1 * rng.normal(size=600), 0.001, 0.999)
    table = save(clicked=label_N.tolist(), p=said_N.tolist(), q=true_N.tolist())

    found = compare(table, "p", "q", label_index="clicked", calibration=True)

    assert found.probabilities.log_loss.before == pytest.approx(log_loss(label_N, said_N), rel=1e-12)
    assert found.probabilities.before.brier == pytest.approx(brier_score_loss(label_N, said_N), rel=1e-12)
    assert found.probabilities.brier.after == pytest.approx(brier_score_loss(label_N, true_N), rel=1e-12)
    for side in (found.probabilities.before, found.probabilities.after):
        assert side.uncertainty == pytest.approx(label_N.mean() * (1 - label_N.mean()), rel=1e-12)
        assert abs(side.reliability - side.resolution + side.uncertainty - side.brier) < 1e-12
    assert found.accuracy.change.before == pytest.approx(((said_N > 0.5) == label_N).mean())
    assert compare(table, "p", "q", label_index="clicked").accuracy is None


def test_calibration_error_and_curve_are_those_of_a_plain_loop_over_bins_of_equal_numbers(table, scores):
    before_NK, _, label_N = scores
    found = compare(table, "scores", "tuned", calibration=True).probabilities
    sure_N = before_NK.max(axis=1).astype(np.float32)
    right_N = before_NK.argmax(axis=1) == label_N
    order_N = np.argsort(sure_N)
    plain = sum(abs(sure_N[n].sum() - right_N[n].sum()) for n in np.array_split(order_N, 15)) / 900

    assert found.before.calibration_error == pytest.approx(plain, abs=2e-3)
    assert {one.num_rows for one in found.before.curve} <= {59, 60, 61}
    assert found.before.calibration_low < found.before.calibration_error
    assert found.calibration_error.method == "bracketed"


def test_a_temperature_undoes_exactly_the_sharpening_and_nothing_is_left_beyond_it(save):
    rng = np.random.default_rng(2)
    calm_NK, label_N = scored(rng, 2_000, 5, strength=1.5)
    sharp_NK = calm_NK**3.0 / (calm_NK**3.0).sum(axis=1, keepdims=True)
    table = save(label_ind=label_N.tolist(), sharp=sharp_NK.tolist(), calm=calm_NK.tolist())

    found = compare(table, "sharp", "calm", calibration=True)
    probabilities, tempered = found.probabilities, found.probabilities.tempered

    assert probabilities.before.temperature == pytest.approx(3.0 * probabilities.after.temperature, rel=1e-3)
    assert probabilities.after.temperature == pytest.approx(1.0, abs=0.15)
    assert tempered.alone.difference == pytest.approx(probabilities.log_loss.difference, abs=0.01)
    assert tempered.alone.verdict == "better"
    assert abs(tempered.beyond.difference) < 1e-6
    assert "temperature alone moves the log loss before by" in str(found)


def test_a_mended_log_loss_of_a_right_choice_without_any_probability_is_bounded_and_said(save):
    table = save(label_ind=[0, 1], a=pa.array([[0.0, 1.0], [0.5, 0.5]], pa.list_(pa.float32())), b=[[0.5, 0.5]] * 2)

    found = compare(table, "a", "b", calibration=True)

    assert found.probabilities.log_loss.before == pytest.approx((-math.log(2**-23) + math.log(2)) / 2)
    assert found.probabilities.num_clipped == 1
    assert found.probabilities.tempered is None
    assert any("a probability of 0" in note for note in found.notes)


def test_what_is_no_probability_and_what_has_no_lists_is_refused(save):
    table = save(
        id=ids(2), label_ind=[0, 1], s=[[0.2, 0.3], [0.1, 0.1]], t=[[0.5, 0.5]] * 2, x=[0.1, 0.2], y=[0.2, 0.1]
    )

    with pytest.raises(SchemaError, match=r"'s' holds no probabilities: a row's scores .* add up to 0.5"):
        compare(table, "s", "t", calibration=True)
    with pytest.raises(UsageError, match=r"calibration needs lists of scores behind 'x'"):
        compare(table, "x", "y", calibration=True)
    with pytest.raises(SchemaError, match=r"'x' holds 0.1; expected ranks"):
        compare(table, "x", "y", ranks=True)


def test_columns_of_ranks_are_compared_as_ranks_of_which_lower_is_better(save):
    rng = np.random.default_rng(3)
    before_N = rng.integers(1, 2_000, 1_500)
    after_N = np.maximum(1, before_N // 2)
    found = compare(save(rank=before_N.tolist(), rank_tuned=after_N.tolist()), "rank", "rank_tuned", ranks=True)

    assert found.ranks.source == "rank columns"
    assert found.mean.verdict == found.ranks.median.verdict == "better"
    assert found.ranks.recall["10"].after == pytest.approx((after_N <= 10).mean())
    assert found.ranks.reciprocal.before == pytest.approx((1 / before_N).mean())
    assert found.ranks.median.low < np.median(after_N) - np.median(before_N) < found.ranks.median.high
    assert all(row.difference > 0 for row in found.worst)


def test_medians_of_resampled_clusters_are_those_of_a_plain_bootstrap():
    rng = np.random.default_rng(4)
    cluster_N = np.repeat(np.arange(60), 3)
    before_N, after_N = rng.integers(1, 40, (2, 180))

    found = median_change(before_N, after_N, cluster_N, Sampling(resamples=4000))
    rows = cluster_N.reshape(60, 3)
    draws = []
    for _ in range(2000):
        drawn = np.isin(np.arange(180), rows) * 0  # how often each row is drawn
        np.add.at(drawn, (rng.integers(0, 60, 60)[:, None] * 3 + np.arange(3)).reshape(-1), 1)
        draws.append(np.median(np.repeat(after_N, drawn)) - np.median(np.repeat(before_N, drawn)))

    assert found.standard_error == pytest.approx(np.std(draws), rel=0.1)


def test_a_sample_of_lists_is_bounded_and_gives_the_temperature_of_all(monkeypatch):
    monkeypatch.setattr("clipdata.comparison.score_rows.SAMPLED_ENTRIES", 4_000)
    rng = np.random.default_rng(5)
    collector = ScoreCollector(("a", "b"), ranks=False, calibration=True)
    parts = []
    for _ in range(20):
        share_NK, label_N = scored(rng, 500, 3, sharpness=2.0)
        parts.append((share_NK, label_N))
        lists = pa.array(share_NK.tolist())
        collector.add(lists, lists, pa.array(label_N), np.ones(500, bool))
    rows = collector.rows()
    share_NK, label_N = (np.concatenate(part) for part in zip(*parts, strict=True))
    right_N = (share_NK.argmax(axis=1) == label_N).astype(np.float32)

    found = compare_probabilities(rows, right_N, right_N, np.arange(10_000), Sampling(resamples=200))

    assert 300 < len(rows.sampled_S) <= 1_334
    assert _Side(rows.before.lists).fitted(None) == pytest.approx(2.0, abs=0.3)
    picked = rows.before.lists.scores_E[rows.before.lists.right_K]
    assert (picked == share_NK[rows.sampled_S, label_N[rows.sampled_S]]).all()
    assert found.log_loss.before == pytest.approx(log_loss(label_N, share_NK))


def test_ranks_and_probabilities_stand_in_every_view(table, save):
    found = compare(table, "scores", "tuned", calibration=True, ranks=True)
    ragged = compare(answered(save), "scores", "tuned", calibration=True, ranks=True)

    for comparison in (found, ragged):
        check_schema(json.loads(comparison.to_json()), json_schema())
        for view in (str(comparison), comparison._repr_html_()):
            for word in ("R@1", "MRR", "median rank", "log loss", "Brier", "reliability", "calibration"):
                assert word in view
    assert "too few images or other clusters to fit a temperature" in str(ragged)
    assert found.figures()["log_loss.difference"] == found.probabilities.log_loss.difference
    assert "log loss" not in str(compare(table, "scores", "tuned"))
