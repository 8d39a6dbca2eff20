"""`clipdata diff`: what two versions of a table, or two tables, do not have in common."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli.json_output import ANYTHING, FLAG, TEXT, WHOLE, counts, listed, record
from pipelines.cli.options import ReadOptions, TableArgument, Where, names_in, version_of
from pipelines.cli.reports import COLUMN_DIFFERENCE
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb

DIFF = record(
    before=TEXT,
    after=TEXT,
    key=TEXT,
    rows_before=WHOLE,
    rows_after=WHOLE,
    rows_added=WHOLE,
    rows_removed=WHOLE,
    rows_changed=WHOLE,
    columns=listed(COLUMN_DIFFERENCE),
    values=counts(),
    not_compared={"type": "object", "additionalProperties": TEXT},
    lacking=listed(record(side=TEXT, columns=listed(TEXT), instead=listed(TEXT))),
    added=listed(ANYTHING),
    removed=listed(ANYTHING),
    changed=listed(record(key=ANYTHING, column=TEXT, before=ANYTHING, after=ANYTHING)),
    rows_hashed=WHOLE,
    any=FLAG,
)


@verb(
    "diff",
    found=DIFF,
    examples=[
        "clipdata diff contest.lance 12",
        "clipdata diff contest.lance raw 20 --columns scores,label_prob",
        "clipdata diff contest.lance 12 --where \"split = 'test'\"",
        "clipdata diff contest.lance --other copy.lance --on filename",
    ],
)
def diff(
    terminal: Terminal,
    table: TableArgument,
    before: Annotated[
        str | None, typer.Argument(help="Version or tag; the one before the newest, or with --other the newest.")
    ] = None,
    after: Annotated[
        str | None, typer.Argument(help="Version or tag to compare it with; the newest by default.")
    ] = None,
    *,
    other: Annotated[str | None, typer.Option(help="Another table, of which AFTER is a version.")] = None,
    on: Annotated[str | None, typer.Option(help="Column that tells rows apart; the key by default.")] = None,
    columns: Annotated[
        str | None, typer.Option(help="Columns whose values to compare, such as a,b; all by default.")
    ] = None,
    where: Where = None,
    examples: Annotated[int, typer.Option(min=0, help="Most keys and values to list of each kind.")] = 3,
    store: ReadOptions,
) -> None:
    """Say which rows, columns and values two versions do not have in common; what files tell is not read."""
    import clipdata as cd

    found = cd.diff(
        table,
        version_of(before) if before is not None else None,
        version_of(after) if after is not None else None,
        other=other,
        on=on,
        columns=names_in(columns),
        where=where,
        examples=examples,
        storage=store.storage,
    )
    terminal.result(str(found), found.to_dict())
