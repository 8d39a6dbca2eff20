"""Exports: what other tools read of a table's rows, and that the rows come back as they were."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import clipdata as cd
import ingest
from clipdata.errors import SchemaError, UsageError
from clipdata.exports.disk_places import LocalFolder
from clipdata.exports.folder_record import RECORD
from clipdata.exports.parquet import Parquet
from clipdata.exports.selection import NO_PICTURE
from clipdata.json_values import plain
from clipdata.lance_io import rows
from clipdata.lance_io.table import open_table
from clipdata.schema import IMAGE_FIELDS, key_field
from tests.pictures import encoded
from tests.tables import number_table

NUM = 12
NAMES = ["a.png", "a.PNG", "../../up.png", "test.png", "dog_train.png", ".hidden.png", "__x.png", "con.png", "x" * 300,
         "三张.png", "a/b:c?.jpg", "plain.png"]  # fmt: skip
TEXTS = [
    'say "hi", you',
    "two\nlines",
    "",
    None,
    "=1+1",
    "@cmd",
    "tab\there",
    "逗号，",
    "\u2028line",
    "NULL",
    "nan",
    " x ",
]
VALUES: dict[str, Any] = {
    "number": pa.array([2**53 + n if n % 5 else None for n in range(NUM)], pa.int64()),
    "share": pa.array([0.1 * n if n != 3 else None for n in range(NUM)], pa.float64()),
    "score": pa.array([np.float32(0.1) * n for n in range(NUM)], pa.float32()),
    "text": pa.array(TEXTS, pa.string()),
    "flag": pa.array([None if n == 4 else n % 2 == 0 for n in range(NUM)], pa.bool_()),
    "captions": pa.array([None, [], ["a, b", 'c"'], *([["x", "é"]] * (NUM - 3))], pa.list_(pa.string())),
    "vector": pa.array([[n / 3, -n / 7] for n in range(NUM)], pa.list_(pa.float32(), 2)),
    "day": pa.array([date(2024, 2, 1 + n) for n in range(NUM)], pa.date32()),
    "seen": pa.array(
        [datetime(2024, 2, 1, 3, 4, 5, 600 + n, tzinfo=UTC) for n in range(NUM)], pa.timestamp("us", "UTC")
    ),
    "split": pa.array(["test" if n % 4 == 0 else "train" for n in range(NUM)]),
}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> cd.Table:
    """Rows with pictures, half of them in the table and half only referred to, and columns of every common type."""
    folder = tmp_path_factory.mktemp("pictures")
    held = [encoded(n, ".jpg" if n % 3 == 0 else ".png", 12, 16) for n in range(NUM)]
    for n, data in enumerate(held):
        (folder / f"{n}.bin").write_bytes(data)
    schema = pa.schema([*IMAGE_FIELDS, *(pa.field(name, value.type) for name, value in VALUES.items())])
    table = rows.create_table(folder / "t.lance", schema)
    whole = {
        "path": [f"{n:02d}" for n in range(NUM)],
        "filename": NAMES,
        "uri": [str(folder / f"{n}.bin") for n in range(NUM)],
        "image": pa.array([data if n % 2 else None for n, data in enumerate(held)], pa.large_binary()),
        "sha256": [hashlib.sha256(data).hexdigest() for data in held],
        **VALUES,
    }
    rows.upsert(table, pa.table(whole))
    return open_table(table.uri)


def python_rows(table: pa.Table, columns: list[str]) -> list[dict[str, Any]]:
    return [plain(row) for row in table.select(columns).to_pylist()]


def known(table: cd.Table, columns: list[str]) -> list[dict[str, Any]]:
    return python_rows(table.to_table(["sha256", *columns]).sort_by("sha256"), ["sha256", *columns])


def sorted_rows(table: pa.Table, columns: list[str]) -> list[dict[str, Any]]:
    return python_rows(table.sort_by("sha256"), ["sha256", *columns])


def test_parquet_holds_every_value_and_the_bytes_of_every_picture(pictures: cd.Table, tmp_path: Path) -> None:
    done = cd.export(pictures, tmp_path / "new" / "t.parquet")

    read = pq.read_table(tmp_path / "new" / "t.parquet")
    assert (done.num_rows, done.num_files, done.num_refused, done.left_out) == (NUM, 1, 0, ())
    assert done.num_bytes == (tmp_path / "new" / "t.parquet").stat().st_size
    for name in VALUES:
        assert read.column(name).combine_chunks().equals(pictures.to_table([name]).column(name).combine_chunks()), name
    found = read.column("image").to_pylist()
    assert [hashlib.sha256(one["bytes"]).hexdigest() for one in found] == read.column("sha256").to_pylist()
    assert [one["path"] for one in found] == NAMES
    assert json.loads(read.schema.metadata[b"clipdata.export"]) == {
        "format": "parquet", "table": "t.lance", "version": pictures.version,
    }  # fmt: skip
    assert str(tmp_path) not in str(read.schema.metadata)
    assert duckdb.sql(f"SELECT count(*) FROM '{tmp_path}/new/t.parquet' WHERE flag").fetchall() == [(5,)]

    back = ingest.from_parquet(tmp_path / "new" / "t.parquet", into=tmp_path / "back.lance").table
    assert sorted_rows(back.to_table(["sha256", *VALUES]), [*VALUES]) == known(pictures, [*VALUES])


def test_row_groups_and_files_of_parquet_are_bounded_by_bytes(pictures: cd.Table, tmp_path: Path) -> None:
    from clipdata.exports.formats import About
    from clipdata.exports.selection import Selection

    selection = Selection(pictures, ("path", "image", "uri", "filename"))
    batches = (batch.slice(n, 1) for batch in selection.batches() for n in range(batch.num_rows))
    place = LocalFolder(str(tmp_path / "out"), is_alone=True)
    Parquet(is_folder=True, group_bytes=2000, file_bytes=3000).write(batches, place, About("image", NUM, {}))
    place.publish({})

    files = sorted((tmp_path / "out").glob("*.parquet"))
    assert len(files) > 1
    assert sum(pq.ParquetFile(file).metadata.num_row_groups for file in files) > len(files)
    assert pq.read_table(tmp_path / "out").column("path").to_pylist() == [f"{n:02d}" for n in range(NUM)]


def test_jsonl_and_csv_say_every_value_so_that_it_comes_back(pictures: cd.Table, tmp_path: Path) -> None:
    for suffix in ("jsonl", "csv"):
        done = cd.export(pictures, tmp_path / f"t.{suffix}")
        assert done.left_out == ("image",)

    lines = (tmp_path / "t.jsonl").read_text(encoding="utf-8").split("\n")
    assert len(lines) == NUM + 1
    records = [json.loads(line) for line in lines[:-1]]
    assert [{name: record[name] for name in VALUES} for record in records] == python_rows(
        pictures.to_table(), [*VALUES]
    )
    assert not any(len(line.splitlines()) > 1 for line in lines)  # no reader of lines is misled

    text = (tmp_path / "t.csv").read_text(encoding="utf-8")
    read = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [row["text"] for row in read] == [text or "" for text in TEXTS]
    assert [json.loads(row["captions"]) for row in read[1:]] == pictures.to_table(["captions"])["captions"].to_pylist()[
        1:
    ]
    assert [np.float32(row["score"]) for row in read] == pictures.to_table(["score"])["score"].to_pylist()
    assert [float(row["share"]) if row["share"] else None for row in read] == VALUES["share"].to_pylist()
    told_apart = f"read_csv('{tmp_path}/t.csv', allow_quoted_nulls = false)"
    told = duckdb.sql(f"SELECT count(*) FILTER (text IS NULL), count(*) FILTER (text = '') FROM {told_apart}")
    assert told.fetchall() == [(1, 1)]  # a null is not an empty text
    assert done.notes == {"texts that begin with = + - or @, which a spreadsheet takes for formulas": 2}

    for suffix, extra in (("jsonl", {}), ("csv", {"lists": ["captions"]})):
        back = ingest.from_parquet(tmp_path / f"t.{suffix}", into=tmp_path / f"{suffix}.lance", **extra).table
        # What a CSV holds comes in as texts, but for the lists that are named.
        same = ["captions", "split", *(["text", "number", "share", "flag"] if suffix == "jsonl" else [])]
        assert sorted_rows(back.to_table(["sha256", *same]), same) == known(pictures, same), suffix


def test_numbers_that_json_has_no_word_for_are_null_and_said(tmp_path: Path) -> None:
    table = rows.create_table(
        tmp_path / "t.lance",
        pa.schema([key_field("path"), pa.field("x", pa.float64()), pa.field("v", pa.list_(pa.float32()))]),
    )
    rows.upsert(table, pa.table({"path": ["a", "b", "c"], "x": [1.5, float("nan"), float("inf")],
                                 "v": pa.array([[1.0, float("nan")], None, []], pa.list_(pa.float32()))}))  # fmt: skip
    done = cd.export(table.uri, tmp_path / "t.jsonl")
    read = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()]
    assert [(row["x"], row["v"]) for row in read] == [(1.5, [1.0, None]), (None, None), (None, [])]
    assert list(done.notes.values()) == [3]


def test_excel_gets_its_mark_and_a_tsv_its_tabs(tmp_path: Path) -> None:
    table = number_table(tmp_path, 3)
    cd.export(table, tmp_path / "t.csv", bom=True, columns=["number", "text"])
    cd.export(table, tmp_path / "t.tsv", columns=["text", "number"])
    assert (tmp_path / "t.csv").read_bytes() == b'\xef\xbb\xbf"number","text"\n0,"text 0"\n1,"text 1"\n2,"text 2"\n'
    assert (tmp_path / "t.tsv").read_text() == '"text"\t"number"\n"text 0"\t0\n"text 1"\t1\n"text 2"\t2\n'


def test_a_folder_of_pictures_holds_each_once_under_a_name_that_is_safe_everywhere(
    pictures: cd.Table, tmp_path: Path
) -> None:
    done = cd.export(pictures, tmp_path / "out", format="folder")

    told = [json.loads(line) for line in (tmp_path / "out" / "metadata.jsonl").read_text(encoding="utf-8").splitlines()]
    names = [row["file_name"] for row in told]
    assert done.num_rows == len({name.casefold() for name in names}) == NUM
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted([*names, "metadata.jsonl", RECORD])
    for row in told:
        data = (tmp_path / "out" / row["file_name"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == row["sha256"]
        assert not row["file_name"].startswith((".", "__"))
        assert len(row["file_name"].encode()) < 200
    assert [row["filename"] for row in told] == NAMES
    assert [row["text"] for row in told] == TEXTS
    assert names[0] == "a.jpg" or names[0].startswith("a.png")
    assert "三张" in names[9]


def test_load_dataset_finds_every_picture_of_a_folder_whatever_it_was_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hugging Face's reader takes some names for something else, and then fails for the whole folder."""
    import datasets

    monkeypatch.setenv("HELLO", "hi")
    called = ["$HELLO", "${HELLO}", "a$HELLO", "$", "~", "~root", "%HELLO%", "%20", "[a]", "a[0-9]", "[!a]", "{a,b}",
              "{", "a#b", "a::b", "zip:__a", "!x", "a?b", "a*b", "**", "train-00000-of-00001", "data-00000-of-00001",
              "a;b", "metadata", "state", "-x", "`x`"]  # fmt: skip
    held = [encoded(n, ".png", 6, 8) for n in range(len(called))]
    table = rows.create_table(tmp_path / "t.lance", pa.schema(IMAGE_FIELDS))
    values = {"path": [f"{n:02d}" for n in range(len(called))], "filename": [f"{name}.png" for name in called]}
    rows.upsert(table, pa.table({**values, "image": pa.array(held, pa.large_binary())}))

    cd.export(open_table(table.uri), tmp_path / "out", format="folder")
    read = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert sorted(row["filename"] for row in read["train"]) == sorted(values["filename"])
    assert len(read) == 1


