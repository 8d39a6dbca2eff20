"""Reading ahead: a source is read in a thread beside the writing of what it gave before, within a bound of bytes.

So a store is asked for the next rows while the table takes in the last ones. Rows and refusals come in the order in
which the source gave them, and in the caller's thread. It knows sources, and nothing of tables.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import pyarrow as pa

from clipdata.prefetch import pushed
from ingest.updating.source import BrokenFile, FileSource, Item, Refuse, Reject, RowSource

AHEAD_BYTES = 64 << 20
_ENTRY_BYTES = 1 << 10  # what an entry costs beside its data
_LAST_WAIT_S = 10.0

Entry: TypeAlias = pa.RecordBatch | Reject


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a file.

    Args:
        broken: why it could not be read to its end, or None.
    """

    broken: BrokenFile | None = None


def read_ahead(
    source: RowSource, items: Iterable[Item], *, max_bytes: int = AHEAD_BYTES
) -> Generator[Entry, None, None]:
    """Yield what a source gives for its items: rows and refusals. Closing the generator ends the reading.

    Args:
        source: read in a thread of its own.
        items: all that is to be read.
        max_bytes: most bytes read and not yet taken, one batch aside.

    Raises:
        Whatever the source raised, after all that it gave before.
    """

    def produce(put: Callable[[Entry], None]) -> None:
        for batch in source.read(items, put):
            put(batch)

    return pushed(produce, max_items=None, cost=_cost, max_cost=max_bytes, last_wait_s=_LAST_WAIT_S)


def read_files_ahead(
    source: FileSource, items: Iterable[Item], *, max_bytes: int = AHEAD_BYTES
) -> Generator[tuple[Item, Entry | Ended], None, None]:
    """Yield what a source gives for its files, one after the other: rows, refusals, and the end of each.

    Raises:
        Whatever the source raised beside `BrokenFile`, after all that it gave before.
    """

    def produce(put: Callable[[tuple[Item, Entry | Ended]], None]) -> None:
        for item in items:
            put((item, _read_file(source, item, put)))

    return pushed(
        produce, max_items=None, cost=lambda entry: _cost(entry[1]), max_cost=max_bytes, last_wait_s=_LAST_WAIT_S
    )


def _read_file(source: FileSource, item: Item, put: Callable[[tuple[Item, Entry | Ended]], None]) -> Ended:
    try:
        for batch in source.read_file(item, lambda reject: put((item, reject))):
            put((item, batch))
    except BrokenFile as broken:
        return Ended(broken)
    return Ended()


def rows_of(entries: Iterable[Entry], refuse: Refuse, advance: Callable[[int], None]) -> Iterator[pa.RecordBatch]:
    """Hand out the rows among entries; refusals go to `refuse`, and `advance` is told how many items are done."""
    for entry in entries:
        if isinstance(entry, Reject):
            refuse(entry)
            advance(1)
        else:
            advance(entry.num_rows)
            yield entry


def _cost(entry: Entry | Ended) -> int:
    return _ENTRY_BYTES + (int(entry.nbytes) if isinstance(entry, pa.RecordBatch) else 0)
