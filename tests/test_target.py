"""The target of an ingest: what a source of files may give, and what is held against it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pytest

import clipdata as cd
from clipdata.errors import TooManyRejectsError
from clipdata.schema import key_field
from clipdata.storage import Storage
from ingest.updating.digests import digest
from ingest.updating.job import ingest
from ingest.updating.source import BrokenFile, Item, Refuse, Reject

SCHEMA = pa.schema([key_field("row_key"), pa.field("text", pa.string())])


class Files:
    """A file for each list of rows: a key and a text, or a reason why there is none."""

    origin, kind, key = "here", "files", "row_key"
    grain: Literal["file"] = "file"
    storage = Storage()

    def __init__(self, *files: list[tuple[str, str | None]], broken: frozenset[int] = frozenset()) -> None:
        self.files, self.broken = files, broken
        self.options: Mapping[str, Any] = {}

    def schema(self) -> pa.Schema:
        return SCHEMA

    def notes(self) -> Mapping[str, Any]:
        return {}

    def covers(self, where: str) -> bool:
        return where.startswith("/nowhere/")

    def items(self) -> Iterator[Item]:
        for number, rows in enumerate(self.files):
            yield Item(f"{number}.x", digest(f"{rows}"), None, f"/nowhere/{number}.x")

    def read_file(self, item: Item, refuse: Refuse) -> Iterator[pa.RecordBatch]:
        number = int(item.key.removesuffix(".x"))
        for key, text in self.files[number]:
            if text is None:
                refuse(Reject(f"{item.key}#{key}", item.etag, "null_key"))
            else:
                yield pa.record_batch([[key], [text]], schema=SCHEMA)
        if number in self.broken:
            raise BrokenFile("corrupt", "a page is damaged")


def texts(table: Path) -> dict[str, str]:
    return {row["row_key"]: row["text"] for row in cd.open_table(table).to_table(["row_key", "text"]).to_pylist()}


def test_the_second_row_of_a_key_in_one_file_is_refused_and_the_first_one_stays(tmp_path: Path) -> None:
    done = ingest(Files([("a", "first"), ("b", "x"), ("a", "second")]), tmp_path / "t.lance")
    assert texts(tmp_path / "t.lance") == {"a": "first", "b": "x"}
    assert done.refused == {"duplicate_key": 1}
    assert cd.open_table(tmp_path / "t.rejects.lance").to_table(["path"]).column(0).to_pylist() == ["a"]


def test_a_broken_file_gives_what_it_had_and_takes_nothing_away(tmp_path: Path) -> None:
    into = tmp_path / "t.lance"
    ingest(Files([("a", "1"), ("b", "2")], [("c", "3")]), into)
    done = ingest(Files([("a", "1"), ("d", "4")], [("c", "3"), ("e", "5")], broken=frozenset({0})), into)
    assert texts(into) == {"a": "1", "b": "2", "c": "3", "d": "4", "e": "5"}
    assert done.refused == {"corrupt": 1}
    mended = ingest(Files([("a", "1")], [("c", "3"), ("e", "5")]), into)
    assert texts(into) == {"a": "1", "c": "3", "e": "5"}
    assert (mended.unchanged, mended.written.deleted) == (1, 2)


def test_small_files_go_in_together(tmp_path: Path) -> None:
    done = ingest(Files(*[[(f"{number}", "x")] for number in range(200)]), tmp_path / "t.lance")
    assert (done.table.num_rows, done.table.version) == (200, 3)
    assert cd.open_table(tmp_path / "t.taken.lance").version == 2
    assert ingest(Files(*[[(f"{number}", "x")] for number in range(200)]), tmp_path / "t.lance").read == 0


def test_a_source_of_nothing_but_refusals_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.updating.receiver.MANY_REJECTS", 10_000)
    bomb = Files([(str(row), None) for row in range(15_000)], [("a", "never reached")])
    with pytest.raises(TooManyRejectsError, match="stopped there"):
        ingest(bomb, tmp_path / "t.lance")
    assert cd.open_table(tmp_path / "t.rejects.lance").version < 10
    allowed = ingest(bomb, tmp_path / "u.lance", max_rejects=20_000)
    assert (allowed.num_refused, texts(tmp_path / "u.lance")) == (15_000, {"a": "never reached"})


@pytest.mark.parametrize(("bound", "raises"), [(2, True), (3, False), (0.5, True), (0.8, False)])
def test_refusals_are_held_to_a_number_or_a_share_in_every_run_alike(
    tmp_path: Path, bound: float, raises: bool
) -> None:
    source = Files([("a", "1"), *[(str(row), None) for row in range(3)]])
    for _ in range(2):
        if raises:
            with pytest.raises(TooManyRejectsError, match="3 rows were refused"):
                ingest(source, tmp_path / "t.lance", max_rejects=bound)
        else:
            ingest(source, tmp_path / "t.lance", max_rejects=bound)
        assert texts(tmp_path / "t.lance") == {"a": "1"}
