"""Rows that share a key, which another tool left: found, told, and one of each kept; no merge removes them all."""

from __future__ import annotations

import shlex
from pathlib import Path

import lance
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import clipdata as cd
import ingest
from clipdata.schema import key_field
from tests.pictures import write_pictures
from tests.tables import number_table


@cd.step(reads="number", returns=pa.int64())
def double(number: int) -> int:
    return 2 * number


@pytest.fixture
def uri(tmp_path: Path) -> str:
    """Ten rows with a column that a step made."""
    table = number_table(tmp_path)
    cd.map_column(table, double, "double")
    return table.uri


def append(uri: str, **columns: list) -> None:
    """As another tool does, which knows of no key."""
    schema = lance.dataset(uri).schema
    num = len(columns["path"])
    values = [pa.array(columns.get(field.name, [None] * num), field.type) for field in schema]
    lance.write_dataset(pa.table(values, schema=schema), uri, mode="append")


def test_of_rows_that_say_the_same_the_one_with_the_most_values_is_kept(uri: str) -> None:
    expected = cd.open_table(uri).to_table().sort_by("path")
    append(uri, path=["000003", "000004", "000003"], number=[3, 4, 3], text=["text 3", None, "text 3"])

    (problem,) = cd.check(uri).problems
    assert (problem.remedy, problem.num_rows, problem.keys) == ("keep one", 5, ("000003", "000004"))
    mended = cd.check(uri, repair=True)

    assert mended.sound
    assert mended.repaired == ("removed 3 rows beside another of the same key that says as much",)
    assert cd.open_table(uri).to_table().sort_by("path").equals(expected)
    assert cd.log(uri)[-1].properties.verb == "check"  # type: ignore[union-attr]


def test_rows_that_contradict_each_other_stay_and_the_count_is_of_all(uri: str) -> None:
    append(uri, path=["000003", "000004"], number=[3, 400], text=["text 3", "text 4"])

    same, other = cd.check(uri, repair=True).problems
    (left,) = cd.check(uri).problems

    assert (same.remedy, other.remedy) == ("keep one", "by hand")
    assert left == other.__class__(**{**other.__dict__, "version": left.version})
    assert (left.keys, left.num_rows) == (("000004",), 2)
    statement = shlex.split(left.mending)
    assert cd.open_table(uri).query(next(word for word in statement if word.startswith("SELECT"))).num_rows == 2
    assert cd.open_table(uri).count_rows("path = '000004'") == 2


@pytest.mark.parametrize("others", [b"another picture", None])
def test_rows_with_blobs_are_left_since_these_are_not_compared(tmp_path: Path, others: bytes | None) -> None:
    image = pa.field("image", pa.large_binary(), metadata={"lance-encoding:blob": "true"})
    schema, uri = pa.schema([key_field("path"), image]), str(tmp_path / "blobs.lance")
    rows = pa.table([["a", "b"], [others, b"two"]], schema=schema)
    lance.write_dataset(rows, uri, enable_stable_row_ids=True)
    lance.write_dataset(pa.table([["a"], [b"one"]], schema=schema), uri, mode="append")

    (problem,) = cd.check(uri, repair=True).left

    assert (problem.remedy, problem.keys, problem.num_rows) == ("by hand", ("a",), 2)
    assert cd.open_table(uri).num_rows == 3


def test_a_nan_is_like_a_nan_also_in_a_vector(tmp_path: Path) -> None:
    vector = pa.field("vector", pa.list_(pa.float32(), 2))
    schema, uri = pa.schema([key_field("path"), vector]), str(tmp_path / "vectors.lance")
    rows = pa.table([["a", "b"], [[1.0, float("nan")], [1.0, 2.0]]], schema=schema)
    lance.write_dataset(rows, uri, enable_stable_row_ids=True)
    lance.write_dataset(rows, uri, mode="append")

    assert cd.check(uri, repair=True).sound
    assert cd.open_table(uri).num_rows == 2


def test_more_keys_than_are_named_are_all_counted_and_mended(tmp_path: Path) -> None:
    table = number_table(tmp_path, 700)
    append(table.uri, path=[f"{n:06d}" for n in range(700)], number=list(range(700)))

    (problem,) = cd.check(table.uri).problems
    assert (problem.num_rows, len(problem.keys)) == (1400, 700)

    assert cd.check(table.uri, repair=True).sound
    assert cd.open_table(table.uri).to_table().equals(table.to_table())


def test_a_merge_over_doubled_rows_removes_neither_and_says_what_does(tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 4)
    ingest.from_images(tmp_path / "in", into=tmp_path / "images.lance")
    names = [f"{number:04d}.jpg" for number in range(4)]
    pq.write_table(pa.table({"filename": names, "label": list("ABAB")}), tmp_path / "m.parquet")
    ingest.from_parquet(tmp_path / "m.parquet", into=tmp_path / "meta.lance")
    sides = tmp_path / "images.lance", tmp_path / "meta.lance"
    merged = ingest.merge(*sides, into=tmp_path / "contest.lance")
    rows = merged.to_table()
    lance.write_dataset(lance.dataset(merged.uri).to_table(limit=3), merged.uri, mode="append")

    again = ingest.merge_report(*sides, into=merged.uri)

    assert not again.written.any
    assert again.table.num_rows == 7
    assert any("3 rows share their keys with another: clipdata check" in note for note in again.notes)
    assert cd.check(merged.uri, repair=True).sound
    assert cd.open_table(merged.uri).to_table().equals(rows)
