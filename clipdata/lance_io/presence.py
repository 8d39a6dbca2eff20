"""Presence: how many rows have no value in a column, without reading the column where that can be known.

To test a wide column for null, Lance reads all of it. But a column that was never filled has no file in a fragment, and
a column file that map wrote says in its own footer how many rows it leaves out. Only what neither tells is read, in
small batches. It knows fragments, and not why a value is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from clipdata.lance_io.faults import translated
from clipdata.lance_io.table import Table
from clipdata.storage import join

if TYPE_CHECKING:
    import lance

MISSING = "clipdata.missing"
NARROW_BYTES = 64
_READ_BYTES = 16 << 20


def fixed_width(kind: pa.DataType) -> int:
    """Bytes that every value of a type takes, null or not; 0 where it depends on the value."""
    if pa.types.is_fixed_size_list(kind):
        return kind.list_size * max(fixed_width(kind.value_type), 1)
    if pa.types.is_struct(kind):
        return sum(fixed_width(member.type) for member in kind)
    try:
        return max(kind.bit_width // 8, 1)
    except ValueError:
        return 0


def count_missing(table: Table, fragment: Any, column: str, *, among: str | None = None) -> int:
    """Count the live rows of a fragment without a value in a column.

    Args:
        fragment: of the table's version.
        column: that may be wide.
        among: SQL condition of the rows that count; all by default.
    """
    kind = table.schema.field(column).type
    if not 0 < fixed_width(kind) <= NARROW_BYTES:
        files = files_of(table.dataset, fragment, (column,))
        if not files:
            return fragment.count_rows(among)
        if len(files) == 1 and _said_missing(table, files[0]) == 0:
            return 0
        terms = [f"`{column}` IS NULL", *([f"({among})"] if among else [])]
        return _count(table, fragment, " AND ".join(terms))
    return fragment.count_rows(f"`{column}` IS NULL" + (f" AND ({among})" if among else ""))


def _count(table: Table, fragment: Any, condition: str) -> int:
    with translated(table.uri, "counting rows of"):
        scanner = fragment.scanner(
            columns=[], filter=condition, with_row_address=True, batch_size_bytes=_READ_BYTES, batch_size=256,
            batch_readahead=2, io_buffer_size=4 * _READ_BYTES,
        )  # fmt: skip
        return sum(batch.num_rows for batch in scanner.to_batches())


def _said_missing(table: Table, file: str) -> int | None:
    """What a column file that map wrote says of the rows it leaves out; None for a file of another kind."""
    from lance.file import LanceFileReader

    options = table.storage.lance_options(table.uri) or None
    with translated(table.uri, "reading a column file of"):
        reader = LanceFileReader(join(table.uri, "data", file), storage_options=options)
        said = (reader.metadata().schema.metadata or {}).get(MISSING.encode())
    return int(said) if said is not None else None


def files_of(dataset: lance.LanceDataset, fragment: Any, names: Sequence[str]) -> list[str]:
    """Files that hold columns of a fragment; a column that was never filled has none."""
    wanted: set[int] = set()
    for column in dataset.lance_schema.fields():
        if column.name() in names:
            wanted |= _field_ids(column)
    return sorted(file.path for file in fragment.metadata.files if wanted & set(file.fields))


def _field_ids(column: Any) -> set[int]:
    return {column.id()}.union(*(_field_ids(child) for child in column.children()))
