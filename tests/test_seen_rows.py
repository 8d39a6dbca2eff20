"""Whether the compared rows were trained on is read from the models' own records."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pytest

import clipdata as cd
from clipdata.comparison import json_schema
from clipdata.lance_io import rows
from clipdata.lance_io.table import open_table
from clipdata.training.config import TrainConfig
from tests.contests import contest_table
from tests.tiny_models import tiny_encoder

CONFIG = TrainConfig(epochs=1, batch_size=8, evaluate_where=None)


def scored(folder: Path, where: str, num_rows: int = 40) -> cd.Table:
    """A contest scored before and after a training on some of its rows."""
    table, encoder = contest_table(folder, num_rows), tiny_encoder()
    run = cd.train(table, encoder, CONFIG, out=folder / "run", where=where)
    for suffix, model in (("", encoder), ("_fine_tune", run.encoder())):
        cd.map_column(table, cd.steps.ChoiceScores(model), f"scores{suffix}")
        cd.map_column(table, cd.steps.Pick(f"scores{suffix}", "label_ind"), f"label_prob{suffix}")
    return table


def compare(table: cd.Table, where: str | None, **options: object) -> cd.Comparison:
    return cd.compare(table, "label_prob", "label_prob_fine_tune", where=where, resamples=200, **options)


def test_rows_that_a_model_was_trained_on_are_told_whatever_a_split_column_says(tmp_path: Path) -> None:
    table = scored(tmp_path, "split = 'test'")
    num_test = table.count_rows("split = 'test'")

    seen = compare(table, "split = 'test'")

    assert seen.trained is not None
    assert seen.trained.num_rows == num_test > 0
    assert f"{num_test} TRAINED ON" in str(seen)
    assert "none of them" not in str(seen)
    assert seen.seen_before is not None
    assert seen.seen_before.status == "none"
    assert seen.seen_after is not None
    assert (seen.seen_after.status, seen.seen_after.num_rows) == ("recorded", num_test)


def test_rows_that_no_model_was_trained_on_are_said_to_be_so_by_the_record(tmp_path: Path) -> None:
    table = scored(tmp_path, "split = 'train'")

    unseen = compare(table, "split = 'test'")

    assert unseen.trained is not None
    assert unseen.trained.num_rows == 0
    assert "none of them trained on" in str(unseen)
    assert "where split = 'train'" in str(unseen)


def test_a_picture_that_was_trained_on_under_another_question_is_told(tmp_path: Path) -> None:
    table = contest_table(tmp_path, 12)
    first = table.to_table(["path", "sha256"]).to_pylist()[0]
    encoder = tiny_encoder()
    run = cd.train(table, encoder, CONFIG, out=tmp_path / "run", where=f"path = '{first['path']}'")
    twin = {name: [value] for name, value in table.to_table().to_pylist()[0].items()} | {"path": ["twin"]}
    rows.upsert(table, pa.table(twin).cast(pa.schema(table.schema)))
    for suffix, model in (("", encoder), ("_fine_tune", run.encoder())):
        cd.map_column(table, cd.steps.ChoiceScores(model), f"scores{suffix}")
        cd.map_column(table, cd.steps.Pick(f"scores{suffix}", "label_ind"), f"label_prob{suffix}")

    found = compare(table, "path = 'twin'")

    assert found.trained is not None
    assert (found.trained.num_rows, found.trained.num_rows_of_seen_clusters) == (0, 1)
    assert "SHOW A PICTURE trained on" in str(found)


def test_the_record_is_made_anew_of_the_training_table_when_it_is_lost(tmp_path: Path) -> None:
    table = scored(tmp_path, "split = 'test'")
    shutil.rmtree(f"{table.uri}.state")

    found = compare(table, "split = 'test'")

    assert found.trained is not None
    assert found.trained.num_rows == table.count_rows("split = 'test'")


def _moved(table: cd.Table, folder: Path) -> cd.Table:
    """The same rows and columns elsewhere, as by a tool that copies a table alone."""
    shutil.copytree(table.uri, folder / "moved.lance")
    return open_table(folder / "moved.lance")


def test_a_record_that_nobody_can_find_is_said_loudly(tmp_path: Path) -> None:
    table = _moved(scored(tmp_path, "split = 'test'"), tmp_path)
    shutil.rmtree(tmp_path / "contest.lance")

    found = compare(table, "split = 'test'")

    assert found.seen_after is not None
    assert found.seen_after.status == "lost"
    assert "NOBODY KNOWS" in str(found)
    assert "none of them" not in str(found)


def test_rows_of_another_table_are_recognised_by_their_keys(tmp_path: Path) -> None:
    table = scored(tmp_path, "split = 'test'")
    other = _moved(table, tmp_path)
    shutil.copytree(f"{table.uri}.state", f"{other.uri}.state")
    shutil.rmtree(tmp_path / "contest.lance")

    found = compare(other, None)

    assert found.trained is not None
    assert found.trained.num_rows == other.count_rows("split = 'test'")


def test_a_column_of_a_release_that_recorded_nothing_is_unknown(tmp_path: Path) -> None:
    table = scored(tmp_path, "split = 'test'")
    for column in ("scores_fine_tune", "label_prob_fine_tune"):
        lineage = table.latest().lineage(column)
        assert lineage is not None
        record = {name: value for name, value in lineage.to_dict().items() if name != "trained_on"}
        table.latest().dataset.update_field_metadata({column: {"clipdata.lineage": json.dumps(record)}})

    found = compare(table.latest(), "split = 'test'")

    assert found.seen_after is not None
    assert found.seen_after.status == "lost"
    assert "none of them" not in str(found)


def test_a_gate_on_trained_rows_fails_for_a_model_that_saw_them(tmp_path: Path) -> None:
    table = scored(tmp_path, "split = 'test'")

    with pytest.raises(cd.ClipdataError, match="trained_rows"):
        compare(table, "split = 'test'").gate(fail_if="trained_rows > 0")


def test_the_record_is_part_of_the_json_and_its_schema(tmp_path: Path) -> None:
    table = scored(tmp_path, "split = 'test'")

    record = json.loads(compare(table, "split = 'test'").to_json())

    assert record["seen_after"]["num_rows"] == table.count_rows("split = 'test'")
    assert "seen_after" in json_schema()["properties"]


def test_a_clause_that_is_given_adds_to_what_the_records_say(tmp_path: Path) -> None:
    table = scored(tmp_path, "split = 'test'")

    found = compare(table, None, trained_where="split = 'train'")

    assert found.trained is not None
    assert found.trained.num_rows == table.num_rows
