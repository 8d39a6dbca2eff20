"""Trackers are told what metrics.jsonl is told, each step once, and none of them ends a training."""

import json
import signal
import sqlite3
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from clipdata.encoder import Encoder
from clipdata.errors import ConfigError
from clipdata.lance_io.table import Table
from clipdata.training import trackers
from clipdata.training.config import TrainConfig
from clipdata.training.fine_tuning import train
from clipdata.training.run import Run, open_run
from clipdata.training.trackers.protocol import figures_of, flat
from tests.contests import contest_table
from tests.telling import Told
from tests.test_interruption import TRAIN, Signalling, quick
from tests.tiny_models import tiny_encoder


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return tiny_encoder()


@pytest.fixture
def table(tmp_path) -> Table:
    return contest_table(tmp_path)


def in_two_parts(tmp_path: Path, table: Table, encoder: Encoder, name: str) -> Run:
    """A run of eight steps that left after the third at once, one step behind its checkpoint, and went on."""
    config = quick(report_to=(name,), checkpoint_every_steps=2)
    left = Signalling(3, signal.SIGINT, signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(table, encoder, config, out=tmp_path / "run", where=TRAIN, progress=left)
    assert [line["step"] for line in open_run(tmp_path / "run").metrics] == [1, 2, 3]
    return train(table, encoder, config, out=tmp_path / "run", where=TRAIN)


def losses(run: Run) -> list[tuple[int, float]]:
    return [(line["step"], pytest.approx(line["loss"], rel=1e-6)) for line in run.metrics]


def accuracies(run: Run) -> list[tuple[int, float]]:
    return [(line["step"], pytest.approx(line["accuracy"], rel=1e-6)) for line in run.epochs]


def test_tensorboard_reads_each_step_once_after_a_training_went_on(tmp_path, table, encoder):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

    run = in_two_parts(tmp_path, table, encoder, "tensorboard")

    events = accumulator.EventAccumulator(str(run.path / "tensorboard"), purge_orphaned_data=False)
    events.Reload()
    assert [(one.step, one.value) for one in events.Scalars("train/loss")] == losses(run)
    assert [(one.step, one.value) for one in events.Scalars("report/accuracy")] == accuracies(run)
    assert "report/pace/rows_s" in events.Tags()["scalars"]


def test_wandb_writes_each_step_once_without_a_network(tmp_path, table, encoder, monkeypatch, loopback_only):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")

    run = in_two_parts(tmp_path, table, encoder, "wandb")

    folders = sorted((run.path / "wandb").glob("offline-run-*"))
    rows = [row for folder in folders for row in wandb_history(folder)]
    assert len(folders) == 2
    assert {folder.name.split("-", 3)[-1] for folder in folders} == {json_of(run)["wandb"]}
    assert [(row["_step"], row["train/loss"]) for row in rows if "train/loss" in row] == losses(run)
    assert [(row["_step"], row["report/accuracy"]) for row in rows if "report/accuracy" in row] == accuracies(run)
    gathered = {path.name for path in (run.path / "wandb").rglob("*") if path.is_file() and path.suffix != ".log"}
    assert gathered == {f"run-{json_of(run)['wandb']}.wandb"}


def json_of(run: Run) -> dict[str, str]:
    return json.loads((run.path / trackers.KNOWN_AS).read_text())


def wandb_history(folder: Path) -> list[dict]:
    """The rows that a folder of an offline run holds, as `wandb sync` finds them."""
    from wandb.proto import wandb_internal_pb2

    found = []
    for data in records(next(folder.glob("*.wandb")).read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            found.append({item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items})
    return found


def records(log: bytes, block: int = 32768, header: int = 7) -> Iterator[bytes]:
    """The records of a LevelDB log, behind the file's own header, which is as long as theirs."""
    place, parts = header, []
    while place + header <= len(log):
        if block - place % block < header:  # no record begins in the last bytes of a block
            place += block - place % block
            continue
        length, kind = struct.unpack("<HB", log[place + 4 : place + header])
        parts.append(log[place + header : place + header + length])
        place += header + length
        if kind in (1, 4):  # whole, or the last part of one
            yield b"".join(parts)
            parts = []


def test_trackio_holds_each_step_once_after_a_training_went_on(tmp_path, table, encoder, monkeypatch, capsys):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    pytest.importorskip("trackio")

    run = in_two_parts(tmp_path, table, encoder, "trackio")

    [database] = (tmp_path / "trackio").glob("*.db")
    with sqlite3.connect(database) as connection:
        rows = connection.execute("SELECT step, metrics FROM metrics ORDER BY id").fetchall()
    told = [(step, json.loads(metrics)) for step, metrics in rows]
    assert [(step, found["train/loss"]) for step, found in told if "train/loss" in found] == losses(run)
    assert capsys.readouterr().out == ""


def test_a_tracker_that_is_asked_for_later_is_told_all_from_the_beginning(tmp_path, table, encoder):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with pytest.raises(SystemExit):
        train(table, encoder, quick(), out=tmp_path / "run", where=TRAIN, progress=Signalling(3, signal.SIGTERM))

    run = train(table, encoder, quick(report_to=("tensorboard",)), out=tmp_path / "run", where=TRAIN)

    events = accumulator.EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    assert [(one.step, one.value) for one in events.Scalars("train/loss")] == losses(run)


def test_a_tracker_that_fails_is_said_once_and_ends_no_training(tmp_path, table, encoder):
    pytest.importorskip("tensorboard")
    told = Told()
    with pytest.raises(SystemExit):
        train(table, encoder, quick(), out=tmp_path / "run", where=TRAIN, progress=Signalling(3, signal.SIGTERM))
    (tmp_path / "run" / "tensorboard").write_text("a file where its folder should be")

    run = train(table, encoder, quick(report_to=("tensorboard",)), out=tmp_path / "run", where=TRAIN, progress=told)

    assert run.is_finished
    assert len(run.metrics) == 8
    assert len([said for said in told.said if said.startswith("tensorboard failed and is told nothing more")]) == 1


def test_a_tracker_that_is_not_installed_is_refused_with_the_command_that_installs_it(monkeypatch):
    with pytest.raises(ConfigError, match=r"report_to names torchboard(.|\n)*pip install torchboard"):
        trackers.require(["torchboard"])


@pytest.mark.parametrize(
    ("text", "names"),
    [("tensorboard,wandb", ("tensorboard", "wandb")), ("trackio", ("trackio",)), ("none", ()), ("", ())],
)
def test_trackers_are_typed_with_commas_between(text, names):
    config = TrainConfig().with_settings({"report_to": text})

    assert config.report_to == names
    assert TrainConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize("given", ["tensorboard,mlflow", "wandb tensorboard"])
def test_an_unknown_tracker_is_refused_with_those_there_are(given):
    with pytest.raises(ConfigError, match="expected some of tensorboard, wandb, trackio, with commas between"):
        TrainConfig().with_settings({"report_to": given})


def test_figures_are_the_finite_numbers_of_a_line():
    line = {"kind": "epoch", "step": 4, "epoch": 1, "loss": float("nan"), "accuracy": 0.5, "pace": {"wait": 0.1}}

    assert figures_of(line) == {"report/epoch": 1, "report/accuracy": 0.5, "report/pace/wait": 0.1}
    assert flat({"config": {"lr": 1.0, "objective": {"kind": "choice"}}, "started": "now"}) == {
        "config.lr": 1.0,
        "config.objective.kind": "choice",
        "started": "now",
    }
