"""Deleted: rows that were deleted by hand from a table, which a source does not bring back while they say the same.

A row is known by its key and by what tells its content: the etag, or for a row with a picture the picture's digest and
all else that it says, which stays when the file is touched or copied. In memory there are 16 bytes for each.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from clipdata.lance_io.deleted_rows import contents_of, deleted_rows
from clipdata.lance_io.table import Table
from clipdata.schema import align
from ingest.updating.digest_set import DigestSet

NOTE = "rows deleted by hand, and left out"


class Deleted:
    """Rows that were deleted, as a version of their table knows it.

    Args:
        table: pinned; None where there is none yet.

    Attributes:
        num_left_out: rows that a run left out because of it.
    """

    def __init__(self, table: Table | None) -> None:
        self._rows = DigestSet()
        self._schema = table.schema if table is not None else None
        self.num_left_out = 0
        for _, found in deleted_rows(table) if table is not None else ():
            keys, etags, contents = (found.column(name).to_pylist() for name in ("key", "etag", "content"))
            self._rows.add([_row(key, etag or key) for key, etag in zip(keys, etags, strict=True)])
            told = zip(keys, contents, strict=True)
            self._rows.add([_row(key, content) for key, content in told if content])

    def contains(self, keys: Sequence[str], contents: Sequence[str | None]) -> np.ndarray:
        """Tell of rows whether they were deleted with this content; bool [n].

        Args:
            contents: etags, or what `contents_of` tells; where nothing is known, None.
        """
        if not len(self._rows):
            return np.zeros(len(keys), np.bool_)
        found = self._rows.contains([_row(key, content or "") for key, content in zip(keys, contents, strict=True)])
        return found & np.fromiter(map(bool, contents), np.bool_, len(keys))

    def contents_of(self, unit: pa.Table) -> list[str | None]:
        """What rows of a source say beside their file, where their picture is told by a digest."""
        if self._schema is None or not len(self._rows):
            return [None] * unit.num_rows
        there = pa.schema([column for column in self._schema if column.name in unit.schema.names])
        return contents_of(align(unit.select(there.names), there), self._schema)


def _row(key: str, content: str) -> str:
    return f"{key}\x00{content}"
