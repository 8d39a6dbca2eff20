"""What is compared with what: versions and tags, scales, several columns, the columns that models made."""

from __future__ import annotations

import json

import lance
import numpy as np
import pyarrow as pa
import pytest

import clipdata as cd
from clipdata.comparison import columns_of_models, compare, compare_columns, several_schema
from clipdata.errors import GateFailedError, NotFoundError, SchemaError, UsageError
from clipdata.lance_io.table import open_table
from clipdata.lineage import METADATA_KEY, Lineage
from tests.comparisons import contest, ids
from tests.json_schemas import check_schema


def made(tmp_path, name="made", **columns):
    """A table of columns (values, lineage or None)."""
    fields = [
        pa.field(n, pa.array(v).type, metadata={METADATA_KEY: lineage.to_json()} if lineage else None)
        for n, (v, lineage) in columns.items()
    ]
    uri = str(tmp_path / f"{name}.lance")
    lance.write_dataset(pa.table([pa.array(v) for v, _ in columns.values()], schema=pa.schema(fields)), uri)
    return open_table(uri)


@pytest.fixture
def versions(save):
    """Scores of a version, which a tag names, and those of the next, on rows in another order."""
    first = save(id=list("abcd"), score=[0.1, 0.2, 0.3, 0.4], kind=list("xxyy"))
    first.tag("best")
    second = save(id=list("dcba"), score=[0.9, 0.7, 0.5, 0.3], kind=list("yyxx"))
    return first, second


@pytest.mark.parametrize(("before", "after", "moved"), [
    ("score@1", "score", 0.35), ("score@best", "score", 0.35), ("score@1", "score@2", 0.35),
    ("score", "score@best", -0.35), ("score@2", "score@1", -0.35),
])  # fmt: skip
def test_a_side_names_its_version_or_tag_on_either_side(versions, before, after, moved):
    found = compare(versions[1], before, after)

    assert found.difference == pytest.approx(moved)
    assert found.mean.num_rows == 4
    assert {found.before.version, found.after.version} == {1, 2}
    assert (found.before.column, found.after.column) == ("score", "score")
    assert "before: " in str(found)


def test_groups_and_clauses_are_those_of_the_version_after(versions):
    found = compare(versions[1], "score@best", "score", where="kind = 'x'", by="kind")

    assert [(group.value, group.mean.num_rows) for group in found.groups] == [("x", 2)]


def test_a_column_that_is_called_with_an_at_is_itself(save):
    table = save(**{"id": ids(2), "a@1": [0.1, 0.2], "b": [0.3, 0.4]})

    assert compare(table, "a@1", "b").difference == pytest.approx(0.2)


@pytest.mark.parametrize(("before", "error", "said"), [
    ("score@7", NotFoundError, "no version 7"), ("score@worst", NotFoundError, "no tag 'worst'"),
    ("score@", UsageError, "COLUMN@VERSION"), ("@1", UsageError, "COLUMN@VERSION"),
    ("scor@1", SchemaError, "did you mean score"), ("score@2", UsageError, "compared with itself"),
])  # fmt: skip
def test_versions_that_are_not_there_are_named(versions, before, error, said):
    with pytest.raises(error, match=said):
        compare(versions[1], before, "score")


PROBABILITIES = Lineage("ChoiceScores", "1", {"scale": 100.0, "probabilities": True}, model="a" * 64)
COSINES = Lineage("ChoiceScores", "1", {"probabilities": False}, model="b" * 64)
PAIRS = Lineage("PairScore", "1", {}, model="c" * 64)
SHARES = [0.1, 0.7, 0.35, 0.9]
OTHERS = {
    "logits": ([-3.2, 4.1, 0.5, -2.0], None),
    "percentages": ([10.0, 70.0, 35.0, 90.0], None),
    "cosines by lineage": ([0.2, 0.25, 0.3, 0.31], PAIRS),
    "cosines below zero": ([-0.2, 0.25, 0.3, 0.31], None),
}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("swapped", [False, True])
def test_a_probability_is_not_compared_with_what_is_none(tmp_path, other, swapped):
    values, lineage = OTHERS[other]
    table = made(tmp_path, p=(SHARES, PROBABILITIES), q=(values, lineage))
    sides = ("q", "p") if swapped else ("p", "q")

    with pytest.raises(SchemaError, match="expected both on one scale") as refused:
        compare(table, *sides)
    assert "--any-scale" in refused.value.hint
    assert compare(table, *sides, any_scale=True).mean.num_rows == 4


