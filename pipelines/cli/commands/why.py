"""`clipdata why`: one cell, computed again from what its lineage says."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli.json_output import NUMBER, OBJECT, TEXT, WHOLE, listed, maybe, record
from pipelines.cli.options import RebuildOptions, TableArgument, VersionOptions
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb

TOLD = record(
    table=TEXT,
    version=WHOLE,
    row=TEXT,
    column=TEXT,
    verdict=TEXT,
    reasons=listed(TEXT),
    value=maybe(TEXT),
    recomputed=maybe(TEXT),
    difference=maybe(NUMBER),
    tolerance=NUMBER,
    inputs=OBJECT,
    lineage=maybe(OBJECT),
)


@verb(
    "why",
    found=TOLD,
    examples=[
        "clipdata why contest.lance 0001.jpg scores",
        "clipdata why contest.lance 0001.jpg scores --version before",
    ],
)
def why(
    terminal: Terminal,
    table: TableArgument,
    row: Annotated[str, typer.Argument(help="Key of the row, the name of its picture, or #12: its number, from 0.")],
    column: Annotated[str, typer.Argument(help="Column that a step made.")],
    *,
    rebuilt: RebuildOptions,
    store: VersionOptions,
) -> None:
    """Compute one cell again from its lineage's inputs and weights: is it equal, stale or different?

    Exit code 0 when it is equal, 7 when it is stale or different, 1 when it cannot be told.
    """
    import clipdata as cd

    opened = store.open(table)
    told = cd.why(
        opened, row, column, models=rebuilt.models(terminal.say), steps=rebuilt.steps(), device=rebuilt.device
    )
    terminal.result(str(told), told.to_dict())
    told.hold()
