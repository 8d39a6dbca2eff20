"""Metadata files: what becomes a row, what is refused, and what is said of it."""

from __future__ import annotations

import bz2
import decimal
import gzip
import json
import lzma
import os
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import clipdata as cd
import ingest
from clipdata.errors import NotFoundError, SchemaError, UsageError
from clipdata.lance_io.rows import Written
from ingest.metadata.list_file import TextOptions
from ingest.metadata.metadata_files import MetadataFiles
from ingest.updating.source import BrokenFile, Reject


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


def read(source: MetadataFiles) -> tuple[list[dict[str, Any]], list[Reject], dict[str, BrokenFile]]:
    """All that a source gives: rows without their keys, refused rows, and files that broke."""
    rows: list[dict[str, Any]] = []
    refused: list[Reject] = []
    broken: dict[str, BrokenFile] = {}
    for item in source.items():
        try:
            for batch in source.read_file(item, refused.append):
                assert batch.schema == source.schema()
                rows += batch.drop_columns(["row_key", "source"]).to_pylist()
        except BrokenFile as fault:
            broken[item.key] = fault
    return rows, refused, broken


def keys_of(*sources: MetadataFiles) -> list[str]:
    return [
        key
        for source in sources
        for item in source.items()
        for batch in source.read_file(item, lambda _: None)
        for key in batch.column("row_key").to_pylist()
    ]


def damaged(path: Path, num_rows: int = 5000) -> Path:
    """A parquet file whose footer is whole and one of whose pages is not."""
    table = pa.table(
        {"filename": [f"{n}.jpg" for n in range(num_rows)], "x": np.random.default_rng(0).random(num_rows)}
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=1000, compression="none")
    raw = bytearray(path.read_bytes())
    middle = len(raw) // 2
    raw[middle : middle + 3000] = b"\xff" * 3000
    path.write_bytes(raw)
    return path


