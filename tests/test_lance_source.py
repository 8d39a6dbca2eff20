"""Tables that other tools made, taken in: which rows come, what identifies them, and what a later run reads."""

from __future__ import annotations

import json

import lance
import pyarrow as pa
import pytest

import clipdata as cd
import ingest
from clipdata.errors import SchemaError, UsageError
from ingest.tables import LanceRows
from tests.pictures import encoded, write_pictures

BLOB_V1 = pa.field("image", pa.large_binary(), metadata={"lance-encoding:blob": "true"})


def write(place, ids=range(6), *, image=None, mode="create", **options):
    """A table as people make one: {image_id, image, captions[], width}."""
    numbers = list(ids)
    data = [encoded(n) for n in numbers]
    columns = {
        "image_id": pa.array(numbers, pa.int64()),
        "image": lance.blob_array(data)
        if image == "v2"
        else pa.array(data, pa.large_binary() if image else pa.binary()),
        "captions": pa.array([[f"picture {n}", "a drawing"] for n in numbers]),
        "width": pa.array([1.5] * len(numbers)),
    }
    field = {"v1": BLOB_V1, "v2": lance.blob_field("image")}.get(image or "", pa.field("image", pa.binary()))
    kinds = [pa.field(name, column.type) if name != "image" else field for name, column in columns.items()]
    version = {"v1": "2.1", "v2": "2.2"}.get(image or "")
    table = pa.table(columns, schema=pa.schema(kinds))
    lance.write_dataset(table, place, mode=mode, data_storage_version=version, max_rows_per_file=4, **options)
    return place


@pytest.mark.parametrize("image", [None, "v1", "v2"])
def test_images_and_captions_of_a_table_become_image_rows(tmp_path, image):
    write(tmp_path / "theirs.lance", image=image)

    done = ingest.from_lance(tmp_path / "theirs.lance", into=tmp_path / "t.lance")

    rows = done.table.to_table().sort_by("path").to_pylist()
    assert [row["path"] for row in rows] == [str(n) for n in range(6)]
    assert [row["image"] for row in rows] == [encoded(n) for n in range(6)]
    assert rows[2]["captions"] == ["picture 2", "a drawing"]
    assert (rows[2]["image_id"], rows[2]["width"], rows[2]["meta_width"]) == (2, 64, 1.5)
    assert rows[2]["source"] == f"lance table {tmp_path}/theirs.lance"
    assert done.notes["rows are known by"] == "the column image_id"
    assert "width" in done.notes["renamed"]


@pytest.mark.parametrize("stable", [True, False])
def test_a_table_that_grew_costs_its_new_rows_and_one_that_did_not_nothing(tmp_path, stable):
    theirs = write(tmp_path / "theirs.lance", enable_stable_row_ids=stable)
    first = ingest.from_lance(theirs, into=tmp_path / "t.lance")

    same = ingest.from_lance(theirs, into=tmp_path / "t.lance")
    write(theirs, range(6, 9), mode="append")
    grown = ingest.from_lance(theirs, into=tmp_path / "t.lance")
    lance.dataset(theirs).delete("image_id = 0")
    fewer = ingest.from_lance(theirs, into=tmp_path / "t.lance")

    assert (same.read, same.unchanged, same.table.version) == (0, 6, first.table.version)
    assert (grown.read, grown.unchanged, grown.written.inserted) == (3, 6, 3)
    assert (fewer.read, fewer.unchanged, list(fewer.vanished)) == (0, 8, ["0"])


def test_a_value_that_changed_replaces_its_row_alone(tmp_path):
    theirs = write(tmp_path / "theirs.lance")
    ingest.from_lance(theirs, into=tmp_path / "t.lance")
    lance.dataset(theirs).update({"captions": "['other']"}, where="image_id = 3")

    done = ingest.from_lance(theirs, into=tmp_path / "t.lance")

    assert (done.written.updated, done.written.inserted) == (1, 0)
    found = done.table.to_table(["path", "captions"], where="path = '3'").to_pylist()
    assert found == [{"path": "3", "captions": ["other"]}]


