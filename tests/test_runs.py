"""The folder of a run: which rows it says it trained on, when it is the run that is wanted, and what cannot be read."""

from __future__ import annotations

import hashlib
import json
import shutil
from datetime import timedelta
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pytest

import clipdata as cd
from clipdata.encoder import Encoder, load_encoder
from clipdata.errors import NotFoundError, StorageError, UsageError
from clipdata.lance_io import rows
from clipdata.lance_io.table import Table, open_table
from clipdata.trained_rows import digests
from clipdata.training.config import TrainConfig
from clipdata.training.fine_tuning import train
from clipdata.training.run import Run, differences, open_run
from tests.contests import SCHEMA, contest_rows, contest_table
from tests.telling import Told
from tests.tiny_models import tiny_encoder

TRAIN = "split = 'train'"


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return tiny_encoder()


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return contest_table(tmp_path)


def quick(**changes) -> TrainConfig:
    return TrainConfig(**{"epochs": 1, "batch_size": 8, "lr": 3e-3, **changes})


def record_of(config: dict | None = None, uri: str = "/data/t.lance", where: str | None = None) -> dict:
    return {
        "config": TrainConfig().to_json() if config is None else config,
        "encoder": {"name": "x", "identity": "i" * 64},
        "table": {"uri": uri, "where": where},
    }


# Which rows it trained on


def test_a_run_holds_digests_of_exactly_the_rows_that_it_trained_on(tmp_path, encoder):
    contest = contest_rows(40).to_pydict()
    contest["label_ind"][3] = None
    table = contest_table(tmp_path, 0, name="some.lance")
    rows.upsert(table, pa.table(contest, schema=table.schema))
    table = open_table(table.uri)
    used = [n for n in range(40) if n % 5 != 4 and n != 3]

    trained = train(table, encoder, quick(), out=tmp_path / "run", where=TRAIN).trained_rows

    assert trained.keys.tolist() == sorted(digests(pa.array([contest["path"][n] for n in used])).tolist())
    assert trained.pictures.tolist() == sorted(digests(pa.array([contest["sha256"][n] for n in used])).tolist())
    assert (trained.table, trained.version, trained.where) == (table.uri, table.version, TRAIN)
    assert trained.num_rows == len(used)


def test_rows_that_share_a_picture_count_it_once_and_a_table_without_a_key_has_pictures_only(tmp_path, encoder):
    twice = pa.concat_tables([contest_rows(10), contest_rows(10)])
    plain = pa.table({field.name: twice[field.name] for field in twice.schema})
    lance.write_dataset(plain, tmp_path / "plain.lance")

    trained = train(open_table(tmp_path / "plain.lance"), encoder, quick(), out=tmp_path / "run").trained_rows

    assert (trained.num_rows, len(trained.keys), len(trained.pictures)) == (20, 0, 10)


def test_a_run_of_an_earlier_release_says_that_it_does_not_know_its_rows(tmp_path, table, encoder):
    run = train(table, encoder, quick(), out=tmp_path / "run")
    (run.path / "trained_rows.arrow").unlink()

    with pytest.raises(NotFoundError, match=r"holds no trained_rows.arrow[^$]*--overwrite"):
        _ = run.trained_rows


def test_the_tuned_model_carries_the_rows_of_all_its_trainings(tmp_path, table, encoder):
    first = train(table, encoder, quick(), out=tmp_path / "first", where=TRAIN)
    second = train(table, first.encoder(), quick(), out=tmp_path / "second", where="split = 'test'")

    carried = second.encoder().trained_on

    assert [one.digest for one in carried] == [first.trained_rows.digest, second.trained_rows.digest]
    assert np.array_equal(carried[1].keys, second.trained_rows.keys)


# When it is the run that is wanted


def test_a_field_that_a_later_release_added_means_what_was_done_before_it_existed():
    now = TrainConfig().to_json()
    old = {name: value for name, value in now.items() if name not in ("pull", "min_steps", "steps", "fidelity")}

    assert differences(record_of(old), record_of(now)) == []
    assert differences(record_of(old), record_of({**now, "not_yet_thought_of": 1})) == []
    assert differences(record_of(old), record_of({**now, "pull": 2.0})) == ["pull was 0.0 and is 2.0 now"]
    assert differences(record_of(old), record_of({**now, "fidelity": "exact"})) == [
        "fidelity was 'fast' and is 'exact' now"
    ]


def test_a_missing_field_has_the_value_of_its_time_where_the_default_became_another(monkeypatch):
    monkeypatch.setattr("clipdata.training.run.BEFORE_IT_EXISTED", {"grad_clip": None})
    now = TrainConfig().to_json()
    old = {name: value for name, value in now.items() if name != "grad_clip"}

    assert differences(record_of(old), record_of(now)) == ["grad_clip was None and is 1.0 now"]