def test_splits_become_folders_when_they_are_asked_for(pictures: cd.Table, tmp_path: Path) -> None:
    cd.export(pictures, tmp_path / "out", format="folder", split_column="split", columns=["image", "split", "number"])
    counts = {
        path.parent.name: len(path.read_text().splitlines())
        for path in sorted((tmp_path / "out").rglob("metadata.jsonl"))
    }
    assert counts == {"test": 3, "train": 9}
    with pytest.raises(SchemaError, match="names of splits"):
        cd.export(pictures, tmp_path / "no", format="folder", split_column="number")
    with pytest.raises(SchemaError, match="looks for: train"):
        cd.export(pictures, tmp_path / "no", format="folder", split_column="text")
    assert not list(tmp_path.glob("*no*"))


def test_a_lance_copy_needs_nobody_elses_files_and_keeps_the_lineage(pictures: cd.Table, tmp_path: Path) -> None:
    table = pictures.pinned()

    @cd.step(reads="number", returns="int64")
    def half(number: int) -> int:
        return number // 2

    cd.map_column(table, half, "half")
    done = cd.export(table, tmp_path / "copy.lance", where="number IS NOT NULL")

    copy = cd.open_table(tmp_path / "copy.lance")
    assert (done.num_rows, copy.num_rows, copy.key) == (9, 9, "path")
    assert copy.lineage("half") == table.lineage("half")
    assert copy.count_nulls("half") == 0
    held = copy.to_table(["image", "sha256"])
    assert [hashlib.sha256(d).hexdigest() for d in held["image"].to_pylist()] == held["sha256"].to_pylist()
    assert cd.log(copy)[-1].properties.verb == "export"  # type: ignore[union-attr]
    with pytest.raises(UsageError, match="table already"):
        cd.export(table, tmp_path / "copy.lance")
    cd.export(table, tmp_path / "copy.lance", overwrite=True, columns=["path", "half"])
    assert cd.open_table(tmp_path / "copy.lance").schema.names == ["path", "half"]
    assert copy.latest().pinned(copy.version).num_rows == 9


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "csv", "folder", "lance", "shards"])
def test_some_rows_only_are_the_same_rows_in_every_format(pictures: cd.Table, tmp_path: Path, kind: str) -> None:
    columns = None if kind in ("shards", "folder", "lance") else ["path", "number"]
    chosen = {"where": "number IS NOT NULL", "sample": 4, "seed": 7}
    told = cd.export(pictures, tmp_path / "x", format=kind, columns=columns, dry_run=True, **chosen)
    assert not list(tmp_path.iterdir())
    done = cd.export(pictures, tmp_path / "x", format=kind, columns=columns, **chosen)
    assert told.num_rows == done.num_rows == 4
    assert 0.2 < told.num_bytes / done.num_bytes < 5 or kind in ("lance", "parquet")
    first = cd.export(pictures, tmp_path / "y", format=kind, columns=columns, where="flag", limit=2)
    assert first.num_rows == 2


