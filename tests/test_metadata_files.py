"""Ingest of parquet metadata."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import ingest
from clipdata.errors import NotFoundError, SchemaError
from clipdata.lance_io.rows import Written
from tests.pictures import encoded


def write(path: Path, **columns: list) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


def test_rows_keep_their_nested_columns(tmp_path: Path) -> None:
    file = write(
        tmp_path / "m.parquet",
        filename=["a.jpg", "a.jpg", "b.jpg"],
        caption_choices=[["x", "y"], ["z"], []],
        about=[{"votes": 1}, {"votes": 2}, None],
    )
    done = ingest.from_parquet(file, into=tmp_path / "m.lance")
    read = done.table.to_table()
    assert read["caption_choices"].to_pylist() == [["x", "y"], ["z"], []]
    assert read["about"].to_pylist() == [{"votes": 1}, {"votes": 2}, None]
    assert len(set(read["row_key"].to_pylist())) == 3


def test_equal_rows_are_all_kept(tmp_path: Path) -> None:
    file = write(tmp_path / "m.parquet", filename=["a", "a", "a"], label=["A", "A", "A"])
    assert ingest.from_parquet(file, into=tmp_path / "m.lance").table.num_rows == 3


def test_an_unchanged_file_is_skipped_and_a_changed_one_brings_its_differences(tmp_path: Path) -> None:
    file = write(tmp_path / "m.parquet", filename=["a", "b", "c"], label=["A", "B", "C"])
    first = ingest.from_parquet(file, into=tmp_path / "m.lance")
    again = ingest.from_parquet(file, into=tmp_path / "m.lance")
    assert (again.unchanged, again.table.version) == (1, first.table.version)
    write(tmp_path / "m.parquet", filename=["a", "b", "d"], label=["A", "E", "D"])
    changed = ingest.from_parquet(file, into=tmp_path / "m.lance")
    assert changed.written == Written(inserted=2, deleted=2)
    assert sorted(changed.table.to_table(["label"])["label"].to_pylist()) == ["A", "D", "E"]


def test_a_folder_and_a_glob_take_every_file_and_note_columns_that_some_lack(tmp_path: Path) -> None:
    write(tmp_path / "in" / "1.parquet", filename=["a"], label=["A"])
    write(tmp_path / "in" / "deep" / "2.parquet", filename=["b"], votes=[3])
    done = ingest.from_parquet(tmp_path / "in", into=tmp_path / "m.lance")
    assert done.table.num_rows == 2
    assert "label (in 1 of 2 files)" in str(done)
    globbed = ingest.from_parquet(tmp_path / "in" / "*.parquet", into=tmp_path / "g.lance")
    assert globbed.table.num_rows == 1


def test_a_column_that_grows_wider_between_files_is_promoted_and_one_of_another_kind_becomes_text(
    tmp_path: Path,
) -> None:
    write(tmp_path / "in" / "1.parquet", filename=["a"], votes=pa.array([1], pa.int32()))
    write(tmp_path / "in" / "2.parquet", filename=["b"], votes=pa.array([2**40], pa.int64()))
    done = ingest.from_parquet(tmp_path / "in", into=tmp_path / "m.lance")
    assert sorted(done.table.to_table(["votes"])["votes"].to_pylist()) == [1, 2**40]
    write(tmp_path / "in" / "3.parquet", filename=["c"], votes=["many"])
    with_text = ingest.from_parquet(tmp_path / "in", into=tmp_path / "t.lance")
    assert sorted(with_text.table.to_table(["votes"])["votes"].to_pylist()) == ["1", str(2**40), "many"]
    assert with_text.notes["types made one"] == "votes (int32 and int64 and string → string)"


def test_a_file_without_the_key_column_is_refused_with_near_names(tmp_path: Path) -> None:
    file = write(tmp_path / "m.parquet", file_name=["a"], label=["A"])
    with pytest.raises(SchemaError, match="did you mean file_name"):
        ingest.from_parquet(file, into=tmp_path / "m.lance")
    assert not (tmp_path / "m.lance").exists()


def test_rows_without_a_key_are_refused_and_counted(tmp_path: Path) -> None:
    file = write(tmp_path / "m.parquet", filename=["a", None, "", "d"], label=["A", "B", "C", "D"])
    done = ingest.from_parquet(file, into=tmp_path / "m.lance")
    assert done.refused == {"null_key": 2}
    assert done.table.num_rows == 2


def test_what_is_no_parquet_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "m.parquet").write_text("no")
    done = ingest.from_parquet(tmp_path / "m.parquet", into=tmp_path / "m.lance")
    assert done.refused == {"corrupt": 1}
    with pytest.raises(NotFoundError, match="no parquet file"):
        ingest.from_parquet(tmp_path / "none.parquet", into=tmp_path / "m.lance")


def test_csv_and_jsonl_files_are_taken_in_like_parquet(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text('filename,caption\na.jpg,"one, two"\nb.jpg,three\n,nobody\n')
    done = ingest.from_parquet(tmp_path / "m.csv", into=tmp_path / "c.lance")
    assert done.refused == {"null_key": 1}
    assert sorted(done.table.to_table(["caption"])["caption"].to_pylist()) == ["one, two", "three"]
    (tmp_path / "m.jsonl").write_text('{"filename": "a.jpg", "votes": [1, 2]}\nnot json\n{"filename": "b.jpg"}\n')
    done = ingest.from_parquet(tmp_path / "m.jsonl", into=tmp_path / "j.lance")
    assert done.refused == {"corrupt": 1}
    assert done.table.count_rows() == 2


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
