"""Rows written by key, by one writer and by several at once."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest

from clipdata.errors import SchemaError
from clipdata.lance_io import rows
from clipdata.lance_io.history import Properties, log
from clipdata.lance_io.rows import Written
from clipdata.lance_io.table import open_table
from clipdata.schema import key_field
from tests.tables import append_numbers, number_table

SCHEMA = pa.schema([key_field("path"), pa.field("etag", pa.string()), pa.field("text", pa.string())])


def some_rows(etag: str, *paths: str) -> pa.Table:
    return pa.table({"path": list(paths), "etag": [etag] * len(paths), "text": [f"{etag} of {p}" for p in paths]})


def test_a_table_is_made_once_and_opened_ever_after(tmp_path: Path) -> None:
    made = rows.create_table(tmp_path / "t.lance", SCHEMA)
    rows.upsert(made, some_rows("1", "a"))

    again = rows.create_table(tmp_path / "t.lance", SCHEMA)

    assert (made.version, made.num_rows, made.key) == (1, 0, "path")
    assert (again.version, again.num_rows) == (2, 1)


@pytest.mark.parametrize("turn", range(8))
def test_several_makers_at_once_make_one_table_and_lose_no_row(tmp_path: Path, turn: int) -> None:
    def make_and_write(writer: int) -> None:
        time.sleep(0.0005 * (turn % 2) * writer)
        table = rows.create_table(tmp_path / "t.lance", SCHEMA)
        rows.upsert(table, some_rows("1", f"{writer}-a", f"{writer}-b"))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(make_and_write, range(6)))

    table = open_table(tmp_path / "t.lance")
    assert table.num_rows == 12
    assert [entry.operation for entry in log(tmp_path / "t.lance", all=True)].count("Overwrite") == 1


def test_tables_are_of_the_format_that_the_rest_relies_on(tmp_path: Path) -> None:
    made = rows.create_table(tmp_path / "t.lance", SCHEMA).dataset

    assert (made.data_storage_version, made.has_stable_row_ids) == ("2.2", True)
    assert (tmp_path / "t.lance" / "_versions" / f"{2**64 - 2}.manifest").exists()  # found without a listing


def test_a_table_of_another_key_or_of_none_is_refused(tmp_path: Path) -> None:
    rows.create_table(tmp_path / "t.lance", SCHEMA)

    with pytest.raises(SchemaError, match="its key is 'path'; these rows are keyed by 'id'"):
        rows.create_table(tmp_path / "t.lance", pa.schema([key_field("id")]))
    with pytest.raises(SchemaError, match="declares no key column; found path"):
        rows.create_table(tmp_path / "u.lance", pa.schema([pa.field("path", pa.string())]))
    assert not (tmp_path / "u.lance").exists()


@pytest.mark.parametrize("known", [False, True], ids=["the newest version", "the version that a job knows"])
def test_new_rows_go_in_changed_ones_are_replaced_whole_and_equal_ones_stay(tmp_path: Path, known: bool) -> None:
    table = rows.create_table(tmp_path / "t.lance", SCHEMA)
    onto = table.pinned() if known else None
    rows.upsert(table, some_rows("1", "a", "b"), onto=onto)
    rows.add_columns(table, [pa.field("derived", pa.int64())])
    table.latest().dataset.update({"derived": "7"})

    given = pa.concat_tables([some_rows("1", "a"), some_rows("2", "b", "c")])
    written = rows.upsert(table, given, changed="etag", onto=onto)

    assert written == Written(inserted=1, updated=1)
    assert (table.version, onto and onto.version) == (1, onto and table.latest().version)
    read = table.latest().to_table(["path", "text", "derived"]).sort_by("path").to_pylist()
    assert read == [
        {"path": "a", "text": "1 of a", "derived": 7},
        {"path": "b", "text": "2 of b", "derived": None},
        {"path": "c", "text": "2 of c", "derived": None},
    ]


def test_without_a_column_that_tells_rows_of_a_known_key_are_left_alone(tmp_path: Path) -> None:
    table = rows.create_table(tmp_path / "t.lance", SCHEMA)
    rows.upsert(table, some_rows("1", "a"))

    assert rows.upsert(table, some_rows("2", "a", "b")) == Written(inserted=1)
    assert rows.upsert(table, some_rows("2")) == Written()
    assert table.latest().count_rows("etag = '1'") == 1


@pytest.mark.parametrize("known", [False, True], ids=["the newest version", "the version that a job knows"])
@pytest.mark.parametrize("same", [True, False], ids=["the same keys", "keys of their own"])
def test_six_writers_at_once_lose_and_double_nothing(tmp_path: Path, same: bool, known: bool) -> None:
    table = rows.create_table(tmp_path / "t.lance", SCHEMA)

    def write(writer: int) -> Written:
        mine = open_table(tmp_path / "t.lance")
        done = Written()
        for part in range(3):
            names = [f"{0 if same else writer}-{part}-{number}" for number in range(20)]
            done += rows.upsert(mine, some_rows("1", *names), changed="etag", onto=mine if known else None)
        return done

    with ThreadPoolExecutor(6) as pool:
        written = sum(pool.map(write, range(6)), Written())

    keys = table.latest().to_table(["path"]).column(0).to_pylist()
    assert len(keys) == len(set(keys)) == (60 if same else 360)
    assert written.inserted == len(keys)


def test_keys_that_are_not_there_are_no_fault_of_a_deletion(tmp_path: Path) -> None:
    table = number_table(tmp_path, 4)

    assert rows.delete_keys(table, ["000001", "nobody"]) == Written(deleted=1)
    assert rows.delete_keys(table, []) == Written()
    assert table.latest().to_table(["number"]).column(0).to_pylist() == [0, 2, 3]


def test_columns_are_added_once_and_never_retyped(tmp_path: Path) -> None:
    table = number_table(tmp_path, 3)
    first = rows.add_columns(table, [pa.field("score", pa.float32())])

    assert rows.add_columns(table, [pa.field("score", pa.float32())]).version == first.version
    with pytest.raises(SchemaError, match=r"column 'score' of .* is float, not string"):
        rows.add_columns(table, [pa.field("score", pa.string())])
    assert first.count_nulls("score") == 3


def test_the_end_of_a_verb_is_a_commit_without_rows(tmp_path: Path) -> None:
    table = number_table(tmp_path, 3)
    closed = rows.close_verb(table, Properties("ingest test", {"from": "here"}, {"inserted": 3}))

    assert (closed.version, closed.num_rows) == (table.version + 1, 3)
    append_numbers(closed, 3, 5)
    assert closed.latest().num_rows == 5


def test_metadata_of_the_table_keeps_what_others_wrote(tmp_path: Path) -> None:
    table = number_table(tmp_path, 1)
    rows.set_table_metadata(table, {"a": "1", "b": "1"})
    rows.set_table_metadata(table, {"b": "2"})

    assert {k: v for k, v in rows.table_metadata(table.latest()).items() if k in "ab"} == {"a": "1", "b": "2"}


@pytest.mark.parametrize("name", ["_rowid", "_ROWADDR", "_distance", "_score", "", "a`b", "a.b", "*", "a\x1bb"])
def test_a_column_that_would_hide_rows_or_could_not_be_read_is_never_stored(tmp_path: Path, name: str) -> None:
    bad = pa.field(name, pa.int64())
    table = number_table(tmp_path, 3)

    with pytest.raises(SchemaError, match="nothing was written, because of names of columns"):
        rows.create_table(tmp_path / "other.lance", SCHEMA.append(bad))
    with pytest.raises(SchemaError, match="would do"):
        rows.add_columns(table, [pa.field("fine", pa.int64()), bad])

    assert not (tmp_path / "other.lance").exists()
    assert table.latest().to_table().column_names == ["path", "number", "text"]