def test_without_a_lineage_the_range_tells_only_what_leaves_no_doubt(save):
    table = save(
        share=SHARES, cosine=[0.2, 0.22, 0.3, 0.31], percent=[20.0, 22.0, 30.0, 31.0], logit=[-3.0, 2.5, 0.1, 4.0],
        aesthetic=[4.1, 5.5, 6.0, 5.0], better=[5.1, 6.5, 7.0, 6.0], truth=[0, 1, 1, 0], count=[5, 6, 0, 9],
        over=[0.2, 0.8, 0.4, 1.2],
    )  # fmt: skip

    for pair in (("cosine", "percent"), ("share", "logit"), ("percent", "share"), ("share", "aesthetic")):
        with pytest.raises(SchemaError, match="runs from"):
            compare(table, *pair)
    for pair in (
        ("share", "cosine"),
        ("aesthetic", "better"),
        ("truth", "count"),
        ("share", "over"),
        ("logit", "percent"),
    ):
        assert compare(table, *pair).mean.num_rows == 4


def test_picked_columns_and_lists_have_the_scale_of_what_made_the_lists(tmp_path):
    table = made(
        tmp_path,
        s=([[0.7, 0.3]] * 4, PROBABILITIES),
        c=([[0.2, 0.3]] * 4, COSINES),
        label_ind=([0] * 4, None),
        p=([0.7] * 4, Lineage("Pick", "1", inputs=("s", "label_ind"), upstream={"s": PROBABILITIES.fingerprint})),
        q=([0.2] * 4, Lineage("Pick", "1", inputs=("c", "label_ind"), upstream={"c": COSINES.fingerprint})),
    )

    for pair in (("s", "c"), ("p", "q")):
        with pytest.raises(SchemaError, match=r"holds probabilities, .* holds cosines"):
            compare(table, *pair)


def test_several_columns_are_held_against_the_first_or_each_other_with_their_chances_adjusted(save):
    rng = np.random.default_rng(0)
    noise = {f"n{i}": (0.4 + 0.02 * rng.normal(size=180)).tolist() for i in range(12)}
    table = contest(save, **noise)

    first = compare_columns(table, ["before", "after", "n0", "n1"])
    every = compare_columns(table, list(noise), pairs="all")

    assert [(pair.before, pair.after) for pair in first.pairs] == [("before", n) for n in ("after", "n0", "n1")]
    assert [pair.verdict for pair in first.pairs] == ["better", "unclear", "unclear"]
    assert len(every.pairs) == 66
    assert any(one.mean.verdict != "unclear" for one in every.comparisons), "the seed shows one false alarm at least"
    assert all(pair.verdict == "unclear" for pair in every.pairs)
    assert all(pair.q_value <= pair.p_value for pair in every.pairs)
    check_schema(json.loads(json.dumps(first.to_dict())), several_schema())
    check_schema(json.loads(json.dumps(first.comparisons[0].to_dict())), several_schema())
    assert first.to_dict()["mean"] == first.to_dict()["several"][0]["comparison"]["mean"]
    assert "before → n1" in first._repr_html_()
    for word in ("before → after", "before → n1", "Holm <0.001", "180 rows"):
        assert word in str(first)
    assert first.gate(min_difference=-1.0) is first
    with pytest.raises(GateFailedError, match=r"before → n0 missed .*; before → n1 missed"):
        first.gate(min_difference=0.1)


@pytest.mark.parametrize("columns", ["before", ["before"], ["before", "after", "before"]])
def test_fewer_than_two_columns_or_one_twice_are_refused(save, columns):
    with pytest.raises(UsageError, match="two names or more"):
        compare_columns(contest(save), columns)
    with pytest.raises(UsageError, match="'first' or 'all'"):
        compare_columns(contest(save), ["before", "after"], pairs="some")


def test_models_are_compared_by_the_columns_that_they_made_in_the_same_way(tmp_path):
    lists = {n: Lineage("ChoiceScores", "1", model=n * 64, inputs=("image",)) for n in "ab"}
    picks = {n: Lineage("Pick", "1", inputs=(n, "label_ind"), upstream={n: lists[n].fingerprint}) for n in "ab"}
    columns = {n: ([[0.7, 0.3]] * 3, lists[n]) for n in "ab"}
    picked = {f"p{n}": ([0.7, 0.6, 0.5], picks[n]) for n in "ab"}
    twice = {"pa2": ([0.7, 0.6, 0.5], picks["a"])}
    models = ["b" * 64, "a" * 64]

    assert columns_of_models(made(tmp_path, "lists", **columns, label_ind=([0] * 3, None)), models) == ["b", "a"]
    whole = made(tmp_path, "picked", **columns, label_ind=([0] * 3, None), **picked)
    assert columns_of_models(whole, models) == ["pb", "pa"]
    some = made(tmp_path, "twice", **columns, label_ind=([0] * 3, None), **picked, **twice)
    assert columns_of_models(some, models) == ["b", "a"], "lists are told apart where picked columns are not"
    with pytest.raises(UsageError, match=r"runs/a: a, pa; runs/c: none; expected one column of each"):
        columns_of_models(whole, ["a" * 64, "c" * 64], ["runs/a", "runs/c"])


def test_the_public_names_reach_all_of_it(save):
    table = contest(save)

    assert str(cd.compare_columns(table, ["before", "after"])) == str(compare_columns(table, ["before", "after"]))
    assert cd.compare_seeds([[1.0, 2.0]], [[2.0, 3.0]]).difference == 1.0
