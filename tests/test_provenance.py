"""What a comparison says of a column, it says by that column's own lineage, and not by what lies beside it."""

from __future__ import annotations

from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pytest

import clipdata as cd
from clipdata.errors import LineageMismatchError, SchemaError, UsageError
from tests.contests import contest_rows, contest_table
from tests.tiny_models import tiny_encoder

S = cd.steps


def written(folder: Path, **columns: object) -> cd.Table:
    lance.write_dataset(pa.table(columns), folder / "t.lance")
    return cd.open_table(folder / "t.lance")


def picked(table: cd.Table, index: str = "label_ind") -> None:
    for number in (1, 2):
        cd.map_column(table, S.ChoiceScores(tiny_encoder(seed=number)), f"s{number}")
        cd.map_column(table, S.Pick(f"s{number}", index), f"p{number}")


def test_a_column_picked_from_scores_that_were_made_anew_is_refused(tmp_path: Path) -> None:
    table = contest_table(tmp_path, 10)
    picked(table)
    cd.map_column(table, S.ChoiceScores(tiny_encoder(seed=3)), "s1", overwrite=True)

    with pytest.raises(LineageMismatchError, match="'p1' was made from an earlier 's1'"):
        cd.compare(table, "p1", "p2")


def test_features_that_a_score_was_made_from_are_no_scores_of_choices(tmp_path: Path) -> None:
    rows = contest_rows(10)
    captions = pa.array([texts[0] for texts in rows["caption_choices"].to_pylist()])
    table = written(tmp_path, **dict(zip(rows.column_names, rows.columns, strict=True)), caption=captions)
    for number in (1, 2):
        encoder = tiny_encoder(seed=number)
        cd.map_column(table, S.ImageTrunk(encoder), f"tr{number}")
        cd.map_column(table, S.PairScore(encoder, trunk=f"tr{number}"), f"ps{number}")

    found = cd.compare(table, "ps1", "ps2")

    assert found.accuracy is None
    assert found.before.scores is None
    assert str(found.before.made_by).startswith("PairScore")


def test_answers_are_judged_by_the_places_that_the_values_were_picked_by(tmp_path: Path) -> None:
    rows = contest_rows(20)
    wrong = pa.array([0] * 20, pa.int32())
    columns = dict(zip(rows.column_names, rows.columns, strict=True)) | {"answer": rows["label_ind"]}
    table = written(tmp_path, **{**columns, "label_ind": wrong})
    picked(table, "answer")

    found = cd.compare(table, "p1", "p2").accuracy
    named = cd.compare(table, "s1", "s2", label_index="answer").accuracy

    assert found == named != cd.compare(table, "s1", "s2").accuracy
    cd.map_column(table, S.Pick("s2", "label_ind"), "q2")
    with pytest.raises(UsageError, match="'p1' was picked by 'answer' and 'q2' by 'label_ind'"):
        cd.compare(table, "p1", "q2")


