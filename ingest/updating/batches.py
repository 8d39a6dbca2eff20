"""Batches: records gathered into batches of bounded size, and batches into what is written at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from clipdata.errors import ClipdataError, TransientError
from clipdata.lance_io.rows import ROWS_PER_FRAGMENT
from clipdata.schema import align
from ingest.updating.source import BrokenFile, Refuse, Reject

BATCH_ROWS = 256
BATCH_BYTES = 32 << 20
UNIT_ROWS = ROWS_PER_FRAGMENT
UNIT_BYTES = 128 << 20
UNIT_S = 20.0
_PART_OF_TABLE = 32


def unit_rows(num_rows: int) -> int:
    """Rows that are written at once into a table of so many.

    Each unit is joined with all keys of the table. Units of one size would make a table's time grow with the square of
    its rows; as a part of the table, each row is joined with as many others whatever the size.
    """
    return max(UNIT_ROWS, num_rows // _PART_OF_TABLE)


def is_small(num_rows: int, table_rows: int) -> bool:
    """Whether a unit is so small beside its table that a commit for it alone would be too many."""
    return num_rows * _PART_OF_TABLE < table_rows


def batch_of(records: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.RecordBatch:
    """Make a batch of rows given as mappings; columns that a row lacks are null."""
    arrays = [pa.array([record.get(column.name) for record in records], column.type) for column in schema]
    return align(pa.table(arrays, names=schema.names), schema).combine_chunks().to_batches()[0]


def batches_of(
    outcomes: Iterable[Mapping[str, Any] | Reject], schema: pa.Schema, refuse: Refuse
) -> Iterator[pa.RecordBatch]:
    """Gather records into batches, bounded by rows and by bytes of their images; refusals go to `refuse`.

    Raises:
        BrokenFile, ClipdataError: of `outcomes`, after the rows that came before it.
    """
    records: list[Mapping[str, Any]] = []
    size = 0
    try:
        for outcome in outcomes:
            if isinstance(outcome, Reject):
                refuse(outcome)
                continue
            records.append(outcome)
            size += len(outcome.get("image") or b"")
            if len(records) >= BATCH_ROWS or size >= BATCH_BYTES:
                yield batch_of(records, schema)
                records, size = [], 0
    except (BrokenFile, ClipdataError):
        if records:
            yield batch_of(records, schema)
        raise
    if records:
        yield batch_of(records, schema)


class Unit:
    """Rows that are to be written at once: bounded by rows, bytes and time.

    Args:
        table_rows: how many rows the table has when it is asked.
    """

    def __init__(self, table_rows: Callable[[], int]) -> None:
        self._table_rows = table_rows
        self._most_rows = unit_rows(table_rows())
        self._batches: list[pa.RecordBatch] = []
        self._num_rows = self._num_bytes = 0
        self._began_s = time.monotonic()

    @property
    def is_full(self) -> bool:
        """Whether it is time to write."""
        is_late = time.monotonic() - self._began_s > UNIT_S
        return self._num_rows >= self._most_rows or self._num_bytes >= UNIT_BYTES or is_late

    def add(self, batch: pa.RecordBatch) -> None:
        """Take in a batch."""
        self._batches.append(batch)
        self._num_rows += batch.num_rows
        self._num_bytes += batch.nbytes

    def take(self) -> pa.Table | None:
        """All rows taken in since the last time, or None when there are none."""
        batches, self._batches = self._batches, []
        self._most_rows = unit_rows(self._table_rows())
        self._num_rows = self._num_bytes = 0
        self._began_s = time.monotonic()
        return pa.Table.from_batches(batches) if batches else None


def units(batches: Iterable[pa.RecordBatch], table_rows: Callable[[], int]) -> Iterator[pa.Table]:
    """Gather batches into what is written at once.

    Args:
        table_rows: how many rows the table has when it is asked.

    Raises:
        TransientError: of `batches`, after the rows that came before it.
    """
    unit = Unit(table_rows)
    try:
        for batch in batches:
            unit.add(batch)
            if unit.is_full and (whole := unit.take()) is not None:
                yield whole
    except TransientError:
        if (whole := unit.take()) is not None:
            yield whole
        raise
    if (whole := unit.take()) is not None:
        yield whole