def test_a_field_that_only_a_later_release_knows_is_a_difference():
    later = {**TrainConfig().to_json(), "adapters": 8}

    assert differences(record_of(later), record_of()) == ["adapters was 8, which this release does not know"]


@pytest.mark.parametrize(
    "spelling", ["/data/t.lance/", "/data/a/../t.lance", "/data/./t.lance", "//data/t.lance", "file:///data/t.lance"]
)
def test_another_spelling_of_a_location_is_the_same_table(spelling):
    assert differences(record_of(uri="/data/t.lance"), record_of(uri=spelling)) == []


@pytest.mark.parametrize(
    ("one", "other"), [("gs://b/t.lance", "gcs://b/t.lance"), ("s3a://b/t.lance/", "s3://b/t.lance")]
)
def test_another_spelling_of_a_bucket_is_the_same_table(one, other):
    assert differences(record_of(uri=one), record_of(uri=other)) == []
    assert differences(record_of(uri=one), record_of(uri=other + "x"))


def test_a_finished_run_is_found_again_by_a_link_and_a_relative_path(tmp_path, table, encoder, monkeypatch):
    run = train(table, encoder, quick(), out=tmp_path / "run")
    (tmp_path / "link").symlink_to(table.uri)
    monkeypatch.chdir(tmp_path)

    for spelling in (tmp_path / "link", "contest.lance/", tmp_path / "run" / ".." / "contest.lance"):
        assert train(open_table(spelling, version=table.version), encoder, quick(), out=run.path) == run


def test_a_finished_run_is_returned_after_the_version_it_read_is_gone(tmp_path, table, encoder):
    run = train(table, encoder, quick(), out=tmp_path / "run")
    _move_on_and_forget(table, run.record["table"]["version"])

    assert train(open_table(table.uri), encoder, quick(), out=run.path) == run


def test_a_clean_up_leaves_the_version_that_a_run_reads(tmp_path, table, encoder):
    run = train(table, encoder, quick(), out=tmp_path / "run")
    version = run.record["table"]["version"]
    lance.dataset(table.uri).add_columns({"one": "1.0"})

    lance.dataset(table.uri).cleanup_old_versions(timedelta(0), error_if_tagged_old_versions=False)

    assert open_table(table.uri, version=version).num_rows == 40


def test_an_unfinished_run_goes_on_with_equal_rows_where_its_version_is_gone(tmp_path, table, encoder):
    config = quick(epochs=2)
    run = train(table, encoder, config, out=tmp_path / "run")
    losses = [line["loss"] for line in run.metrics]
    (run.path / "summary.json").unlink()
    _move_on_and_forget(table, run.record["table"]["version"])
    told = Told()

    again = train(open_table(table.uri), encoder, config, out=run.path, progress=told)

    assert [line["loss"] for line in again.metrics] == losses
    assert any("is gone; version 3 holds the same rows" in text for text in told.said)


def test_rows_digested_by_an_earlier_release_are_digested_anew(tmp_path, table, encoder):
    run = train(table, encoder, quick(), out=tmp_path / "run")
    record = run.record
    record["table"]["digest"] = "in another way"
    (run.path / "config.json").write_text(json.dumps(record))
    lance.dataset(table.uri).add_columns({"one": "1.0"})

    assert train(table.latest(), encoder, quick(), out=run.path) == run


def made_anew(table: Table, seed: int) -> Table:
    """Another table of as many versions in the same place."""
    folder = Path(table.uri).parent
    shutil.rmtree(table.uri)
    made = contest_table(folder, seed=seed)
    assert made.version == table.version
    return made


def unfinished(run: Run) -> Run:
    """The run without its end."""
    (run.path / "summary.json").unlink()
    return run


def test_a_finished_run_is_another_one_when_its_table_was_made_anew_with_the_same_version_number(
    tmp_path, table, encoder
):
    run = train(table, encoder, quick(), out=tmp_path / "run")
    assert train(made_anew(table, seed=0), encoder, quick(), out=run.path) == run

    with pytest.raises(UsageError, match=r"another run:[^$]*version 2 of the table is another one now[^$]*--overwrite"):
        train(made_anew(table, seed=9), encoder, quick(), out=run.path)


