"""`clipdata show`: what a table holds."""

from __future__ import annotations

from dataclasses import asdict

from clipdata.storage import redact
from pipelines.cli.json_output import OBJECT, TEXT, WHOLE, listed, maybe, record
from pipelines.cli.next_command import next_command
from pipelines.cli.options import TableArgument, TableLayout, VersionOptions
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb

_COLUMN = record(name=TEXT, type=TEXT, values=maybe(WHOLE), lineage=maybe(OBJECT))
_REFERRED = record(
    name=TEXT, words=TEXT, uri=TEXT, version=maybe(WHOLE), num_rows=WHOLE, num_pictures=WHOLE, problem=maybe(TEXT)
)
_INDEX = record(
    name=TEXT, column=TEXT, kind=TEXT, use=TEXT, metric=maybe(TEXT), splits=maybe(TEXT), covered=WHOLE, outside=WHOLE,
    num_bytes=WHOLE,
)  # fmt: skip
SHOWN = record(
    table=TEXT, version=WHOLE, rows=WHOLE, columns=listed(_COLUMN), pictures=listed(_REFERRED), indices=listed(_INDEX)
)


@verb("show", found=SHOWN, examples=["clipdata show contest.lance", "clipdata show contest.lance --vertical --full"])
def show(terminal: Terminal, table: TableArgument, *, layout: TableLayout, store: VersionOptions) -> None:
    """Show a table's columns, how many values each has, and what made them."""
    from clipdata.lance_io.indices import indices
    from clipdata.lance_io.referring import referred_by

    opened = store.open(table)
    num_rows = opened.num_rows
    lines, columns = [], []
    for column in opened.schema:
        lineage = opened.lineage(column.name)
        empty = opened.count_nulls(column.name)
        filled = num_rows - empty if empty is not None else None
        key = " (key)" if column.name == opened.key else ""
        values = "?" if filled is None else f"{filled:,}"
        name = f"{lineage.model_name}: " if lineage and lineage.model_name else ""
        made_by = f"{name}{lineage.describe()}" if lineage else ""
        lines.append([f"{column.name}{key}", str(column.type), values, made_by])
        made = lineage.to_dict() if lineage else None
        columns.append({"name": column.name, "type": str(column.type), "values": filled, "lineage": made})
    title = f"{redact(table)}: {num_rows:,} rows, version {opened.version}"
    shown = terminal.table(lines, ["column", "type", "values", "made by"], full=layout.full, vertical=layout.vertical)
    pictures, indexed = referred_by(opened), indices(opened)
    data = {"table": opened.uri, "version": opened.version, "rows": num_rows, "columns": columns}
    terminal.result(
        "\n".join(
            [title, shown, *(f"image: {referred}" for referred in pictures), *(f"index: {one}" for one in indexed)]
        ),
        {
            **data,
            "pictures": [asdict(referred) for referred in pictures],
            "indices": [asdict(one) for one in indexed],
        },
    )
    if num_rows and store.version is None:
        terminal.hint(next_command(opened, table))