def test_equal_rows_in_files_of_one_name_in_two_folders_are_all_kept(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write(tmp_path / "in" / split / "0000.parquet", filename=["a.jpg", "b.jpg"], caption=["x", "y"])
    source = MetadataFiles(tmp_path / "in")
    assert [item.key for item in source.items()] == ["test/0000.parquet", "train/0000.parquet"]
    assert len(set(keys_of(source))) == 4
    assert ingest.from_parquet(tmp_path / "in", into=tmp_path / "m.lance").table.num_rows == 4


def test_a_file_has_one_name_whatever_is_listed_beside_it(tmp_path: Path) -> None:
    file = write(tmp_path / "in" / "deep" / "a.parquet", filename=["a"])
    write(tmp_path / "in" / "b.parquet", filename=["b"])
    keys = {item.key for item in MetadataFiles(tmp_path / "in" / "**" / "*.parquet").items()}
    assert keys == {item.key for item in MetadataFiles(tmp_path / "in").items()} == {"deep/a.parquet", "b.parquet"}
    assert [item.key for item in MetadataFiles(file).items()] == ["a.parquet"]
    etags = {item.etag for where in (file, tmp_path / "in" / "deep") for item in MetadataFiles(where).items()}
    assert len(etags) == 1


def test_every_kind_of_broken_file_is_refused_by_name_and_the_rest_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    damaged(folder / "damaged.parquet")
    write(folder / "good.parquet", filename=["z.jpg"], x=[1.0])
    write(folder / "whole.parquet", filename=[f"{n}" for n in range(1000)])
    (folder / "cut.parquet").write_bytes((folder / "whole.parquet").read_bytes()[:-100])
    (folder / "empty.parquet").touch()
    (folder / "text.parquet").write_text("filename\na\n")
    os.symlink(folder / "gone", folder / "dangling.parquet")
    os.symlink("loop.parquet", folder / "loop.parquet")
    source = MetadataFiles(folder)
    rows, _, broken = read(source)
    assert {row["filename"] for row in rows} >= {"z.jpg", "0", "999"}
    assert {name: fault.reason for name, fault in broken.items()} == {
        "damaged.parquet": "corrupt",
        "cut.parquet": "corrupt",
        "empty.parquet": "corrupt",
        "text.parquet": "corrupt",
        "dangling.parquet": "missing",
        "loop.parquet": "unreadable",
    }
    done = ingest.from_parquet(folder, into=tmp_path / "m.lance")
    assert done.num_refused == 6


def test_every_kind_of_broken_text_is_refused_by_name_and_the_rest_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    good = b"filename,c\n" + b"a.jpg,x\n" * 3000
    (folder / "bad_byte.csv").write_bytes(good + b"b.jpg,caf\xe9\n" + b"a.jpg,x\n" * 300_000)
    (folder / "good.csv").write_text("filename,c\nz.jpg,y\n")
    (folder / "cut.csv.gz").write_bytes(gzip.compress(good)[:-20])
    (folder / "no.csv.gz").write_bytes(good)
    (folder / "no.csv.xz").write_bytes(good)
    (folder / "empty.csv").touch()
    (folder / "empty.jsonl").touch()
    (folder / "binary.csv").write_bytes(b"filename" + b"x" * 1_200_000)
    rows, _, broken = read(MetadataFiles(folder))
    assert {"filename": "z.jpg", "c": "y"} in [{name: row[name] for name in ("filename", "c")} for row in rows]
    reasons = {name: fault.reason for name, fault in broken.items()}
    assert reasons.pop("empty.jsonl") == "no_column"
    assert reasons == {
        "bad_byte.csv": "bad_encoding",
        "cut.csv.gz": "truncated",
        "no.csv.gz": "corrupt",
        "no.csv.xz": "corrupt",
        "empty.csv": "empty",
        "binary.csv": "not_text",
    }


def test_a_file_that_went_away_or_may_not_be_read_is_tried_again(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.parquet", filename=["a"])
    write(tmp_path / "in" / "b.parquet", filename=["b"])
    source = MetadataFiles(tmp_path / "in")
    source.schema()
    (tmp_path / "in" / "a.parquet").unlink()
    rows, _, broken = read(source)
    assert [row["filename"] for row in rows] == ["b"]
    assert (broken["a.parquet"].reason, broken["a.parquet"].passing) == ("missing", True)


def test_a_row_that_is_not_utf8_inside_parquet_costs_that_row(tmp_path: Path) -> None:
    names = pa.array([b"a.jpg", b"caf\xe9.jpg", b"c.jpg"]).view(pa.string())
    pq.write_table(pa.table({"filename": names}), tmp_path / "m.parquet")
    rows, refused, _ = read(MetadataFiles(tmp_path / "m.parquet"))
    assert [row["filename"] for row in rows] == ["a.jpg", "c.jpg"]
    assert [(reject.key, reject.reason) for reject in refused] == [("m.parquet#row-1", "bad_value")]


def test_a_file_without_the_required_column_is_refused_where_others_have_it(tmp_path: Path) -> None:
    write(tmp_path / "in" / "1.parquet", filename=["a"])
    write(tmp_path / "in" / "2.parquet", name=["b"])
    rows, _, broken = read(MetadataFiles(tmp_path / "in"))
    assert [row["filename"] for row in rows] == ["a"]
    assert broken["2.parquet"].reason == "no_column"
    assert "'filename'; it has name" in broken["2.parquet"].detail


def test_folders_are_searched_by_suffix_and_what_is_left_out_is_counted(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write(folder / "data" / "a.parquet", filename=["a"])
    write(folder / "df.parquet.gzip", filename=["b"])
    write(folder / "part-00000", filename=["c"])
    write(folder / ".ipynb_checkpoints" / "a-checkpoint.parquet", filename=["no"])
    write(folder / "_temporary" / "a.parquet", filename=["no"])
    write(folder / "_metadata", filename=["no"])
    for name in ("README.md", "_SUCCESS", ".DS_Store", "data/._a.parquet", "notes.csv", "LICENSE"):
        (folder / name).write_text("filename\nno\n")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "x.parquet").write_text("no")
    os.symlink(folder, folder / "again")
    source = MetadataFiles(folder)
    rows, _, broken = read(source)
    assert [row["filename"] for row in rows] == ["a", "b", "c"]
    assert not broken
    left_out = source.notes()["files left out"]
    assert all(said in left_out for said in ("5 hidden", "1 .md", "1 .csv", "3 without suffix", "1 links to folders"))


def test_a_folder_of_links_as_a_hub_cache_has_it_is_read(tmp_path: Path) -> None:
    write(tmp_path / "blobs" / "0123", filename=["a"])
    (tmp_path / "snapshot").mkdir()
    os.symlink("../blobs/0123", tmp_path / "snapshot" / "a.parquet")
    (tmp_path / "snapshot" / "README.md").write_text("# data")
    assert [row["filename"] for row in read(MetadataFiles(tmp_path / "snapshot"))[0]] == ["a"]


def test_a_folder_named_with_glob_signs_is_a_folder(tmp_path: Path) -> None:
    write(tmp_path / "data[1]" / "x.parquet", filename=["a"])
    source = MetadataFiles(tmp_path / "data[1]")
    assert [item.key for item in source.items()] == ["x.parquet"]
    assert [item.key for item in MetadataFiles(tmp_path / "data[1]" / "x.parquet").items()] == ["x.parquet"]


def test_a_source_covers_what_it_would_list_and_nothing_beside_it(tmp_path: Path) -> None:
    write(tmp_path / "data" / "a.parquet", filename=["a"])
    write(tmp_path / "data2" / "a.parquet", filename=["a"])
    folder, file = MetadataFiles(tmp_path / "data"), MetadataFiles(tmp_path / "data" / "a.parquet")
    glob = MetadataFiles(tmp_path / "data" / "*.parquet")
    gone, deep = str(tmp_path / "data" / "gone.parquet"), str(tmp_path / "data" / "x" / "gone.parquet")
    assert [source.covers(gone) for source in (folder, file, glob)] == [True, False, True]
    assert [source.covers(deep) for source in (folder, file, glob)] == [True, False, False]
    for other in (
        tmp_path / "data2" / "a.parquet",
        tmp_path / "data" / ".x" / "a.parquet",
    ):
        assert not any(source.covers(str(other)) for source in (folder, file, glob))
    was_csv = str(tmp_path / "data" / "a.csv")  # taken in before the folder's files were written as parquet
    assert [source.covers(was_csv) for source in (folder, file, glob)] == [True, False, False]


def test_a_file_written_anew_in_another_format_is_told_as_gone(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "a.csv").write_text("filename,c\na.jpg,x\n")
    ingest.from_parquet(folder, into=tmp_path / "t.lance")
    (folder / "a.csv").unlink()
    write(folder / "a.parquet", filename=["a.jpg"], c=["x"])
    done = ingest.from_parquet(folder, into=tmp_path / "t.lance")
    assert done.vanished == ["a.csv"]
    assert "no longer at the source" in str(done)


def test_fields_of_several_types_are_said(tmp_path: Path) -> None:
    lines = [{"filename": "a", "caption": "x", "n": 1}, {"filename": "b", "caption": ["z"], "n": 2}]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = ingest.from_parquet(tmp_path / "m.jsonl", into=tmp_path / "t.lance")
    assert "caption" not in done.table.schema.names
    assert "fields of several types, kept as text in the column 'json': caption" in str(done)


def test_fields_that_are_no_columns_are_said_for_what_they_are(tmp_path: Path) -> None:
    lines = [
        {"filename": "a", "nest": {"k": 1}, "inside": [{"k": 1}], "odd": [1, "x"], "none": None, "bare": [], "both": 1},
        {"filename": "b", "nest": None, "inside": [], "odd": [2], "none": None, "bare": None, "both": {"k": 1}},
    ]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = ingest.from_parquet(tmp_path / "m.jsonl", into=tmp_path / "t.lance")

    assert "fields of several types, kept as text in the column 'json': odd, both;" in str(done)
    nested = "objects, and lists that are not of one plain type, kept as text in the column 'json': nest, inside, bare;"
    assert nested in str(done)
    assert "null in every row, which makes no column: none" in str(done)
    kept = done.table.to_table(["filename", "json"]).to_pylist()
    first = next(json.loads(row["json"]) for row in kept if row["filename"] == "a")
    assert first == {name: lines[0][name] for name in ("nest", "inside", "odd", "bare", "both")}


def test_what_shapes_rows_is_among_the_options(tmp_path: Path) -> None:
    file = write(tmp_path / "a.parquet", filename=["a"], c=["x"])
    plain = MetadataFiles(file).options
    changed = [
        MetadataFiles(file, required=None),
        MetadataFiles(file, text=TextOptions("gbk", "tab", ("a", "b"), header=False)),
        MetadataFiles(file, lists=["c"]),
    ]
    assert all(source.options != plain for source in changed)
    assert json.loads(json.dumps(dict(changed[1].options)))["columns"] == ["a", "b"]


def test_a_new_column_that_is_null_and_a_wider_type_change_no_key(tmp_path: Path) -> None:
    file = write(tmp_path / "in" / "a.parquet", filename=["a", "b"], n=pa.array([1, 2], pa.int32()))
    before = keys_of(MetadataFiles(file))
    write(tmp_path / "in" / "a.parquet", filename=["a", "b"], n=pa.array([1, 2], pa.int32()), new=pa.nulls(2))
    write(tmp_path / "in" / "b.parquet", filename=["c"], n=[0.5], other=["x"])
    assert keys_of(MetadataFiles(tmp_path / "in"))[:2] == before


def test_each_footer_is_read_once_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(8):
        write(tmp_path / "in" / f"{number}.parquet", filename=[f"{number}.jpg"])
    read_schema, calls = pq.read_schema, []
    monkeypatch.setattr(pq, "read_schema", lambda where: calls.append(where) or read_schema(where))
    ingest.from_parquet(tmp_path / "in", into=tmp_path / "t.lance")
    assert len(calls) == 8


def test_every_arrow_type_goes_in_comes_out_and_is_read_by_a_step(tmp_path: Path) -> None:
    columns = {
        "dictionary": pa.array(["a", "b"]).dictionary_encode(),
        "seen": pa.array(["a", "b"], pa.string_view()),
        "large": pa.array([["a"], []], pa.large_list(pa.large_string())),
        "fixed": pa.array([["a", "b"], ["c", "d"]], pa.list_(pa.string(), 2)),
        "vector": pa.array([[1.0, None], [3.0, 4.0]], pa.list_(pa.float32(), 2)),
        "map": pa.array([[("a", 1)], []], pa.map_(pa.string(), pa.int64())),
        "nothing": pa.nulls(2),
        "decimal": pa.array([decimal.Decimal("1.5"), None]),
        "time": pa.array([1, 2], pa.time64("us")),
        "duration": pa.array([1, 2], pa.duration("us")),
        "half": pa.array(np.array([1, 2], np.float16)),
        "unsigned": pa.array([2**63, 0], pa.uint64()),
        "date": pa.array([0, 1], pa.date32()),
        "nanoseconds": pa.array([1, 2], pa.timestamp("ns")),
        "zone": pa.array([1, 2], pa.timestamp("us", "Europe/Berlin")),
        "struct": pa.array([{"a": {"b": ["x"]}}, None]),
        "structs": pa.array([[{"a.b": 1}], None]),
        "uuid": pa.array([uuid.UUID(int=1).bytes, None], pa.uuid()),
        "json": pa.array(["{}", None], pa.json_(pa.string())),
        "bytes": pa.array([b"x", b""]),
    }
    pq.write_table(pa.table({"filename": ["a.jpg", "b.jpg"], **columns}), tmp_path / "m.parquet")
    done = ingest.from_parquet(tmp_path / "m.parquet", into=tmp_path / "t.lance")
    os.utime(tmp_path / "m.parquet", (1, 1))  # read again, and found to say the same
    again = ingest.from_parquet(tmp_path / "m.parquet", into=tmp_path / "t.lance")
    assert (again.read, again.table.num_rows, again.written) == (1, 2, Written())
    listed = ", ".join(f'"{name}"' for name in columns)
    stored = done.table.query(f"select {listed} from dataset order by filename")
    for name in set(columns) - {"map", "structs", "uuid", "nanoseconds"}:
        assert stored[name].to_pylist() == columns[name].to_pylist()
    assert stored["map"].to_pylist() == [[{"key": "a", "value": 1}], []]
    assert stored["uuid"].to_pylist() == [str(uuid.UUID(int=1)), None]

    @cd.step(reads=tuple(name for name in columns if stored[name].null_count == 0), returns="int32")
    def count(*values: Any) -> int:
        return len(values)

    cd.map_column(cd.open_table(tmp_path / "t.lance"), count, "n")
    assert cd.open_table(tmp_path / "t.lance").count_nulls("n") == 0


def test_names_that_lance_or_our_rows_cannot_have_are_carried_under_others_and_said(tmp_path: Path) -> None:
    names = ["filename", "clip.b32", "c", "c", "", "_rowid", "source", "row_key", "my col", "Filename", "id", "`q`"]
    pq.write_table(pa.table([pa.array([str(n)]) for n in range(len(names))], names=names), tmp_path / "m.parquet")
    done = ingest.from_parquet(tmp_path / "m.parquet", into=tmp_path / "t.lance")
    new = [name for name in done.table.schema.names if name not in ("row_key", "source")]
    assert new[:6] == ["filename", "clip_b32", "c", "c_2", "column", "column_rowid"]
    assert new[6:] == ["meta_source", "meta_row_key", "my col", "Filename_2", "id", "_q_"]
    assert list(done.table.to_table(new).to_pylist()[0].values()) == [str(n) for n in range(len(names))]
    assert "clip_b32 (was 'clip.b32')" in str(done)
    again = ingest.from_parquet(tmp_path / "m.parquet", into=tmp_path / "t.lance")
    assert again.table.version == done.table.version
    assert all(done.table.count_nulls(name) == 0 for name in new)


def test_a_required_column_whose_name_had_to_change_is_still_required(tmp_path: Path) -> None:
    pq.write_table(pa.table({"file.name": ["a", None]}), tmp_path / "m.parquet")
    rows, refused, _ = read(MetadataFiles(tmp_path / "m.parquet", required="file.name"))
    assert rows == [{"file_name": "a"}]
    assert [reject.reason for reject in refused] == ["null_key"]


def test_class_labels_of_hugging_face_get_their_names(tmp_path: Path) -> None:
    features = {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}, "filename": {"_type": "Value"}}
    table = pa.table({"filename": ["a", "b", "c"], "label": [1, 0, -1]})
    about = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(table.replace_schema_metadata(about), tmp_path / "m.parquet")
    assert [row["label_name"] for row in read(MetadataFiles(tmp_path / "m.parquet"))[0]] == ["dog", "cat", None]
    for nonsense in (
        "no json",
        '{"info": 1}',
        '{"info": {"features": {"label": {"_type": "ClassLabel", "names": 3}}}}',
    ):
        pq.write_table(table.replace_schema_metadata({"huggingface": nonsense}), tmp_path / "m.parquet")
        assert "label_name" not in read(MetadataFiles(tmp_path / "m.parquet"))[0][0]


@pytest.mark.parametrize("encoding", ["gb18030", "gbk", "utf-16", "utf-16-le"])
def test_a_text_of_another_encoding_is_read_once_it_is_named(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "m.csv").write_bytes("filename,caption\na.jpg,猫在沙发上睡觉\n".encode(encoding))
    _, _, broken = read(MetadataFiles(tmp_path / "m.csv", required=None))
    guessed = {"gbk": "gb18030"}.get(encoding, encoding)
    assert broken["m.csv"].reason == "bad_encoding"
    assert f"--encoding {guessed}" in broken["m.csv"].detail
    rows, _, _ = read(MetadataFiles(tmp_path / "m.csv", text=TextOptions(encoding)))
    assert rows == [{"filename": "a.jpg", "caption": "猫在沙发上睡觉"}]


@pytest.mark.parametrize(
    "text",
    [
        "filename;caption\na.jpg;x, y\n",
        "filename|caption\na.jpg|x, y\n",
        "filename\tcaption\na.jpg\tx, y\n",
        "sep=;\nfilename;caption\na.jpg;x, y\n",
        "\ufeffsep=;\r\nfilename;caption\r\na.jpg;x, y\r\n",
        '# made by hand\n# in 2026\n\nfilename,caption\na.jpg,"x, y"\n',
        'filename,caption,\na.jpg,"x, y",\n',
        'filename,caption\na.jpg,"x, y",\n',
        'filename,"caption"\r"a.jpg","x, y"\r',
    ],
)
def test_delimiters_marks_of_excel_comments_and_line_ends_are_found(tmp_path: Path, text: str) -> None:
    (tmp_path / "m.csv").write_text(text, newline="")
    assert read(MetadataFiles(tmp_path / "m.csv"))[0] == [{"filename": "a.jpg", "caption": "x, y"}]


def test_a_text_without_a_header_gets_the_names_that_are_given(tmp_path: Path) -> None:
    (tmp_path / "m.tsv").write_text("a bus station\t1.jpg\na man\t2.jpg\n")
    named = TextOptions(columns=("caption", "filename"))
    rows = [{"caption": "a bus station", "filename": "1.jpg"}, {"caption": "a man", "filename": "2.jpg"}]
    assert read(MetadataFiles(tmp_path / "m.tsv", text=named))[0] == rows
    with_header = TextOptions(columns=("caption", "filename"), header=True)
    assert read(MetadataFiles(tmp_path / "m.tsv", text=with_header))[0] == rows[1:]
    _, _, broken = read(MetadataFiles(tmp_path / "m.tsv", required=None, text=TextOptions(columns=("caption",))))
    assert broken["m.tsv"].reason == "other_columns"
    with pytest.raises(UsageError, match="--columns"):
        TextOptions(header=False)


@pytest.mark.parametrize(("suffix", "pack"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)])
def test_packed_texts_are_unpacked_while_they_are_read(tmp_path: Path, suffix: str, pack: Any) -> None:
    (tmp_path / f"m.CSV.{suffix}").write_bytes(pack(b"filename\n" + b"a.jpg\n" * 1000))
    assert len(read(MetadataFiles(tmp_path / f"m.CSV.{suffix}"))[0]) == 1000


