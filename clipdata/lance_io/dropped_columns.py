"""Dropped columns: what a source gave and was dropped by hand, remembered so that no source brings half of it back.

A source writes rows that are new or changed, and those alone; so a column that it brought back would be null for all
other rows. The names stand in the table's own metadata, and belong to a version as its columns do. A note is written
before its column goes, and nothing follows from a note for a column that is there. It must not know who asks.
"""

from __future__ import annotations

from collections.abc import Collection

from clipdata.lance_io.rows import set_table_metadata, table_metadata
from clipdata.lance_io.table import Table
from clipdata.lineage import Lineage

ENTRY = "clipdata.dropped."  # and a column's name: key of the table's metadata


def remember(table: Table, names: Collection[str]) -> None:
    """Note columns that are about to be dropped."""
    if names:
        set_table_metadata(table, {f"{ENTRY}{name}": str(table.version) for name in names})


def dropped_columns(table: Table) -> frozenset[str]:
    """Names of columns that a source gave, were dropped by hand, and are not there; a step may have made one since."""
    noted = {name.removeprefix(ENTRY) for name in table_metadata(table) if name.startswith(ENTRY)}
    there = {column.name for column in table.schema if Lineage.of(column) is None}
    return frozenset(noted - there)
