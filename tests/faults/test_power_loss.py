"""The power goes at a commit boundary: what a disk may have lost by then is found, and the same verb mends it.

No process sees what a disk has kept of what it was given, so both ends are tried: all that was written by then is
there; or the newest version, whose files nobody has forced to the disk, is lost in each of the ways of file systems:
names of empty files, files that end early, files of the right length without their bytes.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lance
import pyarrow as pa
import pytest
from lance.dataset import MergeInsertBuilder

import clipdata as cd
import ingest
from clipdata.errors import StorageError
from clipdata.lance_io.data_files import names_of_files
from clipdata.step_protocol import BaseStep
from tests.damaging import cut, manifest
from tests.pictures import write_pictures


class Width(BaseStep):
    """Twice the width of a picture."""

    name, version, returns, reads = "Width", "1", pa.int64(), ("width",)

    def compute(self, batch: pa.RecordBatch, prepared: object) -> Any:
        return pa.compute.multiply(batch.column("width").cast(pa.int64()), 2)


def carry_out(sources: Path, uri: Path, told: Callable[[str], None]) -> None:
    """A few verbs; `told` hears of each that was acknowledged."""
    ingest.from_images(str(sources), into=uri)
    told("ingest")
    cd.map_column(uri, Width(), "twice")
    told("map")
    if cd.open_table(uri).count_rows("path = '0001.jpg'"):
        cd.delete(uri, "path = '0001.jpg'")
    told("delete")


def emptied(path: Path) -> None:
    """A name without its bytes."""
    cut(path, 0)


def zeroed(path: Path) -> None:
    """A length without its bytes."""
    path.write_bytes(bytes(path.stat().st_size))


@pytest.fixture(scope="module")
def lost(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[Path, list[str]]], pa.Table]:
    """Pictures; copies of the table and its records at each boundary, with what was acknowledged; the whole table."""
    folder = tmp_path_factory.mktemp("power")
    write_pictures(folder / "in", 6)
    work, acknowledged, copies = folder / "work", list[str](), list[tuple[Path, list[str]]]()

    def copied() -> None:
        copy = folder / f"copy-{len(copies)}"
        shutil.copytree(work, copy)
        copies.append((copy, list(acknowledged)))

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in ((lance.LanceDataset, "commit"), (MergeInsertBuilder, "execute")):
            function = getattr(owner, name)

            def wrapped(*args: Any, _function: Any = function, **kwargs: Any) -> Any:
                done = _function(*args, **kwargs)
                copied()
                return done

            patch.setattr(owner, name, staticmethod(wrapped) if name == "commit" else wrapped)
        carry_out(folder / "in", work / "t.lance", acknowledged.append)
    return folder / "in", copies, cd.open_table(work / "t.lance").to_table().sort_by("path")


def test_a_copy_of_any_moment_opens_whole_and_holds_what_was_acknowledged(lost: Any, tmp_path: Path) -> None:
    sources, copies, whole = lost
    assert len(copies) >= 5

    for copy, acknowledged in copies:
        uri = shutil.copytree(copy, tmp_path / copy.name) / "t.lance"
        table = cd.open_table(uri)
        assert cd.check(table).sound
        others = table.count_rows("path <> '0001.jpg'")  # that one may be deleted before it is acknowledged
        assert others == 5 or "ingest" not in acknowledged
        if "map" in acknowledged:
            assert table.count_rows("twice IS NULL") == 0
        carry_out(sources, uri, lambda _: None)
        assert cd.open_table(uri).to_table().sort_by("path").equals(whole)


@pytest.mark.parametrize("lose", [emptied, cut, zeroed])
def test_of_a_version_that_did_not_reach_the_disk_the_one_before_is_left_and_the_verb_makes_it_again(
    lost: Any, tmp_path: Path, lose: Callable[[Path], None]
) -> None:
    sources, copies, whole = lost
    num_tried = num_recorded = 0

    for copy, _ in copies:
        uri = shutil.copytree(copy, tmp_path / copy.name) / "t.lance"
        newest = cd.open_table(uri)
        if newest.version == 1:
            continue
        num_tried += 1
        for name in names_of_files(newest) - names_of_files(newest.pinned(newest.version - 1)):
            lose(uri / name)
        lose(manifest(uri, newest.version))
        num_recorded += len(list(uri.with_name("t.lance.state").rglob("done-*")))
        with pytest.raises(StorageError, match="damaged"):
            cd.open_table(uri)

        assert cd.check(uri, repair=True).sound
        assert cd.open_table(uri).version == newest.version - 1
        carry_out(sources, uri, lambda _: None)
        assert cd.open_table(uri).to_table().sort_by("path").equals(whole)
    assert num_tried >= 4
    assert num_recorded


def test_pictures_from_a_clock_that_runs_ahead_are_taken_in_once(tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 3)
    for number, skew_s in enumerate((86_400 * 365, -86_400 * 3650, 0)):
        moment = time.time() + skew_s
        os.utime(tmp_path / "in" / f"{number:04d}.jpg", (moment, moment))

    done = [ingest.from_images(str(tmp_path / "in"), into=tmp_path / "t.lance") for _ in range(2)]

    assert [(one.written.inserted, one.written.updated) for one in done] == [(3, 0), (0, 0)]


def test_records_from_a_clock_that_runs_ahead_are_never_cleaned_as_old(tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 3)
    ingest.from_images(str(tmp_path / "in"), into=tmp_path / "t.lance")
    ahead = tmp_path / "t.lance" / "data" / "of-a-writer-at-work.lance"
    ahead.write_bytes(b"half")
    os.utime(ahead, (time.time() + 1e6, time.time() + 1e6))

    cd.clean(tmp_path / "t.lance")

    assert ahead.exists()
