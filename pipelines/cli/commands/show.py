"""`clipdata show`: what a table holds."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from clipdata.errors import UsageError
from clipdata.plurals import counted
from clipdata.storage import redact
from pipelines.cli.json_output import OBJECT, TEXT, WHOLE, listed, maybe, record
from pipelines.cli.next_command import next_command
from pipelines.cli.options import TableArgument, TableLayout, VersionOptions, names_in
from pipelines.cli.reports import ROW
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb

if TYPE_CHECKING:
    from clipdata.lance_io.table import Table

_COLUMN = record(name=TEXT, type=TEXT, values=maybe(WHOLE), lineage=maybe(OBJECT))
_REFERRED = record(
    name=TEXT, words=TEXT, uri=TEXT, version=maybe(WHOLE), num_rows=WHOLE, num_pictures=WHOLE, problem=maybe(TEXT)
)
_INDEX = record(
    name=TEXT, column=TEXT, kind=TEXT, use=TEXT, metric=maybe(TEXT), splits=maybe(TEXT), covered=WHOLE, outside=WHOLE,
    num_bytes=WHOLE,
)  # fmt: skip
SHOWN = record(
    ("columns", "pictures", "indices", "sample"),
    table=TEXT,
    version=WHOLE,
    rows=WHOLE,
    columns=listed(_COLUMN),
    pictures=listed(_REFERRED),
    indices=listed(_INDEX),
    sample=listed(ROW),
)


@verb(
    "show",
    found=SHOWN,
    examples=[
        "clipdata show contest.lance",
        "clipdata show contest.lance --vertical --full",
        "clipdata show contest.lance --sample 5 --where \"split = 'test'\" --columns path,caption",
    ],
)
def show(
    terminal: Terminal,
    table: TableArgument,
    *,
    sample: Annotated[int | None, typer.Option(min=1, help="Show so many rows instead, drawn at random.")] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Beside --sample: another seed draws other rows; 0 by default.")
    ] = None,
    where: Annotated[str | None, typer.Option(help="Beside --sample: SQL condition of the rows to draw from.")] = None,
    columns: Annotated[
        str | None, typer.Option(help="Beside --sample: columns to show, such as a,b; all by default.")
    ] = None,
    layout: TableLayout,
    store: VersionOptions,
) -> None:
    """Show a table's columns, how many values each has, and what made them; or with --sample some of its rows."""
    opened = store.open(table)
    if sample is None:
        if given := [name for name, value in (("where", where), ("columns", columns), ("seed", seed)) if value]:
            raise UsageError(f"--{given[0]} belongs to --sample", hint="--sample 10 shows ten rows")
        _show_columns(terminal, opened, table, layout, is_newest=store.version is None)
        return
    import clipdata as cd

    drawn = cd.show(opened, sample=sample, seed=seed or 0, where=where, columns=names_in(columns))
    lines = [[text or "" for text in row] for row in drawn.texts]
    shown = terminal.table(lines, list(drawn.columns), full=layout.full, vertical=layout.vertical)
    title = f"{redact(table)}: {len(lines):,} of {drawn.num_rows:,} rows, version {drawn.version}"
    terminal.result(f"{title}\n{shown}" if lines else title, drawn.to_dict())


def _show_columns(terminal: Terminal, opened: Table, table: str, layout: TableLayout, *, is_newest: bool) -> None:
    from clipdata.lance_io.indices import indices
    from clipdata.lance_io.referring import referred_by

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
    title = f"{redact(table)}: {counted(num_rows, 'row')}, version {opened.version}"
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
    if num_rows and is_newest:
        terminal.hint(next_command(opened, table))