def test_an_unfinished_run_does_not_go_on_with_a_table_that_was_made_anew(tmp_path, table, encoder):
    run = unfinished(train(table, encoder, quick(), out=tmp_path / "run"))
    other = made_anew(table, seed=9)

    with pytest.raises(UsageError, match="holds another run"):
        train(other, encoder, quick(), out=run.path)
    lance.dataset(other.uri).add_columns({"one": "1.0"})
    with pytest.raises(UsageError, match="was at version 2 and is at 3 now, with other rows"):
        train(other.latest(), encoder, quick(), out=run.path)


def test_an_old_version_number_of_a_table_that_was_made_anew_is_not_the_version_a_run_reads(tmp_path, encoder):
    """The newest version holds the rows of the run; the one of the number that the run reads holds others."""
    table = contest_table(tmp_path)
    run = unfinished(train(table, encoder, quick(), out=tmp_path / "run"))
    other = made_anew(table, seed=9)
    lance.write_dataset(contest_rows(40), other.uri, mode="overwrite")
    told = Told()

    again = train(other.latest(), encoder, quick(), out=run.path, progress=told)

    assert any("version 2, which" in text and "version 3 holds the same rows" in text for text in told.said)
    assert again.is_finished


def test_a_run_whose_rows_have_other_keys_now_is_another_run(tmp_path, encoder):
    def keyed(name: str) -> Table:
        made = contest_rows(40).set_column(0, SCHEMA.field("path"), pa.array([f"{name}{n:02}" for n in range(40)]))
        shutil.rmtree(tmp_path / "contest.lance", ignore_errors=True)
        rows.upsert(contest_table(tmp_path, 0), made)
        return open_table(tmp_path / "contest.lance")

    run = train(keyed("a"), encoder, quick(), out=tmp_path / "run")

    with pytest.raises(UsageError, match="with other rows"):
        train(keyed("b"), encoder, quick(), out=run.path)


def test_a_run_whose_rows_to_measure_changed_is_another_run(tmp_path, table, encoder):
    config = quick(evaluate_where="split = 'test'")
    run = train(table, encoder, config, out=tmp_path / "run", where=TRAIN)
    rows.upsert(table, contest_rows(45).slice(44))

    with pytest.raises(UsageError, match="with other rows"):
        train(table.latest(), encoder, config, out=run.path, where=TRAIN)


def test_new_pictures_in_another_column_than_the_image_make_it_another_run(tmp_path, encoder):
    made = contest_table(tmp_path)
    made.dataset.add_columns({"photo2": "image"})
    table, config = made.latest(), quick(image="photo2")
    run = train(table, encoder, config, out=tmp_path / "run")
    table.dataset.add_columns({"score": "1.0"})
    assert train(table.latest(), encoder, config, out=run.path) == run

    newest = lance.dataset(table.uri)
    newest.drop_columns(["photo2"])
    newest.add_columns({"photo2": "image"})

    with pytest.raises(UsageError, match="with other rows"):
        train(open_table(table.uri), encoder, config, out=run.path)


def _move_on_and_forget(table: Table, version: int) -> None:
    """A newer version with equal rows, and neither tag nor files of the one that was read."""
    dataset = lance.dataset(table.uri)
    dataset.add_columns({"one": "1.0"})
    for tag in dataset.tags.list():
        dataset.tags.delete(tag)
    lance.dataset(table.uri).cleanup_old_versions(timedelta(0))
    with pytest.raises(NotFoundError):
        open_table(table.uri, version=version)


# What it takes up again


def test_the_tuned_model_computes_in_the_precision_of_the_one_it_began_with(tmp_path, table):
    tiny_encoder(tmp_path)
    half = load_encoder(tmp_path / "tiny-0", precision="bf16", device="cpu")
    cd.map_column(table, cd.steps.ImageTrunk(half), "image_trunk")
    run = train(table, half, quick(image_trunk="image_trunk"), out=tmp_path / "run")

    tuned = run.encoder()
    mapped = cd.map_column(table, cd.steps.ChoiceScores(tuned, trunk="image_trunk"), "after")

    assert (tuned.precision, run.encoder(precision="fp32").precision) == ("bf16", "fp32")
    assert mapped.computed == 40


def test_a_record_that_cannot_be_read_is_named_with_what_to_do(tmp_path, table, encoder):
    run = train(table, encoder, quick(), out=tmp_path / "run")
    for text in ("{", "[]", '{"config": {}}', "\udcff"):
        (run.path / "config.json").write_bytes(text.encode("utf-8", "surrogateescape"))

        with pytest.raises(StorageError, match=r"config.json [^$]*--overwrite"):
            train(table, encoder, quick(), out=run.path)

    assert train(table, encoder, quick(), out=run.path, overwrite=True).is_finished


