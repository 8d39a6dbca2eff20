"""A comparison says "none trained on" only of rows and pictures that something tells from those that were."""

from __future__ import annotations

import shutil
from pathlib import Path

import lance
import pyarrow as pa
import pytest

import clipdata as cd
from clipdata.errors import GateFailedError
from clipdata.training.config import TrainConfig
from tests.contests import contest_rows
from tests.tiny_models import tiny_encoder

CONFIG = TrainConfig(epochs=1, batch_size=8, evaluate_where=None)


def written(folder: Path, rows: pa.Table, name: str = "t") -> cd.Table:
    lance.write_dataset(rows, folder / f"{name}.lance", mode="overwrite")
    return cd.open_table(folder / f"{name}.lance")


def trained(table: cd.Table, out: Path, config: TrainConfig = CONFIG) -> tuple[cd.Encoder, cd.Encoder]:
    encoder = tiny_encoder()
    return encoder, cd.train(table, encoder, config, out=out, where="split = 'train'").encoder()


def compared(table: cd.Table, encoders: tuple[cd.Encoder, cd.Encoder], image: str = "image", **said: object):
    for number, encoder in enumerate(encoders):
        cd.map_column(table, cd.steps.ChoiceScores(encoder, image=image), f"s{number}")
    return cd.compare(table, "s0", "s1", resamples=200, **said)


def nameless(num_rows: int = 15) -> pa.Table:
    """A contest without a key and without anything that tells its pictures apart."""
    rows = contest_rows(num_rows).drop_columns(["path", "sha256"])
    return rows.cast(pa.schema([field.remove_metadata() for field in rows.schema]))


def test_rows_that_nothing_tells_apart_are_never_said_to_be_unseen(tmp_path: Path) -> None:
    table = written(tmp_path, nameless())

    found = compared(table, trained(table, tmp_path / "run"), where="split = 'train'")

    assert found.trained is not None
    assert found.trained.num_untold == 12
    assert "NOBODY KNOWS whether 12 rows were trained on" in str(found)
    assert "sha256" in str(found)
    assert "none of them" not in str(found)


def test_digests_beside_the_compared_pictures_do_not_help_where_the_training_had_none(tmp_path: Path) -> None:
    encoders = trained(written(tmp_path, nameless()), tmp_path / "run")
    digests = contest_rows(15)["sha256"]

    found = compared(written(tmp_path, nameless().append_column("sha256", digests), "other"), encoders)

    assert found.trained is not None
    assert found.trained.num_untold == 15
    assert "none of them" not in str(found)


def test_a_picture_column_speaks_of_the_tables_own_pictures_alone(tmp_path: Path) -> None:
    rows = contest_rows(15)
    twice = rows.append_column("photo2", contest_rows(15, seed=1)["image"])
    config = TrainConfig(epochs=1, batch_size=8, image="photo2", evaluate_where=None)
    encoders = trained(written(tmp_path, twice), tmp_path / "run", config)
    renamed = rows.set_column(0, rows.schema.field("path"), pa.array([f"other {n}" for n in range(15)]))

    found = compared(written(tmp_path, renamed, "other"), encoders)

    assert found.seen_after is not None
    assert (found.seen_after.num_rows, found.seen_after.status) == (0, "untold")
    assert "SHOW A PICTURE" not in str(found)
    assert "none of them" not in str(found)


def test_another_table_in_the_place_of_the_training_table_is_no_evidence(tmp_path: Path) -> None:
    table = written(tmp_path, contest_rows(15), "train")
    encoders = trained(table, tmp_path / "run")
    other = written(tmp_path, contest_rows(15), "compared")
    version = table.version
    for folder in (table.uri, f"{table.uri}.state"):
        shutil.rmtree(folder, ignore_errors=True)
    stranger = written(tmp_path, contest_rows(15, seed=7), "train")
    assert stranger.version == version
    for number, encoder in enumerate(encoders):
        cd.map_column(other, cd.steps.ChoiceScores(encoder), f"s{number}")
    shutil.rmtree(f"{other.uri}.state", ignore_errors=True)

    found = cd.compare(other, "s0", "s1", resamples=200)

    assert found.seen_after is not None
    assert found.seen_after.status == "lost"
    assert "none of them" not in str(found)


def test_the_same_key_in_another_table_is_another_row_where_the_picture_is_another(tmp_path: Path) -> None:
    encoders = trained(written(tmp_path, contest_rows(15)), tmp_path / "run")

    found = compared(written(tmp_path, contest_rows(15, seed=7), "other"), encoders)

    assert found.trained is not None
    assert found.trained.num_rows == 0
    assert "none of them trained on, nor their pictures" in str(found)


def test_a_clause_beside_a_record_tells_of_the_pictures_that_it_selects_too(tmp_path: Path) -> None:
    rows = contest_rows(15)
    encoders = trained(written(tmp_path, rows), tmp_path / "run")
    twin = rows.slice(4, 1).set_column(0, rows.schema.field("path"), pa.array(["twin"]))
    other = written(tmp_path, pa.concat_tables([rows, twin]), "other")

    found = compared(other, encoders, where="split = 'test'", trained_where="path = 'twin'")

    assert found.trained is not None
    assert (found.trained.num_rows, found.trained.num_rows_of_seen_clusters) == (1, 2)


def test_a_gate_on_trained_rows_does_not_pass_where_one_side_is_unknown(tmp_path: Path) -> None:
    table = written(tmp_path, contest_rows(15))
    _, tuned = trained(table, tmp_path / "run")
    cd.map_column(table, cd.steps.ChoiceScores(tuned), "scores")
    cd.map_column(table, cd.steps.Pick("scores", "label_ind"), "tuned")
    cd.map_column(table, cd.step(reads="label_ind", returns="float64")(lambda label_ind: 0.5), "constant")

    found = cd.compare(table, "constant", "tuned", where="split = 'test'", resamples=200)

    assert "NOBODY KNOWS" in str(found)
    with pytest.raises(GateFailedError, match="no trained_rows"):
        found.gate(fail_if="trained_rows > 0")


def test_what_one_side_leaves_untold_does_not_make_the_unknown_other_side_told(tmp_path: Path) -> None:
    half = contest_rows(15)
    digests = [digest if n % 2 else None for n, digest in enumerate(half["sha256"].to_pylist())]
    half = half.set_column(half.schema.get_field_index("sha256"), "sha256", pa.array(digests, pa.string()))
    _, tuned = trained(written(tmp_path, contest_rows(15)), tmp_path / "run")
    table = written(tmp_path, half.drop_columns(["path"]), "other")
    cd.map_column(table, cd.steps.ChoiceScores(tuned), "scores")
    cd.map_column(table, cd.steps.Pick("scores", "label_ind"), "tuned")
    cd.map_column(table, cd.step(reads="label_ind", returns="float64")(lambda label_ind: 0.5), "constant")

    found = cd.compare(table, "constant", "tuned", resamples=200)

    assert found.trained is not None
    assert found.trained.num_rows + found.trained.num_untold == 15
