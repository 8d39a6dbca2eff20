"""`clipdata runs`: the trainings in a folder."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from pipelines.cli.json_output import NUMBER, OBJECT, TEXT, WHOLE, listed, maybe, record
from pipelines.cli.options import TableLayout
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb

_RUN = record(
    path=TEXT,
    state=TEXT,
    step=maybe(WHOLE),
    num_steps=maybe(WHOLE),
    started=maybe(TEXT),
    table=maybe(TEXT),
    version=maybe(WHOLE),
    rows=maybe(WHOLE),
    figure=maybe(TEXT),
    before=maybe(NUMBER),
    after=maybe(NUMBER),
    canary=maybe(TEXT),
    problem=maybe(TEXT),
    differing=OBJECT,
)
RUNS = record(folder=TEXT, differing=listed(TEXT), runs=listed(_RUN))


@verb("runs", found=RUNS, examples=["clipdata runs runs", "clipdata runs runs --sort figure --json"])
def runs(
    terminal: Terminal,
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Folder of runs; two levels down are looked through.")],
    *,
    sort: Annotated[
        Literal["begun", "figure"], typer.Option(help="The oldest first, or the best model first.")
    ] = "begun",
    layout: TableLayout,
) -> None:
    """List trainings: how far they are, the chief figure before and after, and the settings in which they differ."""
    import clipdata as cd

    found = cd.runs(folder, sort=sort)
    rows = found.rows()
    text = f"no training run in {found.folder}"
    if rows:
        cells = [list(row.values()) for row in rows]
        text = terminal.table(cells, list(rows[0]), full=layout.full, vertical=layout.vertical)
    terminal.result(text, found.to_dict())