def test_nulls_in_a_cluster_column_are_shared_with_nobody(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random(60)
    split, nulls = ["train", "test"] * 30, pa.nulls(60, pa.string())
    table = written(tmp_path, a=x, b=x + 0.05, split=split, sha256=nulls)

    found = cd.compare(table, "a", "b", where="split = 'test'")

    assert found.trained is not None
    assert found.trained.num_rows_of_seen_clusters == 0


def test_a_split_column_is_no_training_of_models_that_were_never_tuned(tmp_path: Path) -> None:
    table = contest_table(tmp_path, 10)
    picked(table)

    found = cd.compare(table, "p1", "p2")
    told = cd.compare(table, "p1", "p2", trained_where="split = 'train'")

    assert found.trained is not None
    assert told.trained is not None
    assert (found.trained.num_rows, told.trained.num_rows) == (0, 8)
    assert "neither model has a record of fine-tuning" in str(found)


PLACES = {
    "fractions": (pa.array([0.0, 1.5]), "holds 1.5; expected whole numbers"),
    "texts": (pa.array(["A", "B"]), "holds string; expected whole numbers"),
    "truth values": (pa.array([True, False]), "holds bool; expected whole numbers"),
    "times": (pa.array([0, 1], pa.timestamp("us")), "expected whole numbers"),
    "lists": (pa.array([[0], [1]]), "expected whole numbers"),
}


@pytest.mark.parametrize("kind", sorted(PLACES))
def test_places_that_are_no_whole_numbers_are_refused_in_one_line(tmp_path: Path, kind: str) -> None:
    values, message = PLACES[kind]
    table = written(tmp_path, label_ind=values, s=[[0.1, 0.9]] * 2, t=[[0.2, 0.8]] * 2)

    with pytest.raises(SchemaError, match=message):
        cd.compare(table, "s", "t")


@pytest.mark.parametrize("places", [pa.array([0.0, 1.0, None]), pa.array([0, 1, 2**63], pa.uint64())], ids=str)
def test_whole_places_count_in_any_type(tmp_path: Path, places: pa.Array) -> None:
    table = written(tmp_path, label_ind=places, s=[[0.1, 0.9]] * 3, t=[[0.2, 0.8]] * 3)

    assert cd.compare(table, "s", "t").mean.num_rows == 2


def test_picture_columns_of_any_type_name_clusters_or_are_passed_over(tmp_path: Path) -> None:
    lists = pa.array([["a"], ["b"], ["c"]])
    digests = pa.array([b"\xff", b"\xff", None])
    table = written(tmp_path, sha256=digests, path=["x", "y", "z"], a=[0.0] * 3, b=[1.0, 2.0, 3.0])
    (tmp_path / "other").mkdir()
    other = written(tmp_path / "other", sha256=["s", "s", "t"], path=lists, a=[0.0] * 3, b=[1.0, 2.0, 3.0])

    assert [cd.compare(each, "a", "b").mean.num_clusters for each in (table, other)] == [2, 2]


def test_arguments_that_are_no_texts_and_columns_of_two_kinds_are_refused(tmp_path: Path) -> None:
    table = written(tmp_path, g=["x", "y"], a=[0.0, 0.0], b=[1.0, 2.0], s=[[0.1], [0.2]], label_ind=[0, 0])

    with pytest.raises(UsageError, match=r"by=\['g'\]; expected one text, not a value of list"):
        cd.compare(table, "a", "b", by=["g"])  # type: ignore[arg-type]
    with pytest.raises(SchemaError, match="expected two columns of one kind"):
        cd.compare(table, "a", "s")


@pytest.mark.parametrize("models", ["ab", 5, {}, (1, 2), ("a", "b", "c")], ids=str)
def test_models_that_are_no_two_identities_are_refused_in_one_line(tmp_path: Path, models: object) -> None:
    table = written(tmp_path, a=[0.0, 0.0], b=[1.0, 2.0])

    with pytest.raises(UsageError, match="expected two identities"):
        cd.compare(table, "a", "b", models=models)  # type: ignore[arg-type]


def test_the_hint_on_places_never_writes_the_column_that_it_reads(tmp_path: Path) -> None:
    table = written(tmp_path, label_ind=["A", "B"], s=[[0.1, 0.9]] * 2, t=[[0.2, 0.8]] * 2)

    with pytest.raises(SchemaError) as refused:
        cd.compare(table, "s", "t")

    assert "label-index label_place -p label=label_ind" in str(refused.value)


@cd.step(reads=["raw"], returns="float64")
def doubled(raw: float) -> float:
    return raw * 2.0


@cd.step(reads=["double"], returns="float64")
def tripled(double: float) -> float:
    return double * 3.0


@cd.step(reads=["double"], returns="float64")
def quadrupled(double: float) -> float:
    return double * 4.0


def test_a_column_whose_input_is_gone_and_that_names_no_model_proves_no_training_absent(tmp_path: Path) -> None:
    table = written(tmp_path, raw=[0.0, 1.0, 2.0])
    for step, column in ((doubled, "double"), (tripled, "three"), (quadrupled, "four")):
        cd.map_column(table, step, column)
    table.latest().dataset.drop_columns(["double"])

    found = str(cd.compare(table.latest(), "three", "four"))

    assert "none of them" not in found
    assert "which rows were trained on is not known" in found