def test_bad_images_and_rows_without_a_key_are_refused_by_name(tmp_path):
    good = encoded(1)
    theirs = pa.table(
        {
            "id": pa.array(["a", "b", "c", "d", None], pa.string()),
            "img": pa.array([good, b"no image", None, good[:100], good], pa.binary()),
        }
    )
    lance.write_dataset(theirs, tmp_path / "theirs.lance")

    done = ingest.from_lance(tmp_path / "theirs.lance", into=tmp_path / "t.lance", key="id")

    assert done.refused == {"not_an_image": 1, "missing": 1, "truncated": 1, "missing_key": 1}
    rejects = cd.open_table(tmp_path / "t.rejects.lance").to_table(["path", "reason"]).sort_by("path").to_pylist()
    assert [row["path"] for row in rejects][1:] == ["b", "c", "d"]


@pytest.mark.parametrize(
    ("columns", "known_by"),
    [
        ({"id": [1, 2, 2], "path": ["a", "b", "c"]}, "the column path"),
        ({"id": [1, 2, None]}, "the place in its files, which compaction changes"),
        ({"filename": ["x/1.jpg", "y/1.jpg", "z"], "id": [1, 2, 3]}, "the column filename"),
        ({"id": [0.5, 1.5, 2.5]}, "the place in its files, which compaction changes"),
    ],
)
def test_rows_are_known_by_a_column_of_distinct_values_or_by_their_place(tmp_path, columns, known_by):
    lance.write_dataset(pa.table({**columns, "image": [encoded(n) for n in range(3)]}), tmp_path / "theirs.lance")

    done = ingest.from_lance(tmp_path / "theirs.lance", into=tmp_path / "t.lance")

    assert done.notes["rows are known by"] == known_by
    assert done.table.num_rows == 3


def test_stable_row_ids_are_keys_that_compaction_leaves(tmp_path):
    theirs = tmp_path / "theirs.lance"
    for n in range(3):
        part = pa.table({"image": [encoded(n)]})
        lance.write_dataset(part, theirs, mode="append" if n else "create", enable_stable_row_ids=True)
    ingest.from_lance(theirs, into=tmp_path / "t.lance")
    lance.dataset(theirs).optimize.compact_files()

    done = ingest.from_lance(theirs, into=tmp_path / "t.lance")

    assert done.notes["rows are known by"] == "Lance's stable row id"
    assert (done.written.inserted, done.table.num_rows) == (0, 3)


def test_file_names_are_kept_for_merging(tmp_path):
    rows = {"image_id": [1, 2], "file_name": ["a.jpg", "b.jpg"], "image": [encoded(1), encoded(2)]}
    lance.write_dataset(pa.table(rows), tmp_path / "theirs.lance")

    done = ingest.from_lance(tmp_path / "theirs.lance", into=tmp_path / "t.lance")

    assert done.table.to_table(["path", "filename"]).to_pylist() == [
        {"path": "1", "filename": "a.jpg"},
        {"path": "2", "filename": "b.jpg"},
    ]


def test_columns_of_hugging_face_are_images_too(tmp_path):
    held = [{"bytes": encoded(1), "path": "x/a.jpg"}, {"bytes": None, "path": "elsewhere.jpg"}]
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    lance.write_dataset(pa.table({"id": [1, 2], "photo": pa.array(held, struct)}), tmp_path / "theirs.lance")

    done = ingest.from_lance(tmp_path / "theirs.lance", into=tmp_path / "t.lance")

    assert (done.table.num_rows, done.refused) == (1, {"missing": 1})


def test_a_table_without_images_becomes_metadata_rows_with_plain_types(tmp_path):
    words = pa.array(["x", "y", "x"]).dictionary_encode()
    theirs = pa.table({"filename": ["a.jpg", "b.jpg", "c.jpg"], "word": words, "etag": [1, 2, 3]})
    lance.write_dataset(theirs, tmp_path / "theirs.lance")

    done = ingest.from_lance(tmp_path / "theirs.lance", into=tmp_path / "t.lance")

    read = done.table.to_table(["row_key", "filename", "word", "meta_etag"]).sort_by("row_key").to_pylist()
    assert read[0] == {"row_key": "a.jpg", "filename": "a.jpg", "word": "x", "meta_etag": 1}
    assert "no column of images" in done.notes["images"]


