"""Names that are not equal and yet join, and what columns are called in a merged table."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import clipdata as cd
import ingest
from clipdata.errors import SchemaError, UsageError
from clipdata.lance_io import rows
from clipdata.schema import image_schema, key_field
from ingest.merging.alike_names import find_alike
from ingest.merging.column_names import ColumnNames, named
from tests.pictures import encoded, write_pictures

NFC, NFD = (unicodedata.normalize(form, "café.jpg") for form in ("NFC", "NFD"))


def merged(folder: Path, names: Any, keys: Any, *, images: str = "filename", **options: Any) -> ingest.Merged:
    """Merge a table of images of those names with one of metadata of those keys."""
    names = names if isinstance(names, pa.Array) else pa.array(names)
    extra = [] if images in image_schema().names else [pa.field(images, names.type)]
    pictures = rows.create_table(folder / "images.lance", image_schema(extra))
    count = len(names)
    data = {
        "path": [f"in/{place}" for place in range(count)],
        "image": [encoded(place) for place in range(count)],
        "etag": ["1"] * count,
    }
    rows.upsert(pictures, pa.table({**data, images: names.cast(pictures.schema.field(images).type)}))
    keys = keys if isinstance(keys, pa.Array) else pa.array(keys)
    facts = rows.create_table(folder / "meta.lance", pa.schema([key_field("row_key"), pa.field("name", keys.type)]))
    rows.upsert(facts, pa.table({"row_key": [str(place) for place in range(len(keys))], "name": keys}))
    into = folder / "contest.lance"
    return ingest.merge_report(pictures.latest(), facts.latest(), into=into, on=images, metadata_on="name", **options)


@pytest.mark.parametrize(
    ("image", "name", "rule"),
    [
        (NFC, NFD, "Unicode normalisation"),
        (NFD, NFC, "Unicode normalisation"),
        ("a.JPG", "a.jpg", "case of the suffix"),
        ("a.jpg", "a.Jpg", "case of the suffix"),
        ("1.jpg", "1", "missing suffix"),
        ("1", "1.jpeg", "missing suffix"),
        ("a.jpg", " a.jpg ", "surrounding spaces"),
        ("a b.jpg", "a b.jpg\t", "surrounding spaces"),
        ("a/b.jpg", "a\\b.jpg", "slashes"),
        ("a.jpg", "./a.jpg", "slashes"),
        ("a/b.jpg", "/a//./b.jpg", "slashes"),
        ("a.jpg", "images/a.jpg", "folder"),
        ("train/a.jpg", "a.jpg", "folder"),
        ("train/a.jpg", "data\\train\\a.JPG", "folder"),
        (NFD, f" ./{NFC.replace('.jpg', '.JPG')}", "case of the suffix"),
        ("7", "7.0", "number type"),
    ],
)
def test_a_name_that_differs_in_its_spelling_joins_and_it_is_said(
    tmp_path: Path, image: str, name: str, rule: str
) -> None:
    done = merged(tmp_path, [image, "other.png"], [name])

    assert done.table.to_table(["filename", "name"]).to_pylist() == [{"filename": image, "name": name}]
    assert done.joined.alike == {rule: 1}
    assert f"joined although not equal: 1 (1 by {rule}): {name!a} is {image!a}" in str(done)
    assert done.to_dict()["joined_though_not_equal"] == {rule: 1}


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("a.jpg", "a.png"),
        ("a.jpg", "A.jpg"),
        ("007", "7"),
        ("a.jpg", "b.jpg"),
        ("x/a.jpg", "y/a.jpg"),
        ("xa.jpg", "a.jpg"),
        ("v1.5", "v1"),
        ("a.jpg", ""),
    ],
)
def test_names_that_mean_other_things_do_not_join(tmp_path: Path, image: str, name: str) -> None:
    done = merged(tmp_path, [image], [name])

    assert (done.num_rows, done.joined.num_unmatched_metadata, done.usable) == (0, 1, False)


@pytest.mark.parametrize(
    ("images", "keys"),
    [
        (pa.array(["7", "8"]), pa.array([7, 8])),
        (pa.array(["7", "8"]), pa.array([7.0, 8.0])),
        (pa.array([7, 8], pa.int32()), pa.array(["7", "8"], pa.large_string())),
        (pa.array([7.0, 8.0]), pa.array(["7", "8"]).dictionary_encode()),
    ],
)
def test_numbers_and_texts_join_and_it_is_said(tmp_path: Path, images: pa.Array, keys: pa.Array) -> None:
    done = merged(tmp_path, images, keys, images="number")

    assert done.num_rows == 2
    assert done.joined.alike == {"number type": 2}


@pytest.mark.parametrize(
    ("images", "keys"),
    [
        (pa.array([7, 8], pa.int32()), pa.array([7.0, 8.0, None])),
        (pa.array(["a", "b"], pa.large_string()), pa.array(["a", "b"]).dictionary_encode()),
    ],
)
def test_keys_of_another_width_are_equal(tmp_path: Path, images: pa.Array, keys: pa.Array) -> None:
    done = merged(tmp_path, images, keys, images="number")

    assert done.num_rows == 2
    assert done.joined.alike == {}


def test_a_number_finds_the_file_of_that_name(tmp_path: Path) -> None:
    done = merged(tmp_path, ["7.jpg", "17.jpg"], pa.array([7.0, 17.0, 27.0]))

    assert done.joined.alike == {"missing suffix": 2}
    assert done.unmatched_metadata == ["27"]


def test_an_equal_name_wins_and_takes_its_image(tmp_path: Path) -> None:
    done = merged(tmp_path, ["a.jpg", "a.JPG", NFC], ["a.jpg", "a.Jpg", NFC, NFD])

    read = done.table.to_table(["filename", "name"]).to_pylist()
    assert [(row["filename"], row["name"]) for row in read] == [
        ("a.jpg", "a.jpg"),
        ("a.JPG", "a.Jpg"),
        (NFC, NFC),
        (NFC, NFD),
    ]


def test_an_image_that_an_equal_name_has_taken_is_no_guess(tmp_path: Path) -> None:
    done = merged(tmp_path, ["a.jpg"], ["a.jpg", "test/a.jpg", "a"])

    assert done.num_rows == 1
    assert done.unmatched_metadata == ["test/a.jpg", "a"]


@pytest.mark.parametrize(
    ("names", "keys", "shown"),
    [
        (["1.jpg", "1.png"], ["1"], "'1': '1.jpg' or '1.png'"),
        (["a.JPG", "a.jpG"], ["a.jpg"], "'a.jpg': 'a.JPG' or 'a.jpG'"),
        ([f"{NFC} ", f"{NFD} "], [NFC], r"'caf\\xe9.jpg': 'caf\\xe9.jpg ' or 'cafe\\u0301.jpg '"),
        (["a.jpg"], ["train/a.jpg", "test/a.jpg"], "'train/a.jpg' and 'test/a.jpg': 'a.jpg'"),
    ],
)
def test_where_several_are_left_nothing_joins_and_the_difference_is_shown(
    tmp_path: Path, names: list[str], keys: list[str], shown: str
) -> None:
    with pytest.raises(UsageError, match=f"which is meant is not sure:\n  {shown}"):
        merged(tmp_path, names, keys)

    assert not (tmp_path / "contest.lance").exists()


def test_lists_and_bytes_are_no_names(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=r"the metadata's 'name' holds list<item: string>.*no row can match"):
        merged(tmp_path, ["a"], pa.array([["a"]]))


def test_a_column_to_join_on_that_is_not_there_names_those_near_it(tmp_path: Path) -> None:
    merged(tmp_path, ["a"], ["a"])
    with pytest.raises(SchemaError, match="'filname' \\(did you mean filename"):
        ingest.merge(tmp_path / "images.lance", tmp_path / "meta.lance", into=tmp_path / "c.lance", on="filname")
    with pytest.raises(SchemaError, match="'nam' \\(did you mean name"):
        ingest.merge(tmp_path / "images.lance", tmp_path / "meta.lance", into=tmp_path / "c.lance", metadata_on="nam")


def test_names_are_found_whatever_the_batches_of_images() -> None:
    images = [f"{number}.JPG" for number in range(50)]
    keys = pa.array([f"x/{number}" for number in range(60)], pa.large_string())
    batches = [pa.array(images[start : start + 7], pa.large_string()) for start in range(0, 50, 7)]

    found = find_alike(keys, batches, np.zeros(50, np.bool_))

    assert found.images == {f"x/{number}": number for number in range(50)}


@pytest.mark.parametrize(
    ("images", "metadata", "kept", "expected"),
    [
        (["path"], ["id", "meta_id"], [], {"id": "meta_id_2", "meta_id": "meta_id"}),
        (["path"], ["meta_id", "id"], [], {"id": "meta_id_2", "meta_id": "meta_id"}),
        (["path", "meta_path"], ["path"], [], {"path": "meta_path_2"}),
        (["path"], ["Path", "score"], ["SCORE"], {"Path": "meta_Path", "score": "meta_score"}),
        (["path"], ["etag", "source", "row_key"], [], {"etag": "meta_etag", "source": "source", "row_key": "row_key"}),
    ],
)
def test_a_name_that_is_taken_becomes_another_that_is_not(
    images: list[str], metadata: list[str], kept: list[str], expected: dict[str, str]
) -> None:
    names = named(images, metadata, kept=kept, before=ColumnNames())

    assert names.metadata == expected
    assert names.images == {name: name for name in images}


def test_names_once_given_stay_and_new_columns_make_way() -> None:
    first = named(["path"], ["path", "caption"], kept=[], before=ColumnNames())

    again = named(["path", "caption", "id"], ["meta_path", "caption", "path"], kept=[], before=first)

    assert again.images == {"path": "path", "caption": "image_caption", "id": "image_id"}
    assert again.metadata == {"path": "meta_path", "caption": "caption", "meta_path": "meta_meta_path"}


def test_an_id_of_the_images_and_of_the_metadata_are_both_kept(tmp_path: Path) -> None:
    pictures = rows.create_table(tmp_path / "i.lance", image_schema([pa.field("id", pa.string())]))
    rows.upsert(pictures, pa.table({"path": ["a"], "filename": ["a"], "etag": ["1"], "image": [b"x"], "id": ["hf-1"]}))
    facts = rows.create_table(
        tmp_path / "m.lance",
        pa.schema([key_field("row_key"), ("filename", "string"), ("id", "string"), ("meta_id", "string")]),
    )
    rows.upsert(facts, pa.table({"row_key": ["0"], "filename": ["a"], "id": ["x"], "meta_id": ["y"]}))

    done = ingest.merge_report(pictures.latest(), facts.latest(), into=tmp_path / "c.lance")

    assert done.table.to_table(["image_id", "meta_id", "meta_id_2"]).to_pylist() == [
        {"image_id": "hf-1", "meta_id": "y", "meta_id_2": "x"}
    ]
    assert done.renamed == {"id": "meta_id_2"}
    assert "image column 'id' is 'image_id' here" in str(done)
    assert cd.open_table(tmp_path / "c.lance").key == "id"


def test_a_picture_in_another_folder_is_another_picture_where_whole_paths_are_joined(tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 2)
    ingest.from_images(tmp_path / "in", into=tmp_path / "i.lance")
    (tmp_path / "m.csv").write_text("path,caption\ncat/0000.jpg,a cat\n0001.jpg,another\n")
    ingest.from_parquet(tmp_path / "m.csv", into=tmp_path / "m.lance", required=None)
    done = ingest.merge_report(tmp_path / "i.lance", tmp_path / "m.lance", into=tmp_path / "c.lance", on="path")
    assert done.table.to_table(["path", "caption"]).to_pylist() == [{"path": "0001.jpg", "caption": "another"}]
    assert list(done.unmatched_metadata) == ["cat/0000.jpg"]
