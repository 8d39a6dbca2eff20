"""Rows that were deleted by hand stay away while they say the same, whoever gives them again."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import clipdata as cd
import ingest
from clipdata.errors import SchemaError, UsageError
from clipdata.lance_io import rows
from clipdata.lance_io.deleted_notes import notes_of
from clipdata.lance_io.history import log
from tests.pictures import write_pictures
from tests.tables import append_numbers, number_table


@cd.step(reads="filename", returns=pa.int64(), version="1")
def letters(filename: str) -> int:
    return len(filename)


def keys(table: cd.Table | Path, column: str = "path") -> list[str]:
    opened = cd.open_table(table.uri if isinstance(table, cd.Table) else table)
    return sorted(opened.to_table([column]).column(0).to_pylist())


def test_rows_go_by_one_commit_and_null_is_kept(tmp_path: Path) -> None:
    table = number_table(tmp_path, 9, rows_per_write=3)
    rows.upsert(table, pa.table({"path": ["z"], "number": pa.nulls(1, pa.int64()), "text": ["no number"]}))
    old = table.latest()

    told = cd.delete(table, "number >= 3 AND number <> 7", dry_run=True)
    assert (told.num_rows, told.num_unknown, told.rows_before, told.version) == (5, 1, 10, None)
    assert told.examples == ("000003", "000004", "000005", "000006", "000008")
    assert cd.open_table(table.uri).version == old.version
    done = cd.delete(table, "number >= 3 AND number <> 7")

    assert (done.num_rows, done.before, done.num_remembered) == (5, old.version, 5)
    assert keys(table) == ["000000", "000001", "000002", "000007", "z"]
    assert old.num_rows == 10
    entry = log(table)[-1]
    assert entry.properties is not None
    assert (entry.properties.verb, dict(entry.properties.rows)) == ("delete", {"deleted": 5})
    table.dataset.validate()
    again = cd.delete(table, "number >= 3 AND number <> 7")
    assert (again.num_rows, again.version) == (0, done.version)


def test_an_append_meanwhile_stays_and_a_kill_before_the_commit_deletes_nothing(tmp_path: Path) -> None:
    import lance

    table = number_table(tmp_path, 6, rows_per_write=3)
    commit = lance.LanceDataset.commit

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    def late(*args: object, **kwargs: object) -> object:
        append_numbers(table, 6, 8)
        return commit(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lance.LanceDataset, "commit", staticmethod(die))
        with pytest.raises(KeyboardInterrupt):
            cd.delete(table, "number > 3")
        assert cd.open_table(table.uri).num_rows == 6
        patch.setattr(lance.LanceDataset, "commit", staticmethod(late))
        assert cd.delete(table, "number > 3").num_rows == 2

    assert keys(table) == [f"{n:06d}" for n in (0, 1, 2, 3, 6, 7)]


def test_a_picture_comes_back_when_it_changes_and_not_when_it_is_touched(tmp_path: Path) -> None:
    folder, uri = tmp_path / "in", tmp_path / "t.lance"
    write_pictures(folder, 4)
    table = ingest.from_images(folder, into=uri).table
    cd.delete(table, "path IN ('0001.jpg', '0002.jpg')")
    left = table.version

    again = ingest.from_images(folder, into=uri)
    assert (again.table.version, again.notes["rows deleted by hand, and left out"][:1]) == (left, "2")
    (folder / "0001.jpg").touch()
    for _ in range(2):
        done = ingest.from_images(folder, into=uri)
        assert (done.table.version, keys(uri)) == (left, ["0000.jpg", "0003.jpg"])
    assert done.read == 0, "that it says the same is remembered"
    (folder / "0002.jpg").write_bytes((folder / "0003.jpg").read_bytes())
    ingest.from_images(folder, into=uri)
    assert keys(uri) == ["0000.jpg", "0002.jpg", "0003.jpg"]
    assert cd.delete(uri, forget_deleted=True).num_remembered == 2
    said = log(uri)[-1].properties
    assert said is not None
    assert (said.verb, said.rows) == ("delete", {"forgotten": 2}), "the log says so"
    ingest.from_images(folder, into=uri)
    assert keys(uri) == ["0000.jpg", "0001.jpg", "0002.jpg", "0003.jpg"]


@pytest.mark.parametrize("per", ["image", "caption"])
def test_what_is_written_beside_a_picture_is_content_too(tmp_path: Path, per: Literal["image", "caption"]) -> None:
    folder, uri, texts = tmp_path / "in", tmp_path / "t.lance", tmp_path / "captions.csv"
    write_pictures(folder, 3)
    texts.write_text("image,caption\n0000.jpg,a\n0001.jpg,b\n0002.jpg,c\n")
    table = ingest.from_captions(folder, texts, into=uri, rows=per).table
    cd.map_column(table, letters, "letters")
    cd.delete(table, "filename >= '0001.jpg'")
    texts.write_text("image,caption\n0000.jpg,a\n0001.jpg,b\n0002.jpg,another\n")
    for path in folder.iterdir():
        path.touch()
    for _ in range(2):
        done = ingest.from_captions(folder, texts, into=uri, rows=per)
        assert keys(uri, "filename") == ["0000.jpg", "0002.jpg"], "the one with another caption comes back"
        assert done.notes["rows deleted by hand, and left out"][:1] == "1"


def test_a_delete_that_is_undone_is_forgotten_with_all_that_came_after_it(tmp_path: Path) -> None:
    folder, uri = tmp_path / "in", tmp_path / "t.lance"
    write_pictures(folder, 2)
    table = ingest.from_images(folder, into=uri).table
    first = table.version
    write_pictures(folder, 2, first=2)
    ingest.from_images(folder, into=uri)
    cd.delete(uri, "path >= '0001.jpg'")
    assert len(notes_of(cd.open_table(uri))) == 1

    cd.restore(uri, first)
    ingest.from_images(folder, into=uri)

    assert keys(uri) == ["0000.jpg", "0001.jpg", "0002.jpg", "0003.jpg"]


def test_rows_of_a_file_that_changes_elsewhere_and_merged_rows_stay_away(tmp_path: Path) -> None:
    meta, uri = tmp_path / "meta.parquet", tmp_path / "meta.lance"
    write_pictures(tmp_path / "in", 3)
    names = [f"{number:04d}.jpg" for number in range(3)]

    def bring(captions: list[str]) -> cd.Table:
        pq.write_table(pa.table({"filename": names[: len(captions)], "caption": captions}), meta)
        images = ingest.from_images(tmp_path / "in", into=tmp_path / "images.lance").table
        ingest.from_parquet(meta, into=uri)
        return ingest.merge(images.uri, uri, into=tmp_path / "merged.lance", yes=True)

    merged = bring(["a", "b"])
    cd.delete(uri, "caption = 'a'")
    cd.delete(merged, "caption = 'b'")
    assert keys(bring(["a", "b"]), "caption") == []
    assert keys(uri, "caption") == ["b"]
    assert keys(bring(["a", "b", "c"]), "caption") == ["c"], "the file is read again, its old rows are not taken in"
    assert keys(uri, "caption") == ["b", "c"]
    report = ingest.merge_report(tmp_path / "images.lance", uri, into=merged.uri)
    assert any(note.startswith("rows deleted by hand, and left out: 1") for note in report.notes)
    assert keys(bring(["A", "B", "c"]), "caption") == ["A", "B", "c"], "with another content they are others"
    read = ingest.from_parquet(meta, into=uri)
    assert read.read == 0


@pytest.mark.parametrize(
    ("where", "error"),
    [
        ("nope = 1", SchemaError),
        ("", UsageError),
        (None, UsageError),
        ("number >", SchemaError),
        ("number > 0 AND Random () < 0.5", UsageError),  # it would delete other rows than it noted
    ],
)
def test_what_is_no_condition_is_refused(tmp_path: Path, where: str | None, error: type[Exception]) -> None:
    table = number_table(tmp_path, 2)
    with pytest.raises(error):
        cd.delete(table, where)
    assert cd.open_table(table.uri).version == table.version