def test_pictures_that_cannot_be_had_are_left_out_and_counted(tmp_path: Path) -> None:
    (tmp_path / "here.png").write_bytes(encoded(1, ".png"))
    table = rows.create_table(tmp_path / "t.lance", pa.schema(IMAGE_FIELDS))
    uris = [str(tmp_path / "here.png"), str(tmp_path / "gone.png"), None, None]
    held = pa.array([None, None, None, b"no picture"], pa.large_binary())
    rows.upsert(table, pa.table({"path": list("abcd"), "uri": uris, "image": held}))
    table = open_table(table.uri)

    whole = cd.export(table, tmp_path / "t.parquet")
    assert (whole.num_rows, whole.refused) == (3, {"missing": 1})
    assert [one is None for one in pq.read_table(tmp_path / "t.parquet")["image"].to_pylist()] == [False, True, False]
    folder = cd.export(table, tmp_path / "out", format="folder")
    assert folder.num_rows == 1
    assert folder.refused == {"missing": 1, NO_PICTURE: 1, "what the row holds is no picture": 1}
    assert cd.export(table, tmp_path / "x.jsonl").num_rows == 4
    for kind in ("folder", "shards"):
        none = cd.export(table, tmp_path / "none", format=kind, where="path != 'a'")
        assert (none.num_rows, none.num_refused, none.num_files) == (0, 3, 0)
        assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "folder", "lance"])
