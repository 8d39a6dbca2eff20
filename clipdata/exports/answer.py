"""The answer to a query as a file, batch by batch, whatever its size. Knows the formats, and no rows but those."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pyarrow as pa

from clipdata import hints
from clipdata.arguments import check_count
from clipdata.errors import UsageError
from clipdata.exports.formats import About, check_columns
from clipdata.exports.job import SUFFIXES, file_format
from clipdata.exports.outcome import Exported
from clipdata.exports.places import opened
from clipdata.lance_io.table import AnyTable, as_table
from clipdata.progress import Progress, Silent
from clipdata.schema import picture_column
from clipdata.storage import Storage, absolute, redact

ROW_FORMATS = ("parquet", "csv", "tsv", "jsonl")
_ENDINGS = ".parquet, .csv, .tsv or .jsonl"


def export_query(
    table: AnyTable,
    sql: str,
    out: str | os.PathLike[str],
    *,
    limit: int | None = None,
    overwrite: bool = False,
    storage: Storage | None = None,
    progress: Progress | None = None,
) -> Exported:
    """Write the answer to one SQL SELECT to a file; an answer without rows is a file without rows.

    Args:
        table: called `dataset` in the statement; see `Table.query`.
        sql: the statement.
        out: file or URL, ending in .parquet, .csv, .tsv or .jsonl.
        limit: stop after this many rows.
        overwrite: replace a file that is there.
        storage: how to reach `out`; by default as the table.
        progress: watches the rows go by.

    Raises:
        UsageError: it is another statement, or the file is there already, or its suffix tells no format of rows.
        SchemaError: the statement is not valid for this table, or the format cannot hold a column of the answer.
    """
    table = as_table(table, storage=storage)
    if limit is not None:
        check_count(limit, "query: limit")
    place, settings = absolute(out), storage or table.storage
    kind = _format_of(place)
    found = file_format(kind, place, {})
    num_rows = 0

    def batches() -> Iterator[pa.RecordBatch]:
        nonlocal num_rows
        yield pa.RecordBatch.from_pylist([], schema=schema)
        for batch in answer:
            batch = batch if limit is None else batch.slice(0, limit - num_rows)
            num_rows += batch.num_rows
            counter.advance(batch.num_rows)
            yield batch
            if limit is not None and num_rows >= limit:
                return

    with (
        opened(place, settings, is_folder=False, overwrite=overwrite, doing="query") as file,
        table.answering(sql) as (schema, answer),
    ):
        hint = "select other columns, or write .parquet, which holds everything"
        check_columns(found, schema, schema.names, verb="query", hint=hint)
        with (progress or Silent()).task("query", None) as counter:
            notes = found.write(batches(), file, About(picture_column(schema), num_rows, {"query": sql}))
        file.publish({})
    return Exported(
        redact(place), kind, table.version, num_rows, file.num_bytes, 1, 1, columns=tuple(schema.names), notes=notes
    )


def _format_of(out: str) -> str:
    """The format that the name of a file tells.

    Raises:
        UsageError: it is none of those that hold an answer.
    """
    stem, suffix = os.path.splitext(out.rstrip("/"))
    kind = SUFFIXES.get(suffix.lower())
    if kind in ROW_FORMATS:
        return kind
    raise UsageError(
        f"query: an answer goes to a file that ends in {_ENDINGS}, which tells the format; found {redact(out)}",
        hint=f"--out {hints.typed(stem + '.parquet')}",
    )
