"""A restored version is the old one in every respect, and everything goes on from it: ingest, merge, map."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lance
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import clipdata as cd
import ingest
from clipdata.errors import NotFoundError, UsageError
from clipdata.lance_io.history import properties_of
from tests.pictures import encoded
from tests.tables import append_numbers, number_table


def rows_of(table: cd.Table | str | Path) -> list[dict[str, Any]]:
    opened = cd.open_table(table.uri if isinstance(table, cd.Table) else table)
    names = [name for name in opened.schema.names if name not in ("mtime", "image_row", "image_table")]
    return sorted(opened.to_table(names).to_pylist(), key=lambda row: row[opened.key or names[0]])


def test_it_says_what_changes_first_and_nothing_is_lost(tmp_path: Path) -> None:
    table = number_table(tmp_path, 6, rows_per_write=3)
    old = table.pinned()
    append_numbers(table, 6, 8)
    cd.map_column(table, cd.step(reads="number", returns=pa.int64())(lambda number: 2 * number), "twice")
    table.dataset.delete("number = 1")
    newest = table.latest()
    whole = newest.to_table()

    told = cd.restore(table, old.version, dry_run=True)
    assert (told.rows_back, told.rows_gone, told.version, told.changes) == (1, 2, None, True)
    assert [(column.name, column.what) for column in told.columns] == [("twice", "removed")]
    assert cd.open_table(table.uri).version == newest.version
    done = cd.restore(table, old.version)

    assert table.version == done.version == newest.version + 1
    assert table.to_table().equals(old.to_table())
    assert table.schema.equals(old.schema, check_metadata=True)
    assert cd.open_table(table.uri, version=newest.version).to_table().equals(whole)
    assert [one.verb for one in done.undone] == ["Update", "map", "Delete"]
    said = properties_of(table)
    assert said is not None
    assert (said.verb, said.parameters, said.rows) == ("restore", {"to": old.version}, {"back": 1, "gone": 2})
    again = cd.restore(table, old.version)
    assert (again.changes, again.version) == (False, done.version)
    assert cd.restore(table, newest.version).rows_after == 7
    assert cd.open_table(table.uri).to_table().sort_by("path").equals(whole.sort_by("path"))


@pytest.mark.parametrize(
    ("version", "error"),
    [(99, NotFoundError), (-1, NotFoundError), (2**64, NotFoundError), ("raw", NotFoundError), (None, UsageError)],
)
def test_what_is_no_version_is_refused(tmp_path: Path, version: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        cd.restore(number_table(tmp_path, 2), version)


def test_what_files_gave_since_comes_back_with_the_next_ingest_and_with_it_what_they_say_now(tmp_path: Path) -> None:
    folder, uri = tmp_path / "in", tmp_path / "t.lance"
    folder.mkdir()

    def write(name: str, numbers: list[int], word: str) -> None:
        said = {"filename": [f"{n}.jpg" for n in numbers], "n": numbers, "text": [f"{word} {n}" for n in numbers]}
        pq.write_table(pa.table(said), folder / f"{name}.parquet")

    write("a", [1, 2, 3], "old")
    table = ingest.from_parquet(folder, into=uri).table
    first = table.version
    write("a", [1, 2, 3], "new")  # as many rows as before
    write("b", [7, 8], "new")
    wanted = rows_of(ingest.from_parquet(folder, into=uri).table)

    cd.restore(uri, first)
    assert len(rows_of(uri)) == 3
    foreseen = ingest.from_parquet(folder, into=uri, dry_run=True)
    done = ingest.from_parquet(folder, into=uri)

    assert (foreseen.read, done.read) == (2, 2)
    assert rows_of(uri) == wanted
    assert ingest.from_parquet(folder, into=uri).table.version == done.table.version
    # Not only after a restore: what took rows away may have been any tool.
    done.table.dataset.delete("n > 6")
    ingest.from_parquet(folder, into=uri)
    assert rows_of(uri) == wanted


def test_pictures_that_came_since_come_back_and_a_merge_and_a_map_fill_what_is_missing(tmp_path: Path) -> None:
    pictures, meta = tmp_path / "in", tmp_path / "meta.parquet"
    pictures.mkdir()

    def bring() -> cd.Table:
        images = ingest.from_images(pictures, into=tmp_path / "images.lance").table
        captions = ingest.from_parquet(meta, into=tmp_path / "meta.lance").table
        merged = ingest.merge(images.uri, captions.uri, into=tmp_path / "merged.lance")
        cd.map_column(merged, cd.step(returns=pa.int64(), version="1")(lambda caption: len(caption)), "letters")
        return merged

    def write(num: int, word: str) -> None:
        for number in range(num):
            (pictures / f"{number}.png").write_bytes(encoded(number + len(word), ".png", 8, 8))
        names = [f"{number}.png" for number in range(num)]
        pq.write_table(pa.table({"filename": names, "caption": [f"{word} {n}" for n in names]}), meta)

    write(3, "old")
    first = bring()
    images = cd.open_table(tmp_path / "images.lance").version
    write(5, "newer")
    wanted = rows_of(bring())
    assert len(wanted) == 5

    cd.restore(first.uri, first.version)
    assert [row["letters"] for row in rows_of(first)] == [9, 9, 9]
    assert rows_of(bring()) == wanted
    cd.restore(tmp_path / "images.lance", images)
    assert cd.open_table(first.uri).to_table(["image"]).column(0).null_count == 0, "it refers to a version of its own"
    assert rows_of(bring()) == wanted
    cd.restore(first.uri, first.version)
    cd.restore(tmp_path / "images.lance", images)
    assert rows_of(bring()) == wanted


def test_a_map_under_way_is_not_committed_to_a_version_that_it_did_not_read(tmp_path: Path) -> None:
    table = number_table(tmp_path, 6, rows_per_write=3)
    first = table.version
    uri, acted = table.uri, []

    @cd.step(returns=pa.int64(), version="1")
    def twice(number: int) -> int:
        if not acted:
            acted.append(cd.restore(uri, first))
        return 2 * number

    append_numbers(table, 6, 9)
    with pytest.raises(cd.ClipdataError, match="was dropped by another writer while 'twice' was filled"):
        cd.map_column(table, twice, "twice")

    assert cd.open_table(uri).schema.names == ["path", "number", "text"]
    cd.map_column(uri, twice, "twice")
    assert [row["twice"] for row in rows_of(uri)] == [0, 2, 4, 6, 8, 10]


def test_a_restore_reads_what_was_done_since_and_nothing_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = number_table(tmp_path, 3)
    for number in range(12):
        append_numbers(table, 100 + number, 101 + number)
    read, real = [], lance.LanceDataset.read_transaction

    def counted(self: Any, version: int) -> Any:
        read.append(version)
        return real(self, version)

    monkeypatch.setattr(lance.LanceDataset, "read_transaction", counted)
    newest = table.latest().version
    done = cd.restore(table, newest - 2)

    assert [one.version for one in done.undone] == [newest - 1, newest]
    assert set(read) <= {newest - 1, newest, newest + 1}