def test_whoever_is_killed_leaves_nothing_that_looks_whole(
    pictures: cd.Table, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "deep" / "out"
    batches = cd.exports.selection.Selection.batches

    def dying(self: Any, offsets: Any = None) -> Any:
        for batch in batches(self, offsets):
            yield batch.slice(0, 5)
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cd.exports.selection.Selection, "batches", dying)
        with pytest.raises(KeyboardInterrupt):
            cd.export(pictures, out, format=kind, columns=["path", "image", "number"] if kind != "jsonl" else None)
    assert not out.exists() or kind == "lance"
    assert not out.parent.exists() or kind == "lance"
    out.parent.mkdir(exist_ok=True)
    (out.parent / ".out.part" / "old").mkdir(
        parents=True
    ) if kind == "folder" else None  # of one who was killed for good
    assert cd.export(pictures, out, format=kind).num_rows == NUM
    assert not list(out.parent.rglob("*.part"))
    assert not list(out.parent.rglob("old"))


@pytest.mark.parametrize("kind", ["parquet", "csv", "folder", "shards", "lance"])
def test_what_is_there_is_replaced_on_request_only_and_never_what_is_not_ours(
    pictures: cd.Table, tmp_path: Path, kind: str
) -> None:
    out = tmp_path / "out"
    cd.export(pictures, out, format=kind, limit=3)
    with pytest.raises(UsageError, match=r"there already|holds an(other)? export|table already"):
        cd.export(pictures, out, format=kind, limit=4)
    assert cd.export(pictures, out, format=kind, limit=4, overwrite=True).num_rows == 4

    thesis = tmp_path / "mine" / "thesis.txt"
    thesis.parent.mkdir()
    thesis.write_text("years of work")
    with pytest.raises(UsageError, match=r"not empty|is a folder|holds other files"):
        cd.export(pictures, thesis.parent, format=kind, overwrite=True)
    if kind in ("folder", "shards"):
        with pytest.raises((UsageError, OSError)):
            cd.export(pictures, thesis, format=kind, overwrite=True)
    assert thesis.read_text() == "years of work"


