"""Evidence: what of each file a table holds, in a few bytes, so that no memory of a file is believed against the table.

A file counts as taken in only while the table has the very rows that it gave: their number, and the sum of the hashes
of their keys and contents. So whatever took them away or changed them, such as a version that was restored, or another
tool, the next ingest reads the file again. Rows that were deleted by hand since count as if they were there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipdata.lance_io.deleted_notes import Note, notes_of
from clipdata.lance_io.deleted_rows import deleted_rows
from clipdata.lance_io.table import Table
from clipdata.value_hashes import combined, hashes_of
from ingest.updating.digests import digest
from ingest.updating.taken import TakenFile

_SCANNED_ROWS = 65_536


class Evidence:
    """Numbers of rows, and sums of their hashes, by the file that they came from."""

    def __init__(self) -> None:
        self._of: dict[str, tuple[int, int]] = {}

    def add(self, sources: pa.Array, keys: pa.Array, etags: pa.Array | None) -> None:
        """Add rows.

        Args:
            sources: keys of their files; rows without one are left out.
            keys: of the rows.
            etags: that tell their content; where there is none the key does.
        """
        contents = keys if etags is None else pc.coalesce(etags.cast(pa.string()), keys.cast(pa.string()))
        hash_N = combined([hashes_of(keys), hashes_of(contents)])
        named = sources.cast(pa.string()).dictionary_encode()
        code_N = named.indices.fill_null(len(named.dictionary)).to_numpy(zero_copy_only=False)
        order = np.argsort(code_N, kind="stable")
        start_S = np.flatnonzero(np.diff(code_N[order], prepend=-1))
        sum_S = np.add.reduceat(hash_N[order], start_S) if len(order) else hash_N[:0]
        count_S = np.diff(start_S, append=len(order))
        names = named.dictionary.to_pylist()
        for code, count, total in zip(code_N[order[start_S]], count_S, sum_S, strict=True):
            if code < len(names):
                self._add(names[code], int(count), int(total))

    def number_and_sum(self, source: str) -> tuple[int, int]:
        """What there is of one file."""
        return self._of.get(source, (0, 0))

    def forget(self, source: str) -> None:
        """Begin anew with a file."""
        self._of.pop(source, None)

    def _add(self, source: str, count: int, total: int) -> None:
        before = self._of.get(source, (0, 0))
        self._of[source] = before[0] + count, (before[1] + total) % 2**64


class Held:
    """What a version of a table holds of each file, and what was deleted of it by hand.

    Args:
        table: pinned.
    """

    def __init__(self, table: Table) -> None:
        self._rows, self._notes = Evidence(), notes_of(table)
        gone = list(deleted_rows(table))
        hashes = [hashes_of(rows.column("key")) for _, rows in gone]
        is_back = [np.zeros(len(keys), np.bool_) for keys in hashes]
        order = [np.argsort(keys) for keys in hashes]
        for sources, keys, etags in _rows_of(table):
            self._rows.add(sources, keys, etags)
            here = np.sort(hashes_of(keys)) if gone else None
            for there, sort, flags in zip(hashes, order, is_back, strict=True):
                _mark(there, sort, here, flags)
        self._deleted: list[tuple[int, Evidence]] = []
        for (note, rows), flags in zip(gone, is_back, strict=True):
            found = Evidence()
            for batch in rows.filter(pa.array(~flags)).combine_chunks().to_batches():
                found.add(batch.column("source"), batch.column("key"), batch.column("etag"))
            self._deleted.append((note.version, found))

    def bears_out(self, file: TakenFile) -> bool:
        """Whether the table holds what a file gave, but for what was deleted since."""
        count, total = self._rows.number_and_sum(file.key)
        for version, found in self._deleted:
            if version >= file.at:
                more = found.number_and_sum(file.key)
                count, total = count + more[0], (total + more[1]) % 2**64
        return told(count, total) == file.content and file.left_out in ("", left_out(self._notes, file.at))


def left_out(notes: Mapping[str, Note], at: int) -> str:
    """What stands for the deletes that a version of a table knows of, as a text that can be kept."""
    return digest(*sorted(name for name, note in notes.items() if note.version < at))


def told(count: int, total: int) -> str:
    """A number of rows and the sum of their hashes, as a text that can be kept."""
    return f"{count}:{total:016x}"


def _mark(there: np.ndarray, order: np.ndarray, here: np.ndarray | None, flags: np.ndarray) -> None:
    """Mark the hashes that are among those of a batch."""
    if here is None or not len(here):
        return
    first, last = np.searchsorted(there, here[[0, -1]], sorter=order)
    some = order[first : last + 1]
    if len(some):
        at = np.minimum(np.searchsorted(here, there[some]), len(here) - 1)
        flags[some] |= here[at] == there[some]


def _rows_of(table: Table) -> Iterator[tuple[pa.Array, pa.Array, pa.Array | None]]:
    """Sources, keys and etags of all rows, batch by batch."""
    if "source" not in table.schema.names or table.key is None:
        return
    names = [str(table.key), "source", *(["etag"] if "etag" in table.schema.names and table.key != "etag" else [])]
    for batch in table.scan(names, batch_rows=_SCANNED_ROWS):
        yield batch.column(1), batch.column(0), batch.column(2) if len(names) > 2 else None
