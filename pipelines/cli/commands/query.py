"""`clipdata query`: SQL on a table."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pipelines.cli.json_output import ANYTHING, TEXT, WHOLE, listed, record
from pipelines.cli.options import Limit, TableArgument, TableLayout, VersionOptions
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb

QUERIED = record(
    table=TEXT, version=WHOLE, columns=listed(TEXT), rows=listed({"type": "object", "additionalProperties": ANYTHING})
)


@verb(
    "query",
    found=QUERIED,
    examples=['clipdata query contest.lance "SELECT label, avg(label_prob) FROM dataset GROUP BY label"'],
)
def query(
    terminal: Terminal,
    table: TableArgument,
    sql: Annotated[str, typer.Argument(help="SELECT statement; the table is called dataset.")],
    *,
    limit: Limit = None,
    layout: TableLayout,
    store: VersionOptions,
) -> None:
    """Answer a SQL SELECT on a table."""
    from clipdata.lance_io.pictures import place_columns
    from clipdata.schema import image_column

    opened = store.open(table)
    found = opened.query(sql)
    image = image_column(opened.schema)
    if image is not None and image in sql and len(place_columns(opened.schema)) > 1:
        terminal.say(
            f"rows refer to another table for their picture, so {image!r} is null in a query; clipdata show says where"
        )
    names, num_found = found.schema.names, found.num_rows
    found = found.slice(0, limit) if limit is not None else found
    values = [column.to_pylist() for column in found.columns]
    lines = [[_text(value) for value in row] for row in zip(*values, strict=True)]
    text = terminal.table(lines, names, full=layout.full, vertical=layout.vertical) if lines else "no rows"
    if len(lines) < num_found:
        text += f"\n… and {num_found - len(lines):,} more"
    records = [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]
    terminal.result(text, {"table": opened.uri, "version": opened.version, "columns": names, "rows": records})


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, bytes):
        return f"<{len(value):,} bytes>"
    return "" if value is None else str(value)
