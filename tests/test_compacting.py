"""Compacting changes how a table lies in files, and nothing that anybody reads of it."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import clipdata as cd
import ingest
from clipdata.errors import UsageError
from clipdata.lance_io import compacting
from clipdata.lance_io.history import log
from clipdata.lance_io.inserting import Inserter, write_new
from clipdata.step_protocol import BaseStep
from tests.pictures import write_pictures
from tests.tables import append_numbers, number_table
from tests.test_cleaning import DAYS_AGO, make_old


@cd.step(returns=pa.int64(), version="1")
def twice(number: int) -> int:
    return 2 * number


@cd.step(returns=pa.int64(), version="1")
def thrice(number: int) -> int:
    return 3 * number


class Stopping(BaseStep):
    """Adds one, and is interrupted after so many rows."""

    name, version = "Stopping", "1"
    reads: tuple[str, ...] = ("number",)
    returns = pa.int64()

    def __init__(self, after: int | None = None) -> None:
        self.after, self.seen = after, 0

    def compute(self, batch: pa.RecordBatch, prepared: None) -> pa.Array:
        if self.after is not None and self.seen >= self.after:
            raise KeyboardInterrupt
        self.seen += batch.num_rows
        return pc.add(batch.column("number"), 1)


def test_small_fragments_become_large_ones_and_again_nothing_happens(tmp_path: Path) -> None:
    table = number_table(tmp_path, 40, rows_per_write=4)
    cd.map_column(table, twice, "twice", limit=20)
    table.dataset.create_scalar_index("number", "BTREE")
    table.dataset.delete("number % 10 = 3")
    table = table.latest()
    old, whole = table.pinned(), table.to_table(["path", "number", "twice", "_rowid"])

    told = cd.compact(table, rows_per_fragment=16, dry_run=True)
    assert table.latest().version == old.version
    done = cd.compact(table, rows_per_fragment=16)

    assert (told.before, told.rows_rewritten) == (done.before, done.rows_rewritten)
    assert (done.before.num_fragments, done.before.num_deleted, done.after.num_deleted) == (10, 4, 0)
    assert done.after.num_fragments == told.after.num_fragments == 2
    assert done.after.num_files == 2
    assert 0 < told.after.num_bytes < told.before.num_bytes
    assert table.to_table(["path", "number", "twice", "_rowid"]).equals(whole)
    assert table.dataset.scanner(filter="number = 15").to_table().num_rows == 1
    entry = log(table)[-1]
    assert entry.properties is not None
    assert (entry.properties.verb, entry.version) == ("compact", done.version)
    again = cd.compact(table, rows_per_fragment=16)
    assert (again.version, again.rows_rewritten, again.before) == (done.version, 0, done.after)
    assert str(again).startswith(f"{table.uri} is compact: 2 fragments, 2 files")
    cd.map_column(table, twice, "twice")
    assert table.count_rows("twice = 2 * number") == 36


def test_rows_that_refer_to_pictures_of_a_compacted_table_still_find_them(tmp_path: Path) -> None:
    for first in (0, 2, 4):
        write_pictures(tmp_path / "in", 2, first=first)
        images = ingest.from_images(tmp_path / "in", into=tmp_path / "images.lance").table
    names = [f"{number:04d}.jpg" for number in range(6)]
    pq.write_table(pa.table({"filename": names, "caption": list("abcdef")}), tmp_path / "m.parquet")
    meta = ingest.from_parquet(tmp_path / "m.parquet", into=tmp_path / "m.lance").table
    merged = ingest.merge(images, meta, into=tmp_path / "merged.lance")
    before = merged.to_table(["filename", "image"])

    assert cd.compact(images).after.num_fragments == 1
    cd.compact(merged)

    assert cd.open_table(merged.uri).to_table(["filename", "image"]).equals(before)
    assert ingest.merge_report(images.uri, meta.uri, into=merged.uri).written.any is False


MAP = """
import sys, time
import pyarrow as pa
import clipdata as cd

@cd.step(returns=pa.int64(), version="1")
def slow(number):
    time.sleep(0.02)
    return number * 3

