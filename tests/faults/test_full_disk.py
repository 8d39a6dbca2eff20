"""A target that is full, or may only be read: one clear error, and nothing lost once there is room."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

import clipdata as cd
import ingest
from clipdata.errors import StorageError
from pipelines.cli.app import main
from tests.pictures import write_pictures


def mount(folder: Path, options: str) -> None:
    """Put a file system of its own on a folder, or skip where this is not allowed."""
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """About three megabytes of pictures that no table can compress."""
    (tmp_path / "in").mkdir()
    noise = np.random.default_rng(0)
    for number in range(30):
        cv2.imwrite(str(tmp_path / "in" / f"{number}.bmp"), noise.integers(0, 255, (160, 200, 3), np.uint8))
    return tmp_path / "in"


def test_a_full_disk_stops_the_job_and_the_same_command_finishes_it_once_there_is_room(
    target: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.updating.batches.BATCH_ROWS", 4)
    monkeypatch.setattr("ingest.updating.batches.UNIT_ROWS", 4)
    mount(target, "size=1m")
    with pytest.raises(StorageError, match="No space left"):
        ingest.from_images(pictures, into=target / "t.lance")
    kept = cd.open_table(target / "t.lance").num_rows
    assert 0 < kept < 30
    subprocess.run(["mount", "-o", "remount,size=64m", str(target)], check=True)
    done = ingest.from_images(pictures, into=target / "t.lance")
    assert (done.unchanged, done.written.inserted) == (kept, 30 - kept)
    assert done.table.num_rows == 30


def test_a_map_on_a_full_disk_finishes_once_there_is_room(target: Path, pictures: Path) -> None:
    mount(target, "size=6m")
    table = ingest.from_images(pictures, into=target / "t.lance").table

    @cd.step(reads="bytes", returns="string")
    def long_text(num_bytes: int) -> str:
        return os.urandom(50_000).hex()

    (target / "ballast").write_bytes(b"x" * (int(_free(target)) - 200_000))
    with pytest.raises((StorageError, OSError), match=r"(?i)no space left"):
        cd.map_column(table, long_text, "long")
    (target / "ballast").unlink()
    cd.map_column(table, long_text, "long")
    assert cd.open_table(table.uri).count_rows("long IS NOT NULL") == 30


def test_a_folder_that_may_only_be_read_is_named(
    target: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mount(target, "ro")
    assert main(["ingest", "images", str(pictures), "--into", str(target / "t.lance")]) == 1
    printed = capsys.readouterr().err
    assert "Read-only file system" in printed
    assert "choose a folder that can be written" in printed


def _free(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def test_what_is_noted_with_a_tag_on_a_full_disk_leaves_the_tag_as_it_was(target: Path, tmp_path: Path) -> None:
    mount(target, "size=2m")
    write_pictures(tmp_path / "in", 1)
    table = ingest.from_images(tmp_path / "in", into=target / "t.lance").table
    table.tag("run-first-v1")
    free = os.statvfs(target)
    with (target / "ballast").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_bsize)

    with pytest.raises(StorageError, match="No space left"):
        table.tag("run-first-v1", needed_by="runs/first")

    assert [tag.name for tag in cd.tag(table).tags] == ["run-first-v1"]