def test_columns_conditions_and_versions_choose_what_is_taken(tmp_path):
    theirs = write(tmp_path / "theirs.lance")
    write(theirs, range(6, 9), mode="append")

    done = ingest.from_lance(theirs, into=tmp_path / "t.lance", columns=["captions"], where="image_id > 2", version=1)

    assert sorted(done.table.to_table(["path"]).column(0).to_pylist()) == ["3", "4", "5"]
    assert not {"image_id", "meta_width"} & set(done.table.schema.names)


def test_a_column_added_to_their_table_is_read_and_one_that_is_not_asked_for_is_not(tmp_path):
    theirs = write(tmp_path / "theirs.lance")
    for into, columns in (("all.lance", None), ("few.lance", ["captions"])):
        ingest.from_lance(theirs, into=tmp_path / into, columns=columns)
    lance.dataset(theirs).add_columns({"votes": "image_id * 2"})

    few = ingest.from_lance(theirs, into=tmp_path / "few.lance", columns=["captions"])
    everything = ingest.from_lance(theirs, into=tmp_path / "all.lance")

    assert (few.read, few.written.updated) == (0, 0)
    assert everything.table.to_table(["votes"]).column(0).to_pylist().count(None) == 0


def test_our_own_tables_come_as_they_are(tmp_path):
    write_pictures(tmp_path / "in", 3)
    own = ingest.from_images(tmp_path / "in", into=tmp_path / "own.lance").table

    back = ingest.from_lance(own, into=tmp_path / "t.lance").table

    left, right = (table.to_table().sort_by("path") for table in (own, back))
    for name in ("path", "filename", "uri", "image", "format", "width", "height", "bytes", "sha256", "mtime"):
        assert left[name].to_pylist() == right[name].to_pylist(), name
    assert not [name for name in back.schema.names if name.startswith("meta_")]


def test_the_path_of_our_own_pictures_is_kept_where_another_column_knows_the_rows(tmp_path):
    write_pictures(tmp_path / "in", 3)
    own = ingest.from_images(tmp_path / "in", into=tmp_path / "own.lance").table
    paths = own.to_table(["path"]).column(0).to_pylist()

    back = ingest.from_lance(own, into=tmp_path / "t.lance", key="sha256")

    rows = back.table.to_table(["path", "meta_path", "sha256"]).to_pylist()
    assert sorted(row["meta_path"] for row in rows) == sorted(paths)
    assert all(row["path"] == row["sha256"] for row in rows)
    assert back.notes["renamed"] == "'path' is 'meta_path'"


def test_what_cannot_be_meant_is_said(tmp_path):
    theirs = write(tmp_path / "theirs.lance")
    with pytest.raises(UsageError, match="into itself"):
        ingest.from_lance(theirs, into=theirs)
    with pytest.raises(SchemaError, match="has no column 'pictures'"):
        ingest.from_lance(theirs, into=tmp_path / "t.lance", image="pictures")
    with pytest.raises(SchemaError, match="'captions' is list"):
        ingest.from_lance(theirs, into=tmp_path / "t.lance", image="captions")
    assert not (tmp_path / "t.lance").exists()


def test_options_and_places_of_the_source(tmp_path):
    source = LanceRows(cd.open_table(write(tmp_path / "theirs.lance")), key="image_id", where="image_id > 1")

    assert json.loads(json.dumps(source.options))["where"] == "image_id > 1"
    assert source.covers(source.owner)
    assert not source.covers(source.owner + "2")
    assert source.schema() == source.schema()


def test_rows_are_read_in_batches_of_bounded_bytes(tmp_path):
    padded = [encoded(n) + bytes(3 << 20) for n in range(3)] * 8
    rows = pa.table({"image_id": list(range(24)), "image": pa.array(padded, pa.binary())})
    lance.write_dataset(rows, tmp_path / "theirs.lance")
    source = LanceRows(cd.open_table(tmp_path / "theirs.lance"))

    batches = [(batch.num_rows, batch.nbytes) for batch in source.read(source.items(), pytest.fail)]

    assert sum(num for num, _ in batches) == 24
    assert max(size for _, size in batches) < 24 << 20
