"""`clipdata query`: SQL on a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clipdata.plurals import counted
from pipelines.cli.json_output import ANYTHING, TEXT, WHOLE, listed, record
from pipelines.cli.options import Limit, TableArgument, TableLayout, VersionOptions
from pipelines.cli.reports import EXPORTED
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb

if TYPE_CHECKING:
    from clipdata import Table

QUERIED = record(
    ("written",),
    table=TEXT,
    version=WHOLE,
    columns=listed(TEXT),
    rows=listed({"type": "object", "additionalProperties": ANYTHING}),
    written=EXPORTED,
)


@verb(
    "query",
    found=QUERIED,
    examples=[
        'clipdata query contest.lance "SELECT label, avg(label_prob) FROM dataset GROUP BY label"',
        'clipdata query contest.lance "SELECT path, label_prob FROM dataset" --out scores.parquet',
    ],
)
def query(
    terminal: Terminal,
    table: TableArgument,
    sql: Annotated[str, typer.Argument(help="SELECT statement; the table is called dataset.")],
    *,
    out: Annotated[
        str | None, typer.Option("--out", help="Write the answer to this .parquet, .csv, .tsv or .jsonl file instead.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file that is there.")] = False,
    limit: Limit = None,
    layout: TableLayout,
    store: VersionOptions,
) -> None:
    """Answer a SQL SELECT on a table."""
    opened = store.open(table)
    if out is not None:
        import clipdata as cd

        done = cd.export_query(opened, sql, out, limit=limit, overwrite=overwrite, progress=terminal)
        _warn_of_pictures(terminal, opened, sql, done.columns)
        told = {"table": opened.uri, "version": opened.version, "columns": list(done.columns), "rows": []}
        terminal.result(str(done), told | {"written": done.to_dict()})
        return
    found = opened.query(sql)
    _warn_of_pictures(terminal, opened, sql, found.schema.names)
    names, num_found = found.schema.names, found.num_rows
    found = found.slice(0, limit) if limit is not None else found
    values = [column.to_pylist() for column in found.columns]
    lines = [[_text(value) for value in row] for row in zip(*values, strict=True)]
    text = terminal.table(lines, names, full=layout.full, vertical=layout.vertical) if lines else "no rows"
    if len(lines) < num_found:
        text += f"\n… and {num_found - len(lines):,} more"
    records = [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]
    terminal.result(text, {"table": opened.uri, "version": opened.version, "columns": names, "rows": records})


def _warn_of_pictures(terminal: Terminal, table: Table, sql: str, answered: Sequence[str]) -> None:
    """SQL sees the table alone: where pictures stay in another one, their column is null in the answer."""
    from clipdata.lance_io.pictures import place_columns
    from clipdata.schema import image_column

    image = image_column(table.schema)
    if image is not None and (image in sql or image in answered) and len(place_columns(table.schema)) > 1:
        terminal.say(
            f"rows refer to another table for their picture, so {image!r} is null in a query; "
            "clipdata show says where, and export writes the pictures"
        )


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, bytes):
        return f"<{counted(len(value), 'byte')}>"
    return "" if value is None else str(value)
