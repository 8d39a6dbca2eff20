"""Reading a source beside the writing."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Literal

import pyarrow as pa
import pytest

from clipdata.errors import TransientError
from ingest.updating.batches import units
from ingest.updating.reading_ahead import read_ahead, rows_of
from ingest.updating.source import Item, Refuse, Reject

SCHEMA = pa.schema([pa.field("path", pa.string()), pa.field("data", pa.binary())])


class Numbers:
    """A source of rows of a kilobyte; every seventh is refused, and reading ends with `fault` if there is one."""

    origin, kind, key = "here", "numbers", "path"
    grain: Literal["row"] = "row"

    def __init__(self, fault: Exception | None = None) -> None:
        self.fault, self.num_read = fault, 0
        self.thread: threading.Thread | None = None

    def schema(self) -> pa.Schema:
        return SCHEMA

    def items(self) -> Iterator[Item]:
        return iter(items(100))

    def read(self, items: Iterable[Item], refuse: Refuse) -> Iterator[pa.RecordBatch]:
        self.thread = threading.current_thread()
        for item in items:
            self.num_read += 1
            if int(item.key) % 7 == 0:
                refuse(Reject(item.key, item.etag, "seventh"))
            else:
                yield pa.record_batch([[item.key], [bytes(1000)]], schema=SCHEMA)
        if self.fault:
            raise self.fault


def items(num: int) -> list[Item]:
    return [Item(str(number), "1", None, "here") for number in range(num)]


def keys(tables: Iterable[pa.Table]) -> list[list[str]]:
    return [table.column("path").to_pylist() for table in tables]


def test_rows_and_refusals_come_in_order_in_the_callers_thread() -> None:
    source = Numbers()
    seen: list[str] = []
    done: list[int] = []

    def refuse(reject: Reject) -> None:
        assert threading.current_thread() is not source.thread
        seen.append(reject.key)

    for batch in rows_of(read_ahead(source, items(20)), refuse, done.append):
        seen += batch.column("path").to_pylist()

    assert seen == [str(number) for number in range(20)]
    assert sum(done) == 20


def test_it_reads_no_further_ahead_than_the_bound() -> None:
    source = Numbers()
    ahead = read_ahead(source, items(1000), max_bytes=20_000)
    next(ahead)
    time.sleep(0.2)

    assert source.num_read < 25
    ahead.close()
    assert source.thread is not None
    assert not source.thread.is_alive()


def test_a_fault_of_the_source_comes_after_all_that_it_gave() -> None:
    ahead = read_ahead(Numbers(ValueError("torn")), items(10))

    given = list(islice(ahead, 10))

    assert len(given) == 10
    with pytest.raises(ValueError, match="torn"):
        next(ahead)


def nothing_yet() -> int:
    """Rows of a table that is not there."""
    return 0


def test_units_are_a_part_of_a_large_table(monkeypatch: pytest.MonkeyPatch) -> None:
    batches = [pa.record_batch([[str(number)], [b""]], schema=SCHEMA) for number in range(14)]
    monkeypatch.setattr("ingest.updating.batches.UNIT_ROWS", 2)
    table_rows = iter([32, 3 * 32, 6 * 32, 12 * 32, 14 * 32])

    written = units(batches, lambda: next(table_rows))

    assert [len(unit) for unit in keys(written)] == [2, 3, 6, 3]


def test_units_are_bounded_by_rows_bytes_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    batches = [pa.record_batch([[str(number)], [bytes(1000)]], schema=SCHEMA) for number in range(7)]
    monkeypatch.setattr("ingest.updating.batches.UNIT_ROWS", 3)
    assert keys(units(batches, nothing_yet)) == [["0", "1", "2"], ["3", "4", "5"], ["6"]]
    monkeypatch.setattr("ingest.updating.batches.UNIT_BYTES", 1500)
    assert [len(unit) for unit in keys(units(batches, nothing_yet))] == [2, 2, 2, 1]
    monkeypatch.setattr("ingest.updating.batches.UNIT_S", -1.0)
    assert [len(unit) for unit in keys(units(batches, nothing_yet))] == [1] * 7


def test_when_the_store_goes_down_what_came_before_is_a_last_unit() -> None:
    def batches() -> Iterator[pa.RecordBatch]:
        yield pa.record_batch([["0"], [b""]], schema=SCHEMA)
        raise TransientError("the store is down")

    given = units(batches(), nothing_yet)
    assert next(given).column("path").to_pylist() == ["0"]
    with pytest.raises(TransientError, match="the store is down"):
        next(given)