@pytest.mark.parametrize(("name", "text"), [("summary.json", "{"), ("metrics.jsonl", "{\n")])
def test_other_files_that_cannot_be_read_are_named(tmp_path, table, encoder, name, text):
    run = train(table, encoder, quick(), out=tmp_path / "run")
    (run.path / name).write_text(text)

    with pytest.raises(StorageError, match=name):
        run.to_dict()


def test_a_file_in_the_place_of_the_folder_is_a_wrong_request(tmp_path, table, encoder):
    (tmp_path / "run").write_text("")

    with pytest.raises(UsageError, match="is a file; expected a folder"):
        train(table, encoder, quick(), out=tmp_path / "run")
    with pytest.raises(StorageError, match="cannot write to"):
        train(table, encoder, quick(), out=tmp_path / "run" / "below")
    with pytest.raises(NotFoundError, match="is no training run"):
        open_run(tmp_path / "run")


# Rows to measure that were trained on


def _told_of(tmp_path, table, encoder, **options) -> tuple[Told, dict]:
    told = Told()
    run = train(table, encoder, quick(**options), out=tmp_path / "run", where=TRAIN, progress=told)
    return told, run.record["held_out"]


def test_rows_to_measure_that_show_a_picture_which_is_trained_on_are_counted(tmp_path, encoder):
    contest = contest_rows(40).to_pydict()
    for test, twin in ((4, 0), (9, 0), (14, 1)):  # three test rows show two pictures of the training rows
        for name in ("image", "sha256"):
            contest[name][test] = contest[name][twin]
    table = contest_table(tmp_path, 0, name="twins.lance")
    rows.upsert(table, pa.table(contest, schema=table.schema))

    told, held_out = _told_of(
        tmp_path, open_table(table.uri), encoder, evaluate_where="split = 'test' or path < '00002'"
    )

    expected = "3 of the 10 rows to measure show pictures that are trained on (2 of 7 pictures)"
    assert any("2 of the 10 rows to measure are trained on" in text and expected in text for text in told.said)
    assert held_out == {
        "num_rows": 10, "num_pictures": 7, "rows_trained_on": 2, "rows_of_trained_pictures": 3,
        "pictures_trained_on": 2, "rows_seen_earlier": 0, "rows_alike": 0, "rows_of_equal_captions": 0,
    }  # fmt: skip


def test_rows_to_measure_that_look_or_are_called_like_some_trained_on_are_counted(tmp_path, table, encoder):
    @cd.step(reads="path", returns="string")
    def look(path: str) -> str:  # the fifth row, which is measured, looks like the fourth
        shown = "00003.png" if path == "00004.png" else path
        return hashlib.sha256(shown.encode()).hexdigest()[:16]

    @cd.step(reads="path", returns="string")
    def words(path: str) -> str:
        return "00008.png" if path == "00009.png" else path

    cd.map_column(table, look, "perceptual_hash")
    cd.map_column(table, cd.steps.NearDuplicates(table), "near_duplicates")
    cd.map_column(table, words, "caption")

    told, held_out = _told_of(tmp_path, table, encoder, evaluate_where="split = 'test'")

    assert (held_out["rows_alike"], held_out["rows_of_equal_captions"]) == (1, 1)
    alike = "1 of the 8 rows to measure show pictures that look like some that are trained on"
    assert any(alike in said for said in told.said)
    assert any("1 of the 8 rows to measure have a caption that is trained on too" in said for said in told.said)


def test_rows_to_measure_that_share_nothing_are_not_remarked_on(tmp_path, table, encoder):
    told, held_out = _told_of(tmp_path, table, encoder, evaluate_where="split = 'test'")

    assert not any("no evidence" in text for text in told.said)
    assert (held_out["num_rows"], held_out["rows_trained_on"]) == (8, 0)


def test_rows_to_measure_that_an_earlier_training_saw_are_counted(tmp_path, table, encoder):
    first = train(table, encoder, quick(), out=tmp_path / "first", where="split = 'test'").encoder()

    told, held_out = _told_of(tmp_path, table, first, evaluate_where="split = 'test'")

    assert held_out["rows_seen_earlier"] == 8
    assert any("8 of the 8 rows to measure were seen in an earlier training" in text for text in told.said)


def test_rows_of_a_table_without_keys_or_digests_are_compared_by_place(tmp_path, encoder):
    plain = contest_rows(20).select(["image", "caption_choices", "label_ind", "split"])
    lance.write_dataset(pa.table({name: plain[name] for name in plain.column_names}), tmp_path / "plain.lance")

    _, held_out = _told_of(tmp_path, open_table(tmp_path / "plain.lance"), encoder, evaluate_where="true")

    assert (held_out["num_rows"], held_out["rows_trained_on"], held_out["num_pictures"]) == (20, 16, 0)