@pytest.mark.parametrize(
    ("out", "arguments", "error", "said"),
    [
        ("x.docx", {}, UsageError, "nothing tells the format"),
        ("x", {"format": "xml"}, UsageError, "no format 'xml'"),
        ("x.csv", {"columns": ["path", "image"]}, SchemaError, "csv cannot hold 'image'.*holds bytes"),
        ("x.jsonl", {"columns": ["image"]}, SchemaError, "jsonl cannot hold"),
        ("x.csv", {"columns": ["pathh"]}, SchemaError, "did you mean path"),
        ("x.csv", {"columns": []}, UsageError, "columns are none"),
        ("", {"format": "lance", "overwrite": True}, UsageError, "the table itself"),
        ("x.csv", {"columns": ["path", "path"]}, UsageError, "each once"),
        ("x.csv", {"where": "nope = 1"}, SchemaError, "nope"),
        ("x.csv", {"limit": 0}, UsageError, "limit is 0"),
        ("x.csv", {"limit": 1, "sample": 1}, UsageError, "one of them"),
        ("x.csv", {"rows_per_shard": 5}, UsageError, "rows_per_shard belongs to shards"),
        ("x.parquet", {"bom": True}, UsageError, "bom belongs to csv and tsv"),
        ("x", {"format": "folder", "columns": ["path"]}, SchemaError, "wants the column of pictures"),
        ("x", {"format": "folder", "split_column": "nope"}, SchemaError, "'nope' is not there"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_leaves_nothing(
    pictures: cd.Table, tmp_path: Path, out: str, arguments: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        cd.export(pictures, tmp_path / out if out else pictures.uri, **arguments)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("suffix", ["parquet", "csv", "tsv", "jsonl"])
def test_an_answer_to_a_query_is_written_batch_by_batch(tmp_path: Path, suffix: str) -> None:
    table = number_table(tmp_path, 300, rows_per_write=100)
    out = tmp_path / f"answer.{suffix}"
    done = cd.export_query(
        table, "SELECT number * 2 AS twice, text FROM dataset WHERE number >= 10 ORDER BY number", out, limit=250
    )
    assert (done.num_rows, done.columns) == (250, ("twice", "text"))
    read = duckdb.sql(f"SELECT twice FROM '{out}' LIMIT 3").fetchall()
    assert read == [(20,), (22,), (24,)]
    with pytest.raises(UsageError, match="there already"):
        cd.export_query(table, "SELECT 1 AS one", out)
    none = cd.export_query(table, "SELECT path FROM dataset WHERE number < 0", out, overwrite=True)
    assert (none.num_rows, out.exists()) == (0, True)
    before = out.read_bytes()
    with pytest.raises(UsageError, match="expected one SELECT"):
        cd.export_query(table, "DROP TABLE dataset", out, overwrite=True)
    with pytest.raises(SchemaError, match="nope"):
        cd.export_query(table, "SELECT nope FROM dataset", out, overwrite=True)
    assert out.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [out.name, "t.lance"]


def test_an_answer_of_bytes_goes_to_parquet_alone(tmp_path: Path) -> None:
    table = number_table(tmp_path, 3)
    for out, said in (("a.csv", "csv cannot hold 'b'"), ("a.lance", "goes to a file that"), ("a", "goes to a file")):
        with pytest.raises(UsageError, match=said):
            cd.export_query(table, "SELECT arrow_cast(text, 'Binary') AS b FROM dataset", tmp_path / out)
    cd.export_query(table, "SELECT arrow_cast(text, 'Binary') AS b FROM dataset", tmp_path / "a.parquet")
    assert pq.read_table(tmp_path / "a.parquet").column("b").to_pylist() == [b"text 0", b"text 1", b"text 2"]
