"""A Lance table out: a copy of rows that needs nobody else's files, with the lineage of every column.

Pictures that rows only referred to are in it. It knows rows and the copy, and nothing of other formats.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from clipdata.errors import NotFoundError, UsageError
from clipdata.exports.selection import Selection
from clipdata.lance_io.copying import write_copy
from clipdata.lance_io.history import Properties
from clipdata.lance_io.table import Table, open_table
from clipdata.progress import Counter
from clipdata.schema import is_binary, is_blob
from clipdata.storage import Storage, redact

NAME = "lance"


def check_free(out: str, storage: Storage, *, overwrite: bool) -> None:
    """Refuse a place where another table is.

    Raises:
        UsageError: there is one.
    """
    try:
        there = open_table(out, storage=storage)
    except NotFoundError:
        return
    if not overwrite:
        raise UsageError(
            f"{redact(out)} is a table already, at version {there.version}",
            hint="--overwrite (overwrite=True) makes a new version of it, and the old ones stay readable",
        )


def copy_table(
    selection: Selection, out: str, parameters: Mapping[str, Any], storage: Storage, counter: Counter
) -> Table | None:
    """Write the rows; None where there are none, and nothing is written.

    Args:
        selection: of rows.
        out: where to.
        parameters: of the verb, for the history.
        storage: how to reach it.
        counter: counts rows.
    """
    batches = selection.batches()
    first = next(batches, None)
    if first is None:
        return None
    schema = _schema(selection.table.schema, first)

    def rows() -> Iterator[pa.RecordBatch]:
        for source in ([first], batches):
            for batch in source:
                counter.advance(batch.num_rows)
                yield pa.Table.from_batches([batch]).cast(schema).to_batches()[0]

    return write_copy(rows(), schema, out, Properties("export", parameters), storage=storage)


def _schema(schema: pa.Schema, rows: pa.RecordBatch) -> pa.Schema:
    """The columns that are written, with their metadata, but for what says that Lance keeps bytes apart."""
    fields = []
    for name, found in zip(rows.schema.names, rows.schema.types, strict=True):
        column = schema.field(name)
        if is_blob(column):
            column = pa.field(name, pa.large_binary())
        fields.append(column if is_binary(column.type) else column.with_type(found))
    return pa.schema(fields)
