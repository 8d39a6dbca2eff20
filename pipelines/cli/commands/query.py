"""`clipdata query`: SQL on a table."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pipelines.cli.options import TableArgument, VersionOptions
from pipelines.cli.terminal import Terminal, columns
from pipelines.cli.verbs import verb


@verb(
    "query",
    examples=['clipdata query contest.lance "SELECT label, avg(label_prob) FROM dataset GROUP BY label"'],
)
def query(
    terminal: Terminal,
    table: TableArgument,
    sql: Annotated[str, typer.Argument(help="SELECT statement; the table is called dataset.")],
    *,
    store: VersionOptions,
) -> None:
    """Answer a SQL SELECT on a table."""
    opened = store.open(table)
    found = opened.query(sql)
    records = [{name: _cell(value) for name, value in record.items()} for record in found.to_pylist()]
    lines = [[_text(value) for value in record.values()] for record in records]
    text = columns(lines, header=found.schema.names) if found.num_columns else "no rows"
    terminal.result(text, {"table": opened.uri, "version": opened.version, "rows": records})


def _cell(value: Any) -> Any:
    return f"<{len(value):,} bytes>" if isinstance(value, bytes) else value


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = "" if value is None else str(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
