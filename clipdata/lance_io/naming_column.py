"""Naming column: the one by which the rows of a table that declares no key are told apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from clipdata.schema import is_text

if TYPE_CHECKING:
    from clipdata.lance_io.table import Table

USUAL = ("filename", "file_name", "image_id", "path", "id")
"""Columns that may tell rows apart where there is no key, the first that does."""


def naming_column(table: Table) -> str | None:
    """The key of a table, else the first of the usual columns that has another value in every row, else None."""
    if table.key is not None:
        return table.key
    return next((name for name in USUAL if _tells_rows_apart(table, name)), None)


def _tells_rows_apart(table: Table, name: str) -> bool:
    kind = table.schema.field(name).type if name in table.schema.names else None
    if kind is None or not (is_text(kind) or pa.types.is_integer(kind)):
        return False
    values = table.to_table([name]).column(0)
    return bool(values.null_count == 0 and pc.count_distinct(values).as_py() == len(values))
