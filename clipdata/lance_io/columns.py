"""Columns: made, retyped and described, by metadata commits that write no data."""

from __future__ import annotations

import pyarrow as pa

from clipdata.lance_io.faults import translated, with_retries
from clipdata.lance_io.rows import add_columns
from clipdata.lance_io.table import Table, open_table
from clipdata.lineage import METADATA_KEY, Lineage


def ensure(table: Table, field: pa.Field) -> Table:
    """Add a column of nulls when the table does not have it."""
    return table if field.name in table.schema.names else add_columns(table, [field])


def prepare_overwrite(table: Table, field: pa.Field) -> Table:
    """Make a column ready to be replaced: one of another type is dropped from the newest version and made again."""
    if table.schema.field(field.name).type == field.type:
        return table

    def attempt() -> Table:
        newest = open_table(table.uri, storage=table.storage)
        if field.name in newest.schema.names:
            newest.dataset.drop_columns([field.name])
        return add_columns(newest, [field])

    with translated(table.uri, "replacing a column of"):
        return with_retries(attempt)


def set_lineage(table: Table, column: str, lineage: Lineage) -> Table:
    """Write what made a column into its metadata."""

    def attempt() -> Table:
        newest = open_table(table.uri, storage=table.storage)
        newest.dataset.update_field_metadata({column: {METADATA_KEY.decode(): lineage.to_json()}})
        return open_table(table.uri, storage=table.storage)

    with translated(table.uri, "describing a column of"):
        return with_retries(attempt, attempts=10)
