"""Filters for rows that are no Lance table: their narrow columns are copied into one when the first filter comes.

So one language of filters holds for whatever is looked at. It knows Arrow and scratch tables, not where rows are from.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pyarrow as pa

from clipdata.column_names import is_readable
from clipdata.lance_io.scratch_table import ScratchTable
from clipdata.plain_types import plain_array, plain_type, settled
from clipdata.viewer.sources.picture_guess import is_narrow

BATCH_ROWS = 65_536


class Filterable:
    """Answers filters over rows of a schema.

    Args:
        schema: of the rows.
        read: all rows of columns.
    """

    def __init__(self, schema: pa.Schema, read: Callable[[list[str]], pa.Table]) -> None:
        self._names = [column.name for column in schema if is_narrow(column) and _fits(column.name)]
        self._read = read
        self._lock = threading.Lock()
        self._scratch: ScratchTable | None = None

    def positions(self, where: str) -> np.ndarray:
        """Positions of rows that meet a filter, uint32 [K], ascending."""
        with self._lock:
            if self._scratch is None:
                rows = _plain(self._read(self._names))
                self._scratch = ScratchTable(rows.schema, rows.to_batches(max_chunksize=BATCH_ROWS))
        return self._scratch.table.offsets(where).astype(np.uint32)


def _fits(name: str) -> bool:
    return is_readable(name) and "." not in name and "*" not in name


def _plain(rows: pa.Table) -> pa.Table:
    columns = {}
    for column in rows.schema:
        kind = settled(plain_type(column.type))
        columns[column.name] = plain_array(rows.column(column.name), kind)
    return pa.table(columns)
