"""What is acknowledged is on the disk: of many verbs of one process, of a table made anew, of other tools before it."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lance
import pyarrow as pa
import pytest

import clipdata as cd
from clipdata.disk import sync
from clipdata.errors import StorageError
from clipdata.lance_io import rows
from clipdata.lance_io.history import Properties
from clipdata.schema import key_field
from tests.faults.power import Disk

SCHEMA = pa.schema([key_field("id"), pa.field("n", pa.int64())])
Lose = Callable[[], Path]


@pytest.fixture
def lose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lose:
    """Let the power go; returns where what the disk then holds of `work/deep` lies."""
    monkeypatch.setattr(os, "fsync", os.fsync)  # what the disk below puts in its place goes with the test
    (tmp_path / "work").mkdir()
    disk = Disk(tmp_path / "work")

    def lost() -> Path:
        shutil.rmtree(tmp_path / "left", ignore_errors=True)
        disk.leave(tmp_path / "left")
        return tmp_path / "left" / "deep"

    return lost


@pytest.fixture
def table(tmp_path: Path, lose: Lose) -> cd.Table:  # its `lose` watches from before it is made
    return make(tmp_path / "work" / "deep" / "t.lance", 4)


def make(place: Path, num_rows: int) -> cd.Table:
    """A table of so many rows, by a verb that is done."""
    table = rows.create_table(str(place), SCHEMA)
    rows.upsert(table, pa.table({"id": [f"{n}" for n in range(num_rows)], "n": range(num_rows)}, schema=SCHEMA))
    cd.compact(table)
    cd.delete(table, "n = 0")
    return table


def test_each_verb_of_a_process_is_on_the_disk_when_it_returns(table: cd.Table, lose: Lose) -> None:
    for number in (1, 2):
        cd.delete(table, f"n = {number}")
        assert cd.open_table(lose() / "t.lance").count_rows() == 3 - number
    cd.tag(table, "kept")
    assert list(lance.dataset(str(lose() / "t.lance")).tags.list()) == ["kept"]


def test_a_table_that_is_made_anew_in_the_place_of_another_is_on_the_disk(table: cd.Table, lose: Lose) -> None:
    shutil.rmtree(Path(table.uri).parent)

    make(Path(table.uri), 8)

    assert cd.open_table(lose() / "t.lance").count_rows() == 7


def test_what_another_tool_wrote_is_on_the_disk_before_what_it_took_the_place_of_is_removed(
    table: cd.Table, lose: Lose
) -> None:
    other = pa.table({"id": ["x"], "n": [9]}, schema=SCHEMA)
    lance.write_dataset(other, table.uri, mode="overwrite")
    newest = table.latest().version

    cd.clean(table)

    assert cd.open_table(lose() / "t.lance").version == newest


@pytest.mark.parametrize("ahead_s", [7200, -7200])
def test_files_of_a_clock_that_runs_otherwise_keep_nothing_from_the_disk(
    table: cd.Table, lose: Lose, ahead_s: float
) -> None:
    cd.delete(table, "n = 1")
    for path in Path(table.uri).rglob("*"):
        moment = path.stat().st_mtime + ahead_s
        os.utime(path, (moment, moment))

    cd.delete(table, "n = 2")
    cd.drop(table, ["n"])

    left = cd.open_table(lose() / "t.lance")
    assert (left.version, left.num_rows) == (table.version, 1)


def test_a_file_that_goes_while_it_is_looked_at_keeps_no_other_from_the_disk(table: cd.Table, lose: Lose) -> None:
    """As the files do that Lance writes aside and renames."""
    (Path(table.uri) / "data" / ".tmp-gone").symlink_to("nowhere")
    (Path(table.uri) / "_versions" / ".tmp-gone").symlink_to("nowhere")

    cd.delete(table, "n = 1")

    assert cd.open_table(lose() / "t.lance").num_rows == 2


def test_data_in_a_folder_that_is_a_link_is_on_the_disk(table: cd.Table, lose: Lose, tmp_path: Path) -> None:
    away = tmp_path / "work" / "away"
    (Path(table.uri) / "data").rename(away)
    (Path(table.uri) / "data").symlink_to(away)
    sync(tmp_path / "work")

    rows.upsert(table, pa.table({"id": ["x"], "n": [9]}, schema=SCHEMA))
    cd.compact(table)

    lost = lose()
    assert sorted(path.name for path in (lost.parent / "away").iterdir() if path.stat().st_size) == sorted(
        path.name for path in away.iterdir()
    )


def test_a_folder_that_its_file_system_cannot_force_is_no_fault(
    table: cd.Table, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    forced = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        forced(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)

    cd.delete(table, "n = 1")
    cd.tag(table, "kept")
    cd.export(table, tmp_path / "out.csv")

    assert cd.open_table(table.uri).num_rows == 2


def test_writers_at_once_leave_all_on_the_disk(table: cd.Table, lose: Lose) -> None:
    def add(number: int) -> None:
        own = cd.open_table(table.uri)
        for step in range(5):
            rows.upsert(own, pa.table({"id": [f"{number}-{step}"], "n": [9]}, schema=SCHEMA))
            rows.close_verb(own.latest(), Properties("merge", {"number": number, "step": step}))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(4)))

    assert cd.open_table(lose() / "t.lance").num_rows == 3 + 20


def test_a_disk_that_does_not_take_it_is_told_of(table: cd.Table, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fsync)

    with pytest.raises(StorageError, match=r"version \d+ of .* is written, and the disk does not say .*output error"):
        cd.drop(table, ["n"])
