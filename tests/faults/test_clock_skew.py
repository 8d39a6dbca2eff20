"""Clocks of machines differ: who is ahead or behind doubles nothing, loses nothing, and takes nothing young for old."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest

import clipdata as cd
import ingest
from clipdata.errors import UsageError
from clipdata.lance_io import cleaning, rows
from clipdata.lance_io.clocks import ahead_of_storage
from clipdata.lance_io.state import StateFolder
from clipdata.schema import key_field
from tests.cloud.fixtures import Bucket
from tests.contests import contest_table
from tests.faults.kill_matrix import left_by, world_in
from tests.faults.kill_verbs import VERBS, prepare
from tests.faults.slow_disk import CLOCK_SKEW, build, with_clock
from tests.tables import number_table
from tests.telling import Stopping
from tests.tiny_models import tiny_encoder

MONTH_S = 30 * 86_400
SKEWED_VERBS = ("ingest images", "map", "map --overwrite", "tag", "select", "delete", "restore")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return build(tmp_path_factory.mktemp("library"), CLOCK_SKEW)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no clock can be set here, no C compiler does it: {error}")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("skewed")
    prepare(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("ahead_s", [MONTH_S, -MONTH_S])
def test_what_a_writer_with_a_wrong_clock_leaves_is_what_any_other_leaves_also_after_a_clean_up(
    tmp_path: Path, prepared: Path, library: Path, ahead_s: int
) -> None:
    right, wrong = world_in(tmp_path / "right", prepared), world_in(tmp_path / "wrong", prepared)
    for name in SKEWED_VERBS:
        VERBS[name].play(right)

    said = with_clock(library, "verbs", wrong.sources, wrong.place, wrong.out, *SKEWED_VERBS, ahead_s=ahead_s)
    cd.clean(wrong.at("images.lance"))
    again = ingest.from_images(f"{wrong.sources}/in", into=wrong.at("new.lance"))

    assert said == ""
    assert left_by(wrong) == left_by(right)
    assert (again.written.inserted, again.written.updated) == (0, 0)
    assert cd.check(wrong.at("images.lance")).sound


@pytest.mark.slow
def test_a_cleaner_whose_clock_is_ahead_is_refused_and_one_behind_takes_nothing_young(
    tmp_path: Path, library: Path
) -> None:
    table = number_table(tmp_path, 3)
    about_to_be_committed = Path(table.uri, "data", "of-a-writer-at-work.lance")
    about_to_be_committed.write_bytes(b"half")

    said = with_clock(library, "clean", table.uri, ahead_s=MONTH_S)
    foretold = with_clock(library, "clean", table.uri, "dry run", ahead_s=MONTH_S)

    for text in (said, foretold):  # the dry run tells what the run would
        days, hours = re.search(r"this machine's clock is (\d+) days, (\d+):\d\d:\d\d ahead", text).groups()
        assert (int(days), int(hours)) in {(30, 0), (29, 23)}, "whatever the write that it is told by takes"
    assert about_to_be_committed.exists()
    assert with_clock(library, "clean", table.uri, ahead_s=-MONTH_S) == ""
    assert about_to_be_committed.exists()
    assert not Path(StateFolder(table, "clock").uri).exists()


@pytest.mark.slow
def test_a_training_whose_files_are_of_the_future_and_of_no_order_goes_on_from_its_newest_step_bit_for_bit(
    tmp_path: Path, library: Path
) -> None:
    table, encoder = contest_table(tmp_path), tiny_encoder(tmp_path / "model")
    settings = {"epochs": 2, "batch_size": 8, "lr": 3e-3, "checkpoint_every_steps": 2, "keep_checkpoints": 9}
    config = cd.TrainConfig(**settings, checkpoint_to=str(tmp_path / "copies"))
    whole = cd.train(table, encoder, cd.TrainConfig(**settings), out=tmp_path / "whole")
    with pytest.raises(SystemExit):
        cd.train(table, encoder, config, out=tmp_path / "run", progress=Stopping(5))
    for folder in ("run", "copies"):
        for number, path in enumerate(sorted((tmp_path / folder).rglob("*"), reverse=True)):  # the oldest step latest
            os.utime(path, times=(time.time() + MONTH_S + number,) * 2)

    model = str(tmp_path / "model" / "tiny-0")
    said = with_clock(
        library, "train", table.uri, model, json.dumps(config.to_json()), str(tmp_path / "run"), ahead_s=-MONTH_S
    )

    done = cd.Run(tmp_path / "run")
    assert said == ""
    assert [(line["step"], line["loss"]) for line in done.metrics] == [
        (line["step"], line["loss"]) for line in whole.metrics
    ]
    tuned, expected = (one.export_path / "open_clip_model.safetensors" for one in (done, whole))
    assert tuned.read_bytes() == expected.read_bytes()
    assert (tmp_path / "copies" / f"step-{whole.metrics[-1]['step']}.json").exists()


def test_a_clock_that_is_right_is_a_moment_ahead_at_most(tmp_path: Path) -> None:
    table = number_table(tmp_path, 3)

    assert abs(ahead_of_storage(table)) < timedelta(minutes=1)
    assert not list(Path(StateFolder(table, "clock").uri).glob("*"))


def test_the_clock_of_a_bucket_is_asked_and_nothing_left_there(bucket: Bucket) -> None:
    rows.create_table(bucket.url("t.lance"), pa.schema([key_field("path")]), storage=bucket.storage)
    table = cd.open_table(bucket.url("t.lance"), storage=bucket.storage)

    assert abs(ahead_of_storage(table)) < timedelta(minutes=1)
    fs, path = bucket.direct.filesystem(StateFolder(table, "clock").uri)
    assert not fs.exists(path)


def test_no_clean_up_judges_by_a_clock_that_is_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = number_table(tmp_path, 3)
    monkeypatch.setattr(cleaning, "MOST_AHEAD", timedelta(days=-1))  # so that this one is

    for dry_run in (False, True):
        with pytest.raises(UsageError, match="ahead of the one that stamps the files"):
            cd.clean(table, dry_run=dry_run)


def test_a_dry_run_of_cleaning_looks_at_the_clock_and_leaves_no_file_and_no_folder(tmp_path: Path) -> None:
    table = number_table(tmp_path, 3)
    before = sorted(tmp_path.rglob("*"))

    cd.clean(table, dry_run=True)

    assert sorted(tmp_path.rglob("*")) == before
