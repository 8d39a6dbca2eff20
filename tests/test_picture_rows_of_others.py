"""References to pictures in tables of other tools, names that they keep, and tables that hold copies."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import clipdata as cd
import ingest
from clipdata.errors import SchemaError
from clipdata.lance_io.pictures import ROW, TABLE
from clipdata.lance_io.rows import Written
from clipdata.schema import image_column
from tests.pictures import encoded, write_pictures
from tests.test_cleaning import make_old
from tests.test_merging_foreign import LAYOUTS, PICTURES, facts, foreign


@cd.step(reads="caption", returns="string")
def upper(caption: str) -> str:
    return caption.upper()


@cd.step(reads="caption", returns="int64")
def length(caption: str) -> int:
    return len(caption)


@pytest.fixture
def sides(tmp_path: Path) -> Path:
    """Three pictures with two captions each."""
    write_pictures(tmp_path / "in", 3)
    ingest.from_images(tmp_path / "in", into=tmp_path / "images.lance")
    names = [f"{number // 2:04d}.jpg" for number in range(6)]
    pq.write_table(pa.table({"filename": names, "caption": list("abcdef")}), tmp_path / "meta.parquet")
    ingest.from_parquet(tmp_path / "meta.parquet", into=tmp_path / "meta.lance")
    return tmp_path


def merged(folder: Path, images: str = "images.lance", **options: object) -> ingest.Merged:
    return ingest.merge_report(folder / images, folder / "meta.lance", into=folder / "c.lance", **options)


def pictures_of(table: cd.Table) -> list[bytes | None]:
    """In the order of the captions, where there are any."""
    table = table.latest()
    if "caption" not in table:
        return table.to_table(["image"])["image"].to_pylist()
    return table.to_table(["caption", "image"]).sort_by("caption")["image"].to_pylist()


def num_stored(table: cd.Table, column: str = "image") -> int:
    stored = lance.dataset(table.uri).to_table([column])[column]
    return len(stored) - stored.null_count


@pytest.mark.parametrize("layout", LAYOUTS)
def test_rows_refer_to_pictures_of_another_tool_in_any_layout_and_find_them_after_a_clean_up(
    tmp_path: Path, layout: str
) -> None:
    images, metadata = foreign(tmp_path, layout), facts(tmp_path, image_id=[12, 11, 12], label=["B", "A", "C"])
    table = ingest.merge(images, metadata, into=tmp_path / "c.lance", on="image_id")
    name = image_column(table.schema)
    assert name is not None
    assert num_stored(table, name) == 0
    dataset = lance.dataset(images)
    dataset.delete("image_id = 11")
    dataset.optimize.compact_files()
    make_old(images)
    cd.clean(images, older_than=timedelta(hours=1))
    expected = [PICTURES[0], PICTURES[1], PICTURES[1]]
    table = cd.open_table(table.uri)
    assert table.to_table([name])[name].to_pylist() == expected
    assert table.take(np.array([2, 0]), [name])[name].to_pylist() == [PICTURES[1], PICTURES[0]]


@pytest.mark.parametrize("layout", ["blob v2", "blob", "struct"])
def test_a_row_of_another_tool_without_a_picture_stays_without_one(tmp_path: Path, layout: str) -> None:
    field, held = LAYOUTS[layout]
    made = (
        lance.blob_array([PICTURES[0], None]) if layout == "blob v2" else pa.array([held[0].as_py(), None], held.type)
    )
    rows = pa.table([pa.array([11, 12]), made], schema=pa.schema([("image_id", pa.int64()), field]))
    lance.write_dataset(rows, tmp_path / "images.lance")
    metadata = facts(tmp_path, image_id=[12, 11], label=["B", "A"])
    for copies in (False, True):
        table = ingest.merge(
            tmp_path / "images.lance", metadata, into=tmp_path / f"{copies}.lance", on="image_id", copy_images=copies
        )
        assert pictures_of(table) == [PICTURES[0], None]


def test_merging_again_leaves_a_table_with_copies_as_it_is_and_says_what_another_way_would_change(sides: Path) -> None:
    table = merged(sides, copy_images=True).table
    again = merged(sides)
    assert (again.table.version, again.changed, again.pictures) == (table.version, 0, None)
    told = merged(sides, copy_images=False, dry_run=True)
    assert (told.changed, table.latest().version) == (6, table.version)
    assert "6 rows that were here before would refer to their picture there" in str(told)
    done = merged(sides, copy_images=False)
    assert (done.changed, done.written, num_stored(done.table)) == (6, Written(), 0)
    assert pictures_of(done.table) == [encoded(number // 2) for number in range(6)]
    assert merged(sides).table.version == done.table.version


def test_rows_that_a_killed_merge_left_in_two_ways_are_all_given_one(sides: Path) -> None:
    table = merged(sides).table
    cd.map_column(table, upper, "upper")
    lance.dataset(table.uri).update({ROW: "NULL", TABLE: "NULL"}, where="caption IN ('a', 'd')")
    done = merged(sides)
    assert (done.changed, done.written) == (2, Written())
    assert pictures_of(done.table) == [encoded(number // 2) for number in range(6)]
    assert done.table.count_nulls("upper") == 0


def test_images_that_are_all_kept_by_reference_are_not_referred_to_once_more(sides: Path) -> None:
    ingest.from_images(sides / "in", into=sides / "listed.lance", reference=True)
    done = merged(sides, images="listed.lance")
    assert done.pictures is None
    assert ROW not in done.table
    assert lance.dataset(str(sides / "listed.lance")).tags.list() == {}


def test_columns_that_say_where_pictures_are_are_no_columns_of_what_is_ingested_of_a_merged_table(sides: Path) -> None:
    table = merged(sides).table
    again = ingest.from_lance(table, into=sides / "again.lance").table
    assert ROW not in again
    assert TABLE not in again
    assert sorted(again.to_table(["image"])["image"].to_pylist()) == sorted(pictures_of(table))


def test_a_column_of_the_metadata_never_gets_a_name_that_references_need(sides: Path) -> None:
    names = {"filename": ["0001.jpg"], "Image_Row": [1], TABLE: ["x"]}
    pq.write_table(pa.table(names), sides / "meta.parquet")
    ingest.from_parquet(sides / "meta.parquet", into=sides / "meta.lance")
    done = merged(sides, copy_images=True)
    assert done.renamed == {"Image_Row": "meta_Image_Row", TABLE: f"meta_{TABLE}"}
    assert pictures_of(merged(sides, copy_images=False).table) == [encoded(1)]


def test_a_column_that_map_made_under_such_a_name_is_not_written_over(sides: Path) -> None:
    table = merged(sides, copy_images=True).table
    cd.map_column(table, length, ROW)
    with pytest.raises(SchemaError, match=rf"has a column {ROW}, which would say where(?s:.)*--copy-images"):
        merged(sides, copy_images=False)
    assert merged(sides).table.count_nulls(ROW) == 0
    shutil.rmtree(sides / "images.lance")
    assert pictures_of(table) == [encoded(number // 2) for number in range(6)]
