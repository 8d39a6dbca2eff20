"""Filters for rows that are no Lance table: their narrow columns are copied into one when the first filter comes.

So one language of filters holds for whatever is looked at. It knows Arrow and scratch tables, not where rows are from.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pyarrow as pa

from clipdata.column_names import columns_named, is_readable
from clipdata.errors import UsageError
from clipdata.lance_io.scratch_table import ScratchTable
from clipdata.lance_io.selected_rows import names_in
from clipdata.plain_types import plain_array, plain_type, settled
from clipdata.schema import columns_listed, is_binary, is_picture_struct

BATCH_ROWS = 65_536


class Filterable:
    """Answers filters over rows of a schema.

    Args:
        schema: of the rows.
        read: all rows of columns.
    """

    def __init__(self, schema: pa.Schema, read: Callable[[list[str]], pa.Table]) -> None:
        self._names = [column.name for column in schema if _is_narrow(column) and _fits(column.name)]
        self._others = [column for column in schema if column.name not in self._names]
        self._read = read
        self._lock = threading.Lock()
        self._scratch: ScratchTable | None = None

    def positions(self, where: str) -> np.ndarray:
        """Positions of rows that meet a filter, uint32 [K], ascending.

        Raises:
            UsageError: it names a column that is not copied, or an @name, which rows of a table alone have.
            SchemaError: it is no filter on these columns.
        """
        if names := names_in(where):
            raise UsageError(
                f"there are no names such as @{names[0]} here: they are kept beside a Lance table",
                hint="take the rows in as one: clipdata ingest --help",
            )
        if named := columns_named(where, [column.name for column in self._others]):
            kind = next(column.type for column in self._others if column.name == named[0])
            is_bytes = is_binary(kind) or is_picture_struct(kind)
            what = "pictures or other bytes" if is_bytes else str(kind)
            raise UsageError(
                f"column {named[0]!r} holds {what}, and a filter of what is no Lance table can ask for texts, numbers, "
                f"times and lists alone: {columns_listed(list(self._names))}",
                hint="in a table every column can be asked for: clipdata ingest --help",
            )
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


def _is_narrow(column: pa.Field) -> bool:
    """Whether all of a column may be read at once to sort or count: it holds no bytes and no vectors."""
    kind = column.type
    if is_binary(kind) or is_picture_struct(kind):
        return False
    return not pa.types.is_fixed_size_list(kind)