print(cd.map_column(cd.open_table(sys.argv[1]), slow, "thrice", batch_rows=2).computed)
"""


def test_a_map_in_another_process_goes_on_while_rows_go_and_come_and_the_table_is_compacted(tmp_path: Path) -> None:
    table = number_table(tmp_path, 60, rows_per_write=4)
    cd.map_column(table, twice, "twice")
    first, num = table.latest().version, 60
    running = subprocess.Popen([sys.executable, "-c", MAP, table.uri], stderr=subprocess.PIPE, text=True)

    while running.poll() is None and num < 72:
        append_numbers(table, num, num + 1)
        cd.delete(table, f"number = {num - 30}")
        cd.compact(table, rows_per_fragment=8)
        num += 1
    _, told = running.communicate()

    assert running.returncode == 0 or "run the same command again" in told or "ConcurrentChangeError" in told
    cd.restore(table, first)
    restored = cd.open_table(table.uri)
    assert (restored.num_rows, restored.count_rows("twice = 2 * number")) == (60, 60)
    newest = cd.open_table(table.uri, version=restored.version - 1)
    assert newest.num_rows == 60
    if "thrice" in newest.schema.names:
        assert newest.count_rows("thrice <> 3 * number") == 0


def test_after_compacting_and_cleaning_a_tag_a_column_and_an_interrupted_map_are_what_they_were(tmp_path: Path) -> None:
    table = number_table(tmp_path, 40, rows_per_write=4)
    cd.map_column(table, twice, "twice")
    cd.tag(table, "published")
    tagged, lineage = table.pinned(), table.lineage("twice")
    cd.map_column(table, thrice, "thrice", limit=10)
    stopped = Stopping(after=12)
    with pytest.raises(KeyboardInterrupt):
        cd.map_column(table, stopped, "shifted", batch_rows=2)
    cd.delete(table, "number % 10 = 3")

    cd.compact(table, rows_per_fragment=16)
    make_old(tmp_path, DAYS_AGO)
    cd.clean(table, older_than=timedelta(hours=1), abandoned_for=timedelta(hours=1))

    old = cd.open_table(table.uri, version="published")
    assert old.to_table(["number", "twice"]).equals(tagged.to_table(["number", "twice"]))
    newest = cd.open_table(table.uri)
    assert newest.lineage("twice") == old.lineage("twice") == lineage
    assert newest.count_rows("twice = 2 * number") == 36
    assert cd.map_column(newest, thrice, "thrice").computed == 27
    done = cd.map_column(newest, Stopping(), "shifted", batch_rows=2)
    assert done.kept + done.computed == newest.count_rows("shifted = number + 1") == 36


@pytest.mark.parametrize("change", ["none", "deleted", "restored"])
def test_what_was_rewritten_is_committed_though_others_put_rows_in_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    table = number_table(tmp_path, 40, rows_per_write=4)
    table.dataset.create_scalar_index("number", "BTREE")
    table = table.latest()
    commit, calls = compacting._commit, []

    def late(*args: object) -> bool:
        if not calls:
            number = pa.table({"path": ["new.jpg"], "number": [100]})
            assert Inserter(table.latest(), table).insert([write_new(table.latest(), number)]) == []
            if change == "deleted":
                cd.delete(table.uri, "number = 7")
            if change == "restored":  # to what is there: Lance takes away what it did not commit
                cd.restore(table.uri, table.version)
                assert Inserter(table.latest(), table).insert([write_new(table.latest(), number)]) == []
        calls.append(commit(*args))  # type: ignore[arg-type]
        return calls[-1]

    monkeypatch.setattr(compacting, "_commit", late)
    done = cd.compact(table, rows_per_fragment=1000)

    assert calls[0] == (change == "none")
    newest = cd.open_table(table.uri)
    expected = sorted({*range(40), 100} - ({7} if change == "deleted" else set()))
    assert sorted(newest.to_table(["number"])["number"].to_pylist()) == expected
    assert newest.to_table(["path"], where="number = 9").num_rows == 1, "the index finds what was moved"
    assert len(set(newest.to_table(["_rowid"])["_rowid"].to_pylist())) == len(expected)
    assert done.rows_rewritten == len(expected) - 1, "Lance merges no rows that an index has with those it has not"
    assert cd.check(newest).sound


def test_what_is_no_number_of_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="rows_per_fragment"):
        cd.compact(number_table(tmp_path, 1), rows_per_fragment=0)
