"""Merging Lance tables that others made: no key, no path, no etag, images in any layout."""

from __future__ import annotations

from pathlib import Path

import lance
import pyarrow as pa
import pytest

import clipdata as cd
import ingest
from clipdata.errors import SchemaError
from clipdata.lance_io.rows import Written
from clipdata.schema import image_column
from tests.pictures import encoded

PICTURES = [encoded(seed) for seed in range(3)]
STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
LAYOUTS = {
    "large_binary": (pa.field("image", pa.large_binary()), pa.array(PICTURES, pa.large_binary())),
    "binary": (pa.field("jpg", pa.binary()), pa.array(PICTURES)),
    "blob v2": (lance.blob_field("image"), lance.blob_array(PICTURES)),
    "blob": (
        pa.field("image", pa.large_binary(), metadata={"lance-encoding:blob": "true"}),
        pa.array(PICTURES, pa.large_binary()),
    ),
    "struct": (pa.field("image", STRUCT), pa.array([{"bytes": data, "path": None} for data in PICTURES], STRUCT)),
}


def foreign(folder: Path, layout: str = "large_binary", name: str = "images") -> Path:
    """A table `{image_id, image, captions[], source}` as another tool writes it."""
    field, images = LAYOUTS[layout]
    captions = pa.array([["a", "b"], ["c"], []], pa.list_(pa.string()))
    columns = [pa.array([11, 12, 13]), images, captions, pa.array(["web"] * 3)]
    schema = pa.schema([("image_id", pa.int64()), field, ("captions", captions.type), ("source", pa.string())])
    lance.write_dataset(pa.table(columns, schema=schema), folder / f"{name}.lance")
    return folder / f"{name}.lance"


def facts(folder: Path, **columns: object) -> Path:
    lance.write_dataset(pa.table(columns), folder / "meta.lance", mode="overwrite")
    return folder / "meta.lance"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_table_of_another_maker_is_merged_on_its_own_id(tmp_path: Path, layout: str) -> None:
    images, metadata = foreign(tmp_path, layout), facts(tmp_path, image_id=[12, 11, 12], label=["B", "A", "C"])

    done = ingest.merge_report(images, metadata, into=tmp_path / "c.lance", on="image_id")

    name = image_column(done.table.schema)
    assert name == LAYOUTS[layout][0].name
    read = done.table.to_table(["image_id", name, "captions", "label", "source"]).to_pylist()
    assert [(row["image_id"], row[name], row["captions"], row["label"]) for row in read] == [
        (11, PICTURES[0], ["a", "b"], "A"),
        (12, PICTURES[1], ["c"], "B"),
        (12, PICTURES[1], ["c"], "C"),
    ]
    assert {row["source"] for row in read} == {"web"}
    assert "the images have no path; rows are called by 'image_id'" in str(done)
    assert "the images have no etag" in str(done)
    assert done.unmatched_images == ["13"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_merged_again_only_the_images_whose_content_changed_are_written(tmp_path: Path, layout: str) -> None:
    images, metadata = foreign(tmp_path, layout), facts(tmp_path, image_id=[12, 11, 13], label=["B", "A", "C"])
    first = ingest.merge(images, metadata, into=tmp_path / "c.lance", on="image_id")

    again = ingest.merge_report(images, metadata, into=tmp_path / "c.lance", on="image_id")

    assert again.written == Written()
    assert again.table.version == first.version
    if layout in ("large_binary", "binary"):
        name = LAYOUTS[layout][0].name
        changed = pa.table({"image_id": [12], name: pa.array([encoded(9)], LAYOUTS[layout][0].type)})
        lance.dataset(images).merge_insert("image_id").when_matched_update_all().execute(changed)
        assert ingest.merge_report(images, metadata, into=tmp_path / "c.lance", on="image_id").written == Written(
            updated=1
        )


def test_rows_of_one_picture_can_be_lists(tmp_path: Path) -> None:
    images, metadata = foreign(tmp_path, "blob v2"), facts(tmp_path, image_id=[12, 11, 12], label=["B", "A", "C"])

    table = ingest.merge(images, metadata, into=tmp_path / "c.lance", on="image_id", group=True)

    assert table.to_table(["image_id", "label"]).to_pylist() == [
        {"image_id": 11, "label": ["A"]},
        {"image_id": 12, "label": ["B", "C"]},
    ]


def test_metadata_may_hold_bytes_that_lance_keeps_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = foreign(tmp_path)
    schema = pa.schema([("image_id", pa.int64()), lance.blob_field("thumbnail")])
    lance.write_dataset(
        pa.table([pa.array([13, 11]), lance.blob_array([b"thirteen", b"eleven"])], schema=schema), tmp_path / "m.lance"
    )
    for held in (1 << 20, 0):
        monkeypatch.setattr("ingest.merging.metadata_side.HELD_BYTES", held)
        table = ingest.merge(images, tmp_path / "m.lance", into=tmp_path / f"c{held}.lance", on="image_id")
        assert table.to_table(["thumbnail"]).column(0).to_pylist() == [b"eleven", b"thirteen"]


def test_dictionaries_become_what_they_stand_for(tmp_path: Path) -> None:
    images = foreign(tmp_path)
    metadata = facts(tmp_path, image_id=[11, 12], label=pa.array(["A", "A"]).dictionary_encode())

    table = ingest.merge(images, metadata, into=tmp_path / "c.lance", on="image_id")

    assert table.schema.field("label").type == pa.string()
    assert table.to_table(["label"]).column(0).to_pylist() == ["A", "A"]


def test_which_column_is_the_image_must_be_sure(tmp_path: Path) -> None:
    metadata = facts(tmp_path, image_id=[11])
    columns = {"image_id": [11], "left": pa.array([b"x"]), "right": pa.array([b"y"])}
    lance.write_dataset(pa.table(columns), tmp_path / "two.lance")
    with pytest.raises(SchemaError, match="columns 'left', 'right' may all be the column of images"):
        ingest.merge(tmp_path / "two.lance", metadata, into=tmp_path / "c.lance", on="image_id")
    with pytest.raises(SchemaError, match=r"none of image_id is the column of images(.|\n)*the first table"):
        ingest.merge(metadata, metadata, into=tmp_path / "c.lance", on="image_id")


def test_a_merged_table_can_be_merged_in_its_turn(tmp_path: Path) -> None:
    images, metadata = foreign(tmp_path), facts(tmp_path, image_id=[12, 11, 12], label=["B", "A", "C"])
    first = ingest.merge(images, metadata, into=tmp_path / "c.lance", on="image_id")
    keys = first.to_table(["id"]).column(0).to_pylist()
    lance.write_dataset(pa.table({"id": keys, "score": [1, 2, 3]}), tmp_path / "more.lance")

    done = ingest.merge_report(tmp_path / "c.lance", tmp_path / "more.lance", into=tmp_path / "d.lance", on="id")

    assert done.renamed_images == {"id": "image_id_2"}
    assert sorted(done.table.to_table(["image_id_2", "score"]).column(1).to_pylist()) == [1, 2, 3]
    assert cd.open_table(tmp_path / "d.lance").num_rows == 3
