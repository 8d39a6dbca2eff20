"""Parquet files that hold the images themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import ingest
from clipdata.errors import SchemaError
from clipdata.lance_io.rows import Written
from ingest.pictures.embedded_images import EmbeddedImages
from ingest.updating.source import Reject
from tests.pictures import encoded

HELD = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def held(*pictures: tuple[bytes | None, str | None]) -> pa.Array:
    return pa.array([{"bytes": data, "path": path} for data, path in pictures], HELD)


def write(path: Path, **columns: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


def read(source: EmbeddedImages) -> tuple[list[dict[str, Any]], list[Reject]]:
    refused: list[Reject] = []
    rows: list[dict[str, Any]] = []
    for item in source.items():
        for batch in source.read_file(item, refused.append):
            assert batch.schema == source.schema()
            rows += batch.to_pylist()
    return rows, refused


def test_image_bytes_in_a_hugging_face_struct_become_image_rows(tmp_path: Path) -> None:
    held = [
        {"bytes": encoded(1), "path": "one.jpg"},
        {"bytes": encoded(2, ".png"), "path": None},
        {"bytes": None, "path": "elsewhere.jpg"},
        {"bytes": b"no picture", "path": "bad.jpg"},
    ]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = {"image": pa.array(held, kind), "label": [0, 1, 2, 3], "width": ["a", "b", "c", "d"]}
    pq.write_table(pa.table(columns), tmp_path / "train.parquet")
    done = ingest.from_parquet(tmp_path / "train.parquet", into=tmp_path / "t.lance")
    assert done.num_refused == 2
    assert done.refused["missing"] == 1
    read = done.table.to_table(["path", "filename", "image", "label", "meta_width"]).to_pylist()
    assert [(row["path"], row["filename"], row["label"], row["meta_width"]) for row in read] == [
        ("train.parquet/00000000-one.jpg", "one.jpg", 0, "a"),
        ("train.parquet/00000001", "00000001.png", 1, "b"),
    ]
    assert read[0]["image"] == encoded(1)
    again = ingest.from_parquet(tmp_path / "train.parquet", into=tmp_path / "t.lance")
    assert again.table.version == done.table.version


def test_files_of_one_name_in_two_folders_keep_all_their_pictures(tmp_path: Path) -> None:
    for place, split in enumerate(("train", "test")):
        pictures = held(*((encoded(10 * place + n), None) for n in range(2)))
        write(tmp_path / "in" / split / "0000.parquet", image=pictures)
    done = ingest.from_parquet(tmp_path / "in", into=tmp_path / "t.lance")
    assert done.table.num_rows == 4
    assert "test/0000.parquet/00000001" in done.table.to_table(["path"])["path"].to_pylist()


def test_a_corrected_label_replaces_its_row_and_no_other(tmp_path: Path) -> None:
    pictures = held((encoded(1), "a.jpg"), (encoded(2), "b.jpg"))
    write(tmp_path / "a.parquet", image=pictures, label=["cat", "dgo"])
    ingest.from_parquet(tmp_path / "a.parquet", into=tmp_path / "t.lance")
    write(tmp_path / "a.parquet", image=pictures, label=["cat", "dog"])
    done = ingest.from_parquet(tmp_path / "a.parquet", into=tmp_path / "t.lance")
    assert done.written == Written(updated=1)
    assert sorted(done.table.to_table(["label"])["label"].to_pylist()) == ["cat", "dog"]


def test_plain_bytes_are_pictures_where_they_begin_as_pictures(tmp_path: Path) -> None:
    file = write(
        tmp_path / "00000.parquet",
        url=["u", "v", "w"],
        caption=["a", "b", "c"],
        width=[64, 64, 0],
        jpg=[encoded(1), encoded(2), None],
    )
    rows, refused = read(EmbeddedImages(file))
    assert [(row["path"], row["caption"], row["meta_width"]) for row in rows] == [
        ("00000.parquet/00000000", "a", 64),
        ("00000.parquet/00000001", "b", 64),
    ]
    assert [(reject.key, reject.reason) for reject in refused] == [("00000.parquet/00000002", "missing")]
    other = write(tmp_path / "m.parquet", filename=["a"], embedding=[b"1234"])
    assert "embedding" in ingest.from_parquet(other, into=tmp_path / "m.lance").table.schema.names


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary_view()], ids=str)
def test_bytes_of_every_layout_are_read(tmp_path: Path, kind: pa.DataType) -> None:
    file = write(tmp_path / "a.parquet", image=pa.array([encoded(1)], kind))
    assert [row["image"] for row in read(EmbeddedImages(file))[0]] == [encoded(1)]


def test_a_list_of_pictures_makes_one_row_a_picture(tmp_path: Path) -> None:
    lists = [[{"bytes": encoded(1), "path": "a.jpg"}, {"bytes": encoded(2), "path": None}], [], None]
    file = write(tmp_path / "a.parquet", images=pa.array(lists, pa.list_(HELD)), caption=["x", "y", "z"])
    source = EmbeddedImages(file)
    rows, refused = read(source)
    assert [(row["path"], row["caption"]) for row in rows] == [
        ("a.parquet/00000000.0-a.jpg", "x"),
        ("a.parquet/00000000.1", "x"),
    ]
    assert len(refused) == 2
    assert source.notes()["lists of pictures"] == "one row a picture"


def test_of_several_columns_of_pictures_one_is_chosen_and_the_others_stay(tmp_path: Path) -> None:
    file = write(tmp_path / "a.parquet", before=held((encoded(1), "a.jpg")), after=held((encoded(2), "b.jpg")))
    source = EmbeddedImages(file)
    row = read(source)[0][0]
    assert (row["image"], row["after"]["bytes"]) == (encoded(1), encoded(2))
    assert source.notes()["other columns of pictures, kept as they are"] == "after"
    assert read(EmbeddedImages(file, image="after"))[0][0]["image"] == encoded(2)
    with pytest.raises(SchemaError, match=r"no column 'during' of pictures; those are before, after"):
        EmbeddedImages(file, image="during")


def test_what_a_struct_says_beside_its_bytes_becomes_columns(tmp_path: Path) -> None:
    kind = pa.struct([("bytes", pa.large_binary()), ("path", pa.string()), ("note", pa.string())])
    file = write(tmp_path / "a.parquet", image=pa.array([{"bytes": encoded(1), "path": "a.jpg", "note": "hi"}], kind))
    assert read(EmbeddedImages(file))[0][0]["image_note"] == "hi"


def test_pictures_that_lie_beside_the_file_are_read_and_none_from_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(encoded(9))
    (tmp_path / "in" / "x").mkdir(parents=True)
    (tmp_path / "in" / "x" / "a.jpg").write_bytes(encoded(3))
    (tmp_path / "in" / "x" / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    paths = ["x/a.jpg", "x/gone.jpg", "../secret.jpg", str(tmp_path / "secret.jpg"), "x/link.jpg"]
    pictures = pa.array([{"path": path} for path in paths] + [None], pa.struct([("path", pa.string())]))
    rows, refused = read(EmbeddedImages(write(tmp_path / "in" / "a.parquet", image=pictures)))
    assert [row["image"] for row in rows] == [encoded(3)]
    assert [reject.reason for reject in refused] == ["missing"] * 5
    assert [bool(reject.etag) for reject in refused] == [False, False, False, False, True]


def test_names_of_classes_come_as_a_column_of_texts(tmp_path: Path) -> None:
    features = {"image": {"_type": "Image"}, "label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}
    table = pa.table({"image": held((encoded(1), None)), "label": [1]})
    about = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(table.replace_schema_metadata(about), tmp_path / "a.parquet")
    row = read(EmbeddedImages(tmp_path / "a.parquet"))[0][0]
    assert (row["label"], row["label_name"]) == (1, "dog")


def test_one_file_cut_short_costs_neither_the_pictures_before_nor_the_other_files(tmp_path: Path) -> None:
    write(tmp_path / "in" / "good.parquet", image=held((encoded(1), None)))
    whole = write(tmp_path / "in" / "cut.parquet", image=held((encoded(2), None)))
    whole.write_bytes(whole.read_bytes()[:-50])
    done = ingest.from_parquet(tmp_path / "in", into=tmp_path / "t.lance")
    assert done.table.to_table(["path"])["path"].to_pylist() == ["good.parquet/00000000"]
    assert done.refused == {"corrupt": 1}


def test_batches_of_large_pictures_stay_small(tmp_path: Path) -> None:
    big = encoded(1, ".bmp", 800, 800)  # stored once, as parquet does with equal values
    file = write(tmp_path / "a.parquet", image=held(*((big, None) for _ in range(11))))
    assert file.stat().st_size < 2 * len(big)
    source = EmbeddedImages(file)
    batches = list(source.read_file(next(source.items()), lambda _: None))
    assert max(batch.nbytes for batch in batches) <= 18 << 20
    assert sum(batch.num_rows for batch in batches) == 11
