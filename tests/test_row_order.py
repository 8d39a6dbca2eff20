"""Rows of a table lie in the order of their source, so that the same data gives the same table, and training, again."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import clipdata as cd
import ingest
from tests.pictures import write_pictures

NUM = 40_000  # a join by key leaves so many in another order each time, on any number of cores


@pytest.fixture
def names() -> list[str]:
    """In an order that is not that of their letters."""
    return [f"{number * 7919 % NUM:06d}" for number in range(NUM)]


def captions(folder: Path, names: list[str], of: str) -> Path:
    file = folder / f"{of}.parquet"
    pq.write_table(pa.table({"filename": names, "caption": [f"{of} {name}" for name in names]}), file)
    return file


def ordered(table: cd.Table, column: str) -> list[str]:
    found: list[str] = table.to_table([column])[column].to_pylist()
    return found


def test_metadata_lies_in_the_order_of_its_file_and_what_is_added_comes_behind(
    tmp_path: Path, names: list[str]
) -> None:
    first, more = names[:30_000], names[30_000:]
    table = ingest.from_parquet(captions(tmp_path, first, "first"), into=tmp_path / "t.lance").table
    assert ordered(table, "filename") == first

    again = ingest.from_parquet(captions(tmp_path, more, "more"), into=tmp_path / "t.lance").table
    assert ordered(again, "filename") == names


def test_merged_rows_of_one_picture_are_neighbours_and_lie_alike_each_time(tmp_path: Path, names: list[str]) -> None:
    write_pictures(tmp_path / "in", 4)
    images = ingest.from_images(tmp_path / "in", into=tmp_path / "images.lance").table
    pictures = [f"{number % 4:04d}.jpg" for number in range(NUM)]
    pq.write_table(pa.table({"filename": pictures, "caption": names}), tmp_path / "m.parquet")
    metadata = ingest.from_parquet(tmp_path / "m.parquet", into=tmp_path / "metadata.lance").table

    expected = sorted(zip(pictures, names, strict=True), key=lambda row: row[0])
    for place in range(2):
        merged = ingest.merge(images, metadata, into=tmp_path / f"{place}.lance")
        assert list(zip(ordered(merged, "filename"), ordered(merged, "caption"), strict=True)) == expected
