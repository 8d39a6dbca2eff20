"""Reading ahead: a source is read in a thread beside the writing of what it gave before, within a bound of bytes.

So a store is asked for the next rows while the table takes in the last ones. Rows and refusals come in the order in
which the source gave them, and in the caller's thread. It knows sources, and nothing of tables.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TypeAlias

import pyarrow as pa

from clipdata.errors import TransientError
from clipdata.lance_io.rows import ROWS_PER_FRAGMENT
from clipdata.prefetch import pushed
from ingest.updating.source import BrokenFile, Item, Refuse, Reject, Source

AHEAD_BYTES = 64 << 20
UNIT_ROWS = ROWS_PER_FRAGMENT
UNIT_BYTES = 128 << 20
UNIT_S = 20.0
_ENTRY_BYTES = 1 << 10  # what an entry costs beside its data
_LAST_WAIT_S = 10.0

Entry: TypeAlias = pa.RecordBatch | Reject


def read_ahead(source: Source, items: Iterable[Item], *, max_bytes: int = AHEAD_BYTES) -> Generator[Entry, None, None]:
    """Yield what a source gives for its items: rows and refusals. Closing the generator ends the reading.

    Args:
        source: read in a thread of its own.
        items: all that is to be read.
        max_bytes: most bytes read and not yet taken, one batch aside.

    Raises:
        Whatever the source raised, after all that it gave before.
    """

    def produce(put: Callable[[Entry], None]) -> None:
        if hasattr(source, "read_file"):
            for item in items:
                for batch in source.read_file(item, put):
                    put(batch)
            return
        for batch in source.read(items, put):
            put(batch)

    return pushed(produce, max_items=None, cost=_cost, max_cost=max_bytes, last_wait_s=_LAST_WAIT_S)


def rows_of(entries: Iterable[Entry], refuse: Refuse, advance: Callable[[int], None]) -> Iterator[pa.RecordBatch]:
    """Hand out the rows among entries; refusals go to `refuse`, and `advance` is told how many items are done."""
    for entry in entries:
        if isinstance(entry, Reject):
            refuse(entry)
            advance(1)
        else:
            advance(entry.num_rows)
            yield entry


def units(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Gather batches into what is written at once: bounded by rows, bytes and time.

    Raises:
        TransientError: of `batches`, after the rows that came before it.
    """
    gathered: list[pa.RecordBatch] = []
    size = num_rows = 0
    last_s = time.monotonic()
    try:
        for batch in batches:
            gathered.append(batch)
            size, num_rows = size + batch.nbytes, num_rows + batch.num_rows
            if num_rows >= UNIT_ROWS or size >= UNIT_BYTES or time.monotonic() - last_s > UNIT_S:
                yield pa.Table.from_batches(gathered)
                gathered, size, num_rows, last_s = [], 0, 0, time.monotonic()
    except (TransientError, BrokenFile):
        if num_rows:
            yield pa.Table.from_batches(gathered)
        raise
    if num_rows:
        yield pa.Table.from_batches(gathered)


def _cost(entry: Entry) -> int:
    return _ENTRY_BYTES + (0 if isinstance(entry, Reject) else int(entry.nbytes))