def test_texts_packed_by_zstandard_are_unpacked(tmp_path: Path) -> None:
    text = b"filename\n" + b"a.jpg\n" * 1000
    (tmp_path / "m.csv.zst").write_bytes(pa.compress(text, "zstd", asbytes=True))
    assert len(read(MetadataFiles(tmp_path / "m.csv.zst"))[0]) == 1000


def test_lists_that_went_through_csv_are_read_as_lists_on_request_alone(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("filename,c\na,\"['a dog', 'a cat']\"\nb,plain\nc,\n")
    assert read(MetadataFiles(tmp_path / "m.csv"))[0][0]["c"] == "['a dog', 'a cat']"
    source = MetadataFiles(tmp_path / "m.csv", lists=["c"])
    assert [row["c"] for row in read(source)[0]] == [["a dog", "a cat"], ["plain"], None]
    assert source.notes()["texts read as lists"] == "c (1 of them no list, kept as one text)"
    with pytest.raises(SchemaError, match="no column 'd'"):
        MetadataFiles(tmp_path / "m.csv", lists=["d"]).schema()


def test_many_null_rows_in_a_few_bytes_are_refused_one_by_one(tmp_path: Path) -> None:
    nulls = pa.DictionaryArray.from_arrays(pa.nulls(300_000, pa.int8()), pa.array(["a"]))
    pq.write_table(pa.table({"filename": nulls}), tmp_path / "m.parquet")
    assert (tmp_path / "m.parquet").stat().st_size < 10_000
    source = MetadataFiles(tmp_path / "m.parquet")
    count = 0

    def refuse(_: Reject) -> None:
        nonlocal count
        count += 1
        if count == 10_000:
            raise KeyboardInterrupt  # what counts refusals can stop at any of them

    with pytest.raises(KeyboardInterrupt):
        list(source.read_file(next(source.items()), refuse))
    assert count == 10_000
