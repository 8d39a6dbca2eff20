"""Column files: one column of one fragment, written part by part in the order of the fragment's rows.

Memory is a few batches, whatever the width of the column. A file is not visible before it is committed
(`replacement.py`). It knows Arrow and Lance files, and not where the values come from.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from clipdata.disk import sync
from clipdata.lance_io.faults import translated, with_retries
from clipdata.lance_io.presence import MISSING, NARROW_BYTES, Runs, fixed_width
from clipdata.lance_io.table import Table
from clipdata.storage import is_remote, join

Chunk = tuple[np.ndarray, pa.Array]
"""Ascending int64 places [n] in a fragment, and the values [n] there."""

NULLS_BYTES = 16 << 20  # rows without a value take space too where every value has the same width
_FEW_RUNS = 64


def write_column(
    table: Table, column: pa.Field, fragment: Any, sources: Callable[[], Sequence[Iterable[Chunk]]]
) -> str:
    """Write a column file and return its name.

    Args:
        column: name and type.
        fragment: the file gets a row for each of its physical rows, deleted ones included.
        sources: gives the values, each source ascending in place and no place in two of them; called anew when the
            storage failed. Places that no source names are null.
    """
    from lance.file import LanceFileWriter

    name = f"{uuid.uuid4()}.lance"
    schema = pa.schema([pa.field(column.name, column.type)])
    options = table.storage.lance_options(table.uri) or None

    def attempt() -> None:
        version = table.dataset.data_storage_version
        target = join(table.uri, "data", name)
        missing, position = Runs(), 0
        with LanceFileWriter(target, schema=schema, version=version, storage_options=options) as writer:
            for values in in_order(column.type, fragment.physical_rows, sources()):
                if values.null_count:
                    missing.add(position + np.flatnonzero(values.is_null().to_numpy(zero_copy_only=False)))
                position += len(values)
                writer.write_batch(pa.record_batch([values], schema=schema))
            if (said := missing.to_json()) is not None:
                writer.add_schema_metadata(MISSING, said)

    with translated(table.uri, "writing a column file of"):
        with_retries(attempt)
        if not is_remote(table.uri):
            sync(table.storage.filesystem(join(table.uri, "data", name))[1])
    return name


def in_order(kind: pa.DataType, num_rows: int, sources: Sequence[Iterable[Chunk]]) -> Iterator[pa.Array]:
    """Yield the values of rows 0 … num_rows − 1 in arrays that follow each other, null where no source has one."""
    heads = [_Head(source) for source in sources]
    widest = max(NULLS_BYTES // max(fixed_width(kind), 1), 1)
    position = 0
    while position < num_rows:
        stop = min(position + widest, num_rows, *(head.stop for head in heads))
        yield _window(kind, position, stop, [piece for head in heads if len((piece := head.take(stop))[0])])
        position = stop


class _Head:
    """The chunk of a source that comes next."""

    def __init__(self, source: Iterable[Chunk]) -> None:
        self._chunks = iter(source)
        self._places: np.ndarray = np.empty(0, np.int64)
        self._values: pa.Array = pa.nulls(0)
        self._advance()

    @property
    def stop(self) -> int:
        """Place after the last of the chunk; beyond all places when the source is at its end."""
        return int(self._places[-1]) + 1 if len(self._places) else np.iinfo(np.int64).max

    def take(self, stop: int) -> Chunk:
        """Take what lies before a place that is no later than `self.stop`."""
        num = int(np.searchsorted(self._places, stop))
        taken = self._places[:num], self._values[:num]
        self._places, self._values = self._places[num:], self._values[num:]
        if num and not len(self._places):
            self._advance()
        return taken

    def _advance(self) -> None:
        at_end: Chunk = (np.empty(0, np.int64), pa.nulls(0))
        self._places, self._values = next((chunk for chunk in self._chunks if len(chunk[0])), at_end)


def _window(kind: pa.DataType, start: int, stop: int, pieces: Sequence[Chunk]) -> pa.Array:
    """Values of the rows from `start` to `stop`."""
    if not pieces:
        return pa.nulls(stop - start, kind)
    places, values = pieces[0] if len(pieces) == 1 else _joined(pieces)
    if len(places) == stop - start:
        return values
    ends = np.flatnonzero(np.diff(places, append=np.iinfo(np.int64).max) != 1) + 1
    if len(ends) > _FEW_RUNS and fixed_width(kind) <= NARROW_BYTES:
        source = np.full(stop - start, -1, np.int64)
        source[places - start] = np.arange(len(places))
        return values.take(pa.array(source, mask=source < 0))
    parts, position, first = [], start, 0
    for end in ends.tolist():
        if places[first] > position:
            parts.append(pa.nulls(int(places[first]) - position, kind))
        parts.append(values[first:end])
        position, first = int(places[end - 1]) + 1, end
    if position < stop:
        parts.append(pa.nulls(stop - position, kind))
    return pa.concat_arrays(parts)


def _joined(pieces: Sequence[Chunk]) -> Chunk:
    """Several sources' pieces of one window as one, in the order of their places."""
    places = np.concatenate([places for places, _ in pieces])
    values = pa.concat_arrays([values for _, values in pieces])
    order = np.argsort(places, kind="stable")
    places = places[order]
    cuts = np.flatnonzero(np.diff(order, append=-2) != 1) + 1
    if len(cuts) > _FEW_RUNS and fixed_width(values.type) <= NARROW_BYTES:
        return places, values.take(pa.array(order))
    starts = [0, *cuts[:-1].tolist()]
    runs = [values[int(order[a]) : int(order[b - 1]) + 1] for a, b in zip(starts, cuts.tolist(), strict=True)]
    return places, pa.concat_arrays(runs)
