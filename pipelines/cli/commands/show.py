"""`clipdata show`: what a table holds."""

from __future__ import annotations

from pipelines.cli.options import TableArgument, VersionOptions
from pipelines.cli.terminal import Terminal, columns
from pipelines.cli.verbs import verb


@verb("show", examples=["clipdata show contest.lance"])
def show(terminal: Terminal, table: TableArgument, *, store: VersionOptions) -> None:
    """Show a table's columns, how many values each has, and what made them."""
    opened = store.open(table)
    num_rows = opened.num_rows
    described = []
    for column in opened.schema:
        lineage = opened.lineage(column.name)
        empty = opened.count_nulls(column.name)
        filled = num_rows - empty if empty is not None else None
        described.append((column, lineage, filled))
    lines = [
        [
            column.name + (" (key)" if column.name == opened.key else ""),
            str(column.type),
            "?" if filled is None else f"{filled:,}",
            lineage.describe() if lineage else "",
        ]
        for column, lineage, filled in described
    ]
    title = f"{table}: {num_rows:,} rows, version {opened.version}"
    text = f"{title}\n{columns(lines, header=['column', 'type', 'values', 'made by'])}"
    data = {
        "table": opened.uri,
        "version": opened.version,
        "rows": num_rows,
        "columns": [
            {
                "name": column.name,
                "type": str(column.type),
                "values": filled,
                "lineage": lineage.to_dict() if lineage else None,
            }
            for column, lineage, filled in described
        ],
    }
    terminal.result(text, data)
