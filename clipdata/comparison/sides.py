"""Sides: a column, or a column at a version or tag of its table, as one types it: `scores`, `scores@12`, `scores@best`.

Opens versions; reads no row.
"""

from __future__ import annotations

from clipdata.errors import UsageError
from clipdata.lance_io.table import Table, open_table
from clipdata.lance_io.version_numbers import version_named


def split_side(table: Table, side: str) -> tuple[str, int | str | None]:
    """The name of the column, and the version or tag after its last @; a column that is called so stands for itself."""
    name, at, version = side.rpartition("@")
    if not at or side in table.schema.names:
        return side, None
    if not name or not version:
        raise UsageError(
            f"compare: {side!r}; expected COLUMN@VERSION or COLUMN@TAG", hint="for example scores@12, or scores@best"
        )
    return name, version_named(version)


def open_sides(
    table: Table, table_before: Table | None, before: str, after: str
) -> tuple[Table, Table | None, str, str]:
    """The tables and columns of both sides, each at the version that its side names.

    Returns:
        table of the after side, that of the before side where it is another one or another version, and the columns.

    Raises:
        NotFoundError: there is no such version or tag.
        UsageError: a side is an @ without a column or a version.
    """
    other = table_before if table_before is not None else table
    before, version_before = split_side(other, before)
    after, version_after = split_side(table, after)
    other, table = _at(other, version_before), _at(table, version_after)
    same = (other.uri, other.version) == (table.uri, table.version)
    return table, None if same else other, before, after


def _at(table: Table, version: int | str | None) -> Table:
    return table if version is None else open_table(table.uri, version=version, storage=table.storage)
