"""Training into a disk that is full or may only be read: one clear error with the path, and the run goes on later."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import pytest
import torch

from clipdata.encoder import Encoder
from clipdata.errors import StorageError
from clipdata.lance_io.table import Table
from clipdata.training import checkpoints
from clipdata.training.config import TrainConfig
from clipdata.training.fine_tuning import train
from clipdata.training.metrics import MetricsFile
from clipdata.training.state_files import write_json
from tests.contests import contest_table
from tests.faults.test_full_disk import mount
from tests.tiny_models import tiny_encoder


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return tiny_encoder()


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return contest_table(tmp_path)


CONFIG = TrainConfig(epochs=2, batch_size=8, lr=3e-3)


def fill(folder: Path, *, leave_bytes: int) -> Path:
    """Take all room but some."""
    free = os.statvfs(folder)
    ballast = folder / ".ballast"
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_bsize - leave_bytes)
    return ballast


@pytest.mark.parametrize("leave_bytes", [0, 4096, 12_288, 24_576, 60_000, 1_500_000])
def test_wherever_the_room_ends_the_error_names_the_file_and_the_run_goes_on(target, table, encoder, leave_bytes):
    """Without room for config.json, metrics.jsonl, a checkpoint, or the export."""
    whole = train(table, encoder, CONFIG, out=target.parent / "whole")
    mount(target, "size=64m")
    ballast = fill(target, leave_bytes=leave_bytes)

    with pytest.raises(StorageError) as caught:
        train(table, encoder, CONFIG, out=target / "run")

    assert str(target / "run") in caught.value.message
    assert "No space left on device" in caught.value.message
    assert "make room" in (caught.value.hint or "")
    ballast.unlink()
    run = train(table, encoder, CONFIG, out=target / "run")
    assert [line["loss"] for line in run.metrics] == [line["loss"] for line in whole.metrics]


def test_a_checkpoint_that_found_no_room_leaves_its_room_to_others(target):
    mount(target, "size=1m")
    checkpoints.save(target / "checkpoints", 1, {"w": torch.zeros(1000)}, {})
    fill(target, leave_bytes=100_000)

    with pytest.raises(StorageError, match=r"step-2: No space left on device"):
        checkpoints.save(target / "checkpoints", 2, {"w": torch.zeros(100_000)}, {})
    with pytest.raises(StorageError, match=r"step-2: No space left on device"):
        checkpoints.save(target / "checkpoints", 2, {"w": torch.zeros(10)}, {"a": torch.zeros(100_000)})

    assert [one.step for one in checkpoints.complete(target / "checkpoints")] == [1]
    assert [path.name for path in (target / "checkpoints").iterdir()] == ["step-1"]


def test_metrics_and_records_that_find_no_room_are_named(target):
    mount(target, "size=1m")
    with closing(MetricsFile(target / "metrics.jsonl", 0)) as metrics:
        fill(target, leave_bytes=0)
        with pytest.raises(StorageError, match=r"metrics.jsonl: No space left"):
            metrics.write({"loss": "x" * 10_000})
    with pytest.raises(StorageError, match=r"config.json: No space left"):
        write_json(target / "config.json", {"a": "x" * 10_000})
    assert not (target / ".config.json.writing").exists()


def test_a_folder_that_may_only_be_read_is_named_with_another_choice(target, table, encoder):
    mount(target, "ro")

    with pytest.raises(StorageError, match=r"run: Read-only file system[^$]*choose a folder that can be written"):
        train(table, encoder, CONFIG, out=target / "run")
