"""Rows: those of one version of a table that a stream visits, and what a column holds of them, in their order.

It knows tables; it must not know in which order rows are visited.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from clipdata.arguments import check_condition, check_offsets
from clipdata.lance_io.table import Table
from clipdata.stream.selection import Selection

VALUES_AT_ONCE = 65_536


@dataclass(frozen=True)
class Rows:
    """See the module.

    Args:
        table: pinned to a version.
        selection: which of its rows.
        where: the SQL condition that found them, or that words messages.
        digest: of rows that were given; None for those that a condition finds.
    """

    table: Table
    selection: Selection
    where: str | None = None
    digest: str | None = None

    def __len__(self) -> int:
        return len(self.selection)

    @property
    def name(self) -> str:
        """What tells them from other rows of the same version."""
        return f"{self.where!r} {self.digest}"

    @classmethod
    def of(cls, table: Table, where: str | None, given: Sequence[int] | np.ndarray | None) -> Rows:
        """The rows that meet a condition, all, or those that are given.

        Raises:
            UsageError: given ones are no offsets of the table, or one comes twice.
        """
        check_condition(where)
        num_rows = table.num_rows
        if given is not None:
            selection = Selection.given(check_offsets(given, num_rows, "rows"), num_rows)
            return cls(table, selection, where, selection.digest())
        if where is None:
            return cls(table, Selection(num_rows))
        return cls(table, Selection.found(table.offset_batches(where), num_rows), where)

    def values(self, column: str) -> Iterator[pa.Array | pa.ChunkedArray]:
        """Yield what a column holds of the rows, in their order, some at a time.

        Raises:
            SchemaError: there is no such column.
        """
        if self.digest is None:
            for batch in self.table.scan([column], where=self.where, batch_rows=VALUES_AT_ONCE):
                yield batch.column(0)
        else:
            for offsets in self.selection.batches(VALUES_AT_ONCE):
                yield self.table.take(offsets, [column]).column(0)
