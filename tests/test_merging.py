"""Merge of images and metadata."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import clipdata as cd
import ingest
from clipdata.errors import SchemaError, UsageError
from clipdata.lance_io.rows import Written
from ingest.merging.column_names import ColumnNames
from ingest.merging.plan import Plan
from tests.pictures import encoded, write_pictures

QUESTIONS = {
    "filename": ["0002.jpg", "0000.jpg", "0002.jpg", "nobody.jpg"],
    "caption_choices": [["a", "b"], ["c", "d"], ["e", "f"], ["g"]],
    "label": ["A", "B", "A", "A"],
}


@pytest.fixture
def sides(tmp_path: Path) -> Path:
    write_pictures(tmp_path / "in", 4)
    pq.write_table(pa.table(QUESTIONS), tmp_path / "meta.parquet")
    ingest.from_images(tmp_path / "in", into=tmp_path / "images.lance")
    ingest.from_parquet(tmp_path / "meta.parquet", into=tmp_path / "meta.lance")
    return tmp_path


def remerge(folder: Path, **options: object) -> ingest.Merged:
    return ingest.merge_report(folder / "images.lance", folder / "meta.lance", into=folder / "contest.lance", **options)


def test_each_metadata_row_gets_its_image_and_rows_of_one_image_are_neighbours(sides: Path) -> None:
    merged = remerge(sides)
    read = merged.table.to_table(["path", "filename", "image", "caption_choices", "label"])
    assert read["path"].to_pylist() == ["0000.jpg", "0002.jpg", "0002.jpg"]
    assert read["caption_choices"].to_pylist() == [["c", "d"], ["a", "b"], ["e", "f"]]
    assert read["image"][1].as_py() == (sides / "in" / "0002.jpg").read_bytes()
    assert merged.unmatched_metadata == ["nobody.jpg"]
    assert merged.unmatched_images == ["0001.jpg", "0003.jpg"]
    assert "nobody.jpg" in str(merged)


def test_merging_again_changes_nothing(sides: Path) -> None:
    first = remerge(sides)
    again = remerge(sides)
    assert again.written == Written()
    assert again.table.version == first.table.version


def test_after_either_side_changed_only_those_rows_are_written_and_the_rest_keep_what_was_derived(sides: Path) -> None:
    table = remerge(sides).table

    @cd.step(reads="label", returns="string")
    def lower(label: str) -> str:
        return label.lower()

    cd.map_column(table, lower, "lower")
    (sides / "in" / "0000.jpg").write_bytes(encoded(50))
    pq.write_table(pa.table(QUESTIONS | {"label": ["A", "B", "B", "A"]}), sides / "meta.parquet")
    ingest.from_images(sides / "in", into=sides / "images.lance")
    ingest.from_parquet(sides / "meta.parquet", into=sides / "meta.lance")
    again = remerge(sides)
    assert again.written == Written(inserted=1, updated=1, deleted=1)
    read = again.table.to_table(["path", "label", "lower"]).to_pylist()
    assert sorted((row["path"], row["label"], row["lower"] or "") for row in read) == [
        ("0000.jpg", "B", ""),
        ("0002.jpg", "A", "a"),
        ("0002.jpg", "B", ""),
    ]


def test_a_key_of_several_images_is_refused_with_examples_and_the_way_out(tmp_path: Path) -> None:
    write_pictures(tmp_path / "in" / "google", 3)
    write_pictures(tmp_path / "in" / "twitter", 3)
    columns = {"filename": ["0001.jpg"], "file": ["twitter/0001.jpg"], "label": ["A"]}
    pq.write_table(pa.table(columns), tmp_path / "meta.parquet")
    ingest.from_images(tmp_path / "in", into=tmp_path / "images.lance")
    ingest.from_parquet(tmp_path / "meta.parquet", into=tmp_path / "meta.lance")
    with pytest.raises(UsageError, match=r"google/0001.jpg, twitter/0001.jpg(.|\n)*--on path"):
        remerge(tmp_path)
    merged = remerge(tmp_path, on="path", metadata_on="file")
    assert merged.table.to_table(["path", "label"]).to_pylist() == [{"path": "twitter/0001.jpg", "label": "A"}]


def test_group_makes_one_row_an_image_with_lists(sides: Path) -> None:
    read = remerge(sides, group=True).table.to_table(["path", "label", "caption_choices"]).to_pylist()
    assert read == [
        {"path": "0000.jpg", "label": ["B"], "caption_choices": [["c", "d"]]},
        {"path": "0002.jpg", "label": ["A", "A"], "caption_choices": [["a", "b"], ["e", "f"]]},
    ]


def test_a_metadata_column_that_bears_an_image_columns_name_is_renamed_and_said(tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 1)
    pq.write_table(pa.table({"filename": ["0000.jpg"], "width": ["wide"]}), tmp_path / "meta.parquet")
    ingest.from_images(tmp_path / "in", into=tmp_path / "images.lance")
    ingest.from_parquet(tmp_path / "meta.parquet", into=tmp_path / "meta.lance")
    merged = remerge(tmp_path)
    assert merged.renamed == {"width": "meta_width"}
    assert merged.table.to_table(["width", "meta_width"]).to_pylist() == [{"width": 64, "meta_width": "wide"}]


def test_a_missing_column_to_merge_on_is_named(sides: Path) -> None:
    with pytest.raises(SchemaError, match="has no column 'file'"):
        remerge(sides, on="file")


def test_equal_metadata_rows_stay_two_rows(tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 1)
    pq.write_table(pa.table({"filename": ["0000.jpg"] * 2, "label": ["A"] * 2}), tmp_path / "meta.parquet")
    ingest.from_images(tmp_path / "in", into=tmp_path / "images.lance")
    ingest.from_parquet(tmp_path / "meta.parquet", into=tmp_path / "meta.lance")
    assert remerge(tmp_path).num_rows == 2


@pytest.mark.parametrize("group", [False, True])
def test_metadata_too_large_to_keep_in_memory_gives_the_same_table(
    sides: Path, group: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = remerge(sides, group=group)
    monkeypatch.setattr("ingest.merging.metadata_side.HELD_BYTES", 0)
    monkeypatch.setattr("ingest.updating.batches.UNIT_ROWS", 2)

    read = ingest.merge_report(sides / "images.lance", sides / "meta.lance", into=sides / "read.lance", group=group)

    assert read.table.to_table().equals(kept.table.to_table())


def test_a_plan_takes_about_a_hundred_bytes_a_row_whatever_the_rows_hold(sides: Path) -> None:
    plan = Plan(
        cd.open_table(sides / "images.lance"),
        cd.open_table(sides / "meta.lance"),
        on="filename",
        metadata_on="filename",
        group=False,
        copies=False,
        present=None,
        before=ColumnNames(),
    )
    plan.match()

    kept = [part for side in (plan, plan.images, plan.metadata, plan.matches) for part in vars(side).values()]
    size_bytes = sum(part.nbytes for part in kept if isinstance(part, np.ndarray))
    assert size_bytes <= 100 * 4
