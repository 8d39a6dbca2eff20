"""Evidence: what of each file a table holds, in a few bytes, so that no memory of a file is believed against the table.

A file counts as taken in only while the table has the very rows that it gave: their number, and the sum of the hashes
of their keys and contents. So whatever took them away or changed them, such as a version that was restored, or another
tool, the next ingest reads the file again. Rows that were deleted by hand count as if they were there.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipdata.lance_io.deleted_rows import deleted_rows
from clipdata.lance_io.table import Table
from clipdata.value_hashes import combined, hashes_of

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

    def of(self, source: str) -> str:
        """What there is of one file, as a text that can be kept."""
        count, total = self._of.get(source, (0, 0))
        return f"{count}:{total:016x}"

    def forget(self, source: str) -> None:
        """Begin anew with a file."""
        self._of.pop(source, None)

    def _add(self, source: str, count: int, total: int) -> None:
        before = self._of.get(source, (0, 0))
        self._of[source] = before[0] + count, (before[1] + total) % 2**64


def evidence_of(table: Table) -> Evidence:
    """What a version of a table holds of each file, with the rows that were deleted by hand."""
    found, schema = Evidence(), table.schema
    if "source" not in schema.names or table.key is None:
        return found
    gone = list(deleted_rows(table))
    gone_keys = [hashes_of(rows.column("key")) for rows in gone]
    is_back = [np.zeros(len(keys), np.bool_) for keys in gone_keys]
    order = [np.argsort(keys) for keys in gone_keys]
    for sources, keys, etags in _rows_of(table):
        found.add(sources, keys, etags)
        if gone:
            here = np.sort(hashes_of(keys))
            for there, flags, sort in zip(gone_keys, is_back, order, strict=True):
                _mark(there, sort, here, flags)
    for rows, flags in zip(gone, is_back, strict=True):
        left = rows.filter(pa.array(~flags)).combine_chunks()
        for batch in left.to_batches():
            found.add(batch.column("source"), batch.column("key"), batch.column("etag"))
    return found


def _mark(there: np.ndarray, order: np.ndarray, here: np.ndarray, flags: np.ndarray) -> None:
    """Mark the hashes that are among those of a batch."""
    first, last = np.searchsorted(there, here[[0, -1]], sorter=order) if len(here) else (0, 0)
    some = order[first : last + 1]
    if len(some):
        at = np.minimum(np.searchsorted(here, there[some]), len(here) - 1)
        flags[some] |= here[at] == there[some]


def _rows_of(table: Table) -> Iterator[tuple[pa.Array, pa.Array, pa.Array | None]]:
    """Sources, keys and etags of all rows, batch by batch."""
    names = [str(table.key), "source", *(["etag"] if "etag" in table.schema.names and table.key != "etag" else [])]
    for batch in table.scan(names, batch_rows=_SCANNED_ROWS):
        yield batch.column(1), batch.column(0), batch.column(2) if len(names) > 2 else None
