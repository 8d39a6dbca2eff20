"""Cleaning: what killed runs left goes, and nothing that anybody needs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import clipdata as cd
from clipdata.errors import UsageError
from clipdata.lance_io.column_file import write_column
from clipdata.lance_io.columns import mark_of
from clipdata.lance_io.state import StateFolder, map_folder
from tests.tables import append_numbers, number_table

LONG_AGO = timedelta(days=30)
DAYS_AGO = timedelta(days=3)  # Lance itself leaves unused files alone for a week


def make_old(folder: Path | str, age: timedelta = LONG_AGO) -> None:
    then = time.time() - age.total_seconds()
    for path in Path(folder).rglob("*"):
        os.utime(path, (then, then))


def double(table: cd.Table) -> cd.Mapped:
    return cd.map_column(table, cd.step(reads="number", returns=pa.int64())(lambda number: number * 2), "twice")


def unused_column_file(table: cd.Table) -> str:
    fragment = table.dataset.get_fragments()[0]
    values = [(np.arange(3), pa.array([1, 2, 3]))]
    return write_column(table, pa.field("number", pa.int64()), fragment, lambda: [values])


def names(cleaned: cd.Cleaned) -> list[tuple[str, str]]:
    return sorted((file.path.rpartition("/")[2], file.why) for file in cleaned.leftovers)


@pytest.mark.parametrize("age", [DAYS_AGO, LONG_AGO])
def test_what_killed_runs_left_is_removed_and_a_dry_run_says_so_before(tmp_path: Path, age: timedelta) -> None:
    table = number_table(tmp_path, 3)
    column_file, half = unused_column_file(table), Path(table.uri, "data", ".tmpAb12")
    half.write_bytes(b"12345")
    records = StateFolder(table, map_folder("gone", "0123456789abcdef"))
    records.write_json("done-0-x", {"fragment_id": 0})
    Path(f"{table.uri}.state", "map", "gone-0123456789abcdef", "part-0.arrow.ab.tmp").write_bytes(b"1")
    make_old(tmp_path, age)

    told = cd.clean(table, dry_run=True)
    done = cd.clean(table)

    assert names(told) == names(done) == sorted([
        (".tmpAb12", "half-written"),
        (column_file, "named by no version"),
        ("done-0-x.json", "records of a map whose column is gone"),
        ("part-0.arrow.ab.tmp", "records of a map whose column is gone"),
    ])  # fmt: skip
    assert (told.num_files, told.num_bytes, told.dry_run) == (done.num_files, done.num_bytes, True)
    assert str(told).startswith(f"would remove {told.num_files} files, {told.num_bytes:,} bytes, of {table.uri}")
    assert not half.exists()
    assert not Path(f"{table.uri}.state").exists()
    assert cd.open_table(table.uri).to_table().num_rows == 3
    assert cd.clean(table).num_files == 0


def test_parts_of_fragments_stay_as_long_as_the_map_that_they_are_of(tmp_path: Path) -> None:
    table = number_table(tmp_path, 3)
    double(table)
    mark = mark_of(cd.open_table(table.uri).schema.field("twice"))
    records = StateFolder(table, map_folder("twice", str(mark)))
    records.write_arrow("parts/0/a", pa.table({"place": [0]}))
    make_old(Path(f"{table.uri}.state"), DAYS_AGO)

    assert cd.clean(table).num_files == 0
    records.write_json("done-0-x", {"file": unused_column_file(table)})
    make_old(Path(f"{table.uri}.state", "map", records.uri.rpartition("/")[2], "parts"), LONG_AGO)
    assert cd.clean(table).num_files == 0
    make_old(Path(f"{table.uri}.state"), LONG_AGO)
    why = "records of a map that nobody went on with"
    assert names(cd.clean(table)) == [("a.arrow", why), ("done-0-x.json", why)]


def test_what_is_young_stays_for_somebody_may_be_about_to_commit_it(tmp_path: Path) -> None:
    table = number_table(tmp_path, 3)
    unused_column_file(table)
    Path(table.uri, "data", ".tmpAb12").write_bytes(b"12345")
    StateFolder(table, map_folder("gone", "0123456789abcdef")).write_json("done-0-x", {})

    assert cd.clean(table).num_files == 0
    for name in ("older_than", "abandoned_for", "unfinished_for"):
        with pytest.raises(UsageError, match=f"{name} is .*; expected a timedelta of at least an hour"):
            cd.clean(table, **{name: timedelta(0)})


def test_a_tagged_version_stays_with_all_its_files(tmp_path: Path) -> None:
    table = number_table(tmp_path, 6, rows_per_write=3)
    double(table)
    table.tag("run")
    tagged = table.pinned()
    cd.map_column(table, cd.step(reads="number", returns=pa.int64())(abs), "twice", overwrite=True)
    table.dataset.optimize.compact_files()
    before = table.latest().version
    make_old(tmp_path)

    done = cd.clean(table, older_than=timedelta(hours=1), abandoned_for=timedelta(hours=1))

    assert done.leftovers == ()
    assert cd.open_table(table.uri, version="run").to_table() == tagged.to_table()
    assert cd.open_table(table.uri).version == before


def test_the_records_of_a_map_that_can_go_on_stay_with_the_column_files_that_they_name(tmp_path: Path) -> None:
    table = number_table(tmp_path, 3)
    table.dataset.add_columns(pa.field("twice", pa.int64()))
    table = table.latest()
    records = StateFolder(table, map_folder("twice", mark_of(table.schema.field("twice"))))
    records.write_json("done-0-x", {"file": unused_column_file(table), "reasons_file": None})
    make_old(tmp_path, DAYS_AGO)

    assert cd.clean(table).leftovers == ()
    make_old(tmp_path)
    assert sorted(why for _, why in names(cd.clean(table))) == [
        "named by no version", "records of a map that nobody went on with"
    ]  # fmt: skip


def test_what_models_were_trained_on_is_kept_for_ever(tmp_path: Path) -> None:
    table = number_table(tmp_path, 3)
    StateFolder(table, "trained_rows").write_bytes("abc.arrow", b"digests")
    make_old(tmp_path)

    assert cd.clean(table).num_files == 0
    assert StateFolder(table, "trained_rows").read_bytes("abc.arrow") == b"digests"


def test_the_records_of_a_delete_stay_as_long_as_a_version_knows_of_it(tmp_path: Path) -> None:
    table = number_table(tmp_path, 6)
    cd.delete(table, "number = 1")
    cd.delete(table, "number = 2")
    cd.delete(table, forget_deleted=True)
    make_old(tmp_path)
    table.tag("kept")

    done = cd.clean(table)

    assert (done.kept, done.leftovers) == (("kept",), ())
    assert str(done).endswith("  kept: versions of 1 tag (kept)")
    table.dataset.cleanup_old_versions(older_than=timedelta(0), error_if_tagged_old_versions=False)
    gone = cd.clean(table).leftovers
    assert [file.why for file in gone] == ["records of a delete that no version knows of"] * 2


def test_files_that_a_branch_may_need_stay(tmp_path: Path) -> None:
    table = number_table(tmp_path, 3)
    table.dataset.create_branch("try")
    unused = unused_column_file(table)
    make_old(tmp_path, DAYS_AGO)

    cd.clean(table)

    assert Path(table.uri, "data", unused).exists()


MAP = """
import sys, time
import pyarrow as pa
import clipdata as cd

@cd.step(returns=pa.int64(), version="1")
def slow(number):
    time.sleep(0.02)
    return number * 3

print(cd.map_column(cd.open_table(sys.argv[1]), slow, "thrice").computed)
"""


def test_a_map_in_another_process_meanwhile_loses_nothing(tmp_path: Path) -> None:
    table = number_table(tmp_path, 40, rows_per_write=4)
    unused = unused_column_file(table)
    make_old(tmp_path)
    running = subprocess.Popen([sys.executable, "-c", MAP, table.uri], stdout=subprocess.PIPE, text=True)

    num_removed = 0
    while running.poll() is None:
        done = cd.clean(table, older_than=timedelta(hours=1), abandoned_for=timedelta(hours=1))
        num_removed += len(done.leftovers)
        if num_removed:
            append_numbers(table, 40, 41)  # and it is no rest from which the map works on

    assert running.wait() == 0
    assert not Path(table.uri, "data", unused).exists()
    found = cd.open_table(table.uri).to_table(["number", "thrice"]).to_pylist()
    assert [row["thrice"] for row in found if row["number"] < 40] == [row["number"] * 3 for row in found][:40]
