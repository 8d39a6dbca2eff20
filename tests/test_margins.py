"""No worse than: margins read from words and held to intervals, and the gate that fails where that is not shown."""

from __future__ import annotations

import json

import numpy as np
import pytest

from clipdata.comparison import compare, json_schema
from clipdata.comparison.changes import Change
from clipdata.comparison.margins import hold_margins, read_margins
from clipdata.errors import GateFailedError, UsageError
from tests.comparisons import ids
from tests.json_schemas import check_schema


@pytest.mark.parametrize(("asked", "read"), [
    ("0.5pt", ("mean", 0.005, True)), ("0.5 pts", ("mean", 0.005, True)), ("1 point", ("mean", 0.01, True)),
    ("2%", ("mean", 0.02, True)), (".5pp", ("mean", 0.005, True)), ("0.005", ("mean", 0.005, False)),
    (0.25, ("mean", 0.25, False)), (2, ("mean", 2.0, False)), ("accuracy=1pt", ("accuracy", 0.01, True)),
    ("recall@5 = 0.5pt", ("recall@5", 0.005, True)), ("log_loss: 1e-3", ("log_loss", 0.001, False)),
])  # fmt: skip
def test_margins_are_read_in_points_and_in_the_figures_own_unit(asked, read):
    assert read_margins(asked) == [read]
    assert read_margins([asked, 0.1]) == [read, ("mean", 0.1, False)]


@pytest.mark.parametrize(
    "asked", ["", "abc", "-1pt", "0pt", 0, -0.1, float("nan"), float("inf"), True, "1km", "=1pt", None]
)
def test_what_is_no_margin_is_refused_with_an_example(asked):
    with pytest.raises(UsageError, match="expected a margin above zero") as refused:
        read_margins([asked])
    assert "0.5pt" in refused.value.hint


def moved(low, high, *, up=True):
    return Change(100, 50, 0.5, 0.5, (low + high) / 2, low, high, 0.001, higher_is_better=up)


@pytest.mark.parametrize(("low", "high", "up", "not_worse", "same", "verdict"), [
    (-0.004, 0.004, True, True, True, "the same within 0.5 points"),
    (-0.004, 0.009, True, True, False, "not worse than 0.5 points"),
    (-0.009, 0.004, True, False, False, "not shown to be within 0.5 points"),
    (-0.009, -0.006, True, False, False, "worse by more than 0.5 points"),
    (-0.004, -0.001, True, True, True, "the same within 0.5 points"),
    (-0.009, 0.004, False, True, False, "not worse than 0.5 points"),
    (0.006, 0.009, False, False, False, "worse by more than 0.5 points"),
    (-0.005, 0.004, True, False, False, "not shown to be within 0.5 points"),
])  # fmt: skip
def test_an_interval_within_the_margin_is_the_same_and_above_it_not_worse(low, high, up, not_worse, same, verdict):
    (found,) = hold_margins(read_margins("0.5pt"), {"mean": moved(low, high, up=up)})

    assert (found.not_worse, found.same, found.verdict) == (not_worse, same, verdict)


@pytest.fixture
def table(save):
    rng = np.random.default_rng(0)
    before_N = rng.random(400)
    path = [f"{n // 2}.jpg" for n in range(400)]
    near_N, far_N = before_N + 0.001 * rng.normal(size=400), before_N - 0.05 + 0.001 * rng.normal(size=400)
    return save(id=ids(400), path=path, before=before_N.tolist(), near=near_N.tolist(), far=far_N.tolist())


def test_the_same_is_a_finding_and_passes_the_gate(table):
    found = compare(table, "before", "near", no_worse_than="0.5pt")

    assert found.margins[0].same
    assert "mean: the same within 0.5 points" in str(found)
    assert "mean: the same within 0.5 points" in found._repr_html_()
    assert found.gate() is found
    check_schema(json.loads(found.to_json()), json_schema())


def test_what_is_not_shown_fails_the_gate_with_exit_code_7(table):
    found = compare(table, "before", "far", no_worse_than=["0.5pt", 0.2])

    assert [margin.not_worse for margin in found.margins] == [False, True]
    with pytest.raises(GateFailedError, match=r"missed 1 of 3 .*mean: worse by more than 0.5 points") as missed:
        found.gate(fail_if="rows < 10")
    assert missed.value.exit_code == 7
    assert compare(table, "before", "far", no_worse_than="0.5pt", lower_is_better=True).gate()


def test_margins_of_figures_that_are_not_there_or_no_shares_are_refused(table, save):
    with pytest.raises(UsageError, match=r"names 'accuracy', which this comparison does not have; it has mean"):
        compare(table, "before", "near", no_worse_than="accuracy=1pt")
    with pytest.raises(UsageError, match="expected a share or a probability") as refused:
        compare(save(a=[10.0, 20.0], b=[11.0, 19.0]), "a", "b", no_worse_than="0.5pt")
    assert "mean=0.5" in refused.value.hint


def test_too_few_images_show_nothing_and_fail(save):
    found = compare(save(path=["a", "a"], x=[0.5, 0.4], y=[0.5, 0.4]), "x", "y", no_worse_than=0.1)

    assert found.margins[0].verdict == "too few to say"
    with pytest.raises(GateFailedError):
        found.gate()
