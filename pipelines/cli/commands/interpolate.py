"""`clipdata interpolate`: a run's model mixed with the one it began with, or how good each mixture is."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli.json_output import OBJECT, TEXT, WHOLE, listed, record
from pipelines.cli.options import Device, Where
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb

INTERPOLATED = record(
    ("model", "table", "where", "rows", "rows_of_test", "curve"),
    run=TEXT,
    model=TEXT,
    table=TEXT,
    where=TEXT,
    rows=WHOLE,
    rows_of_test=WHOLE,
    curve=listed(OBJECT),
)


@verb(
    "interpolate",
    found=INTERPOLATED,
    examples=[
        "clipdata interpolate runs/x --sweep --where \"split = 'validation'\"",
        "clipdata interpolate runs/x --alpha 0.5 --out models/half",
    ],
)
def interpolate(
    terminal: Terminal,
    run: Annotated[str, typer.Argument(help="Folder of a finished run.")],
    *,
    alpha: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of the tuned weights, from 0 to 1; exports that model.")
    ] = None,
    sweep: Annotated[bool, typer.Option("--sweep", help="Measure mixtures from 0 to 1, and export none.")] = False,
    where: Where = None,
    out: Annotated[str | None, typer.Option(help="Folder of the model; in the run's own by default.")] = None,
    before: Annotated[
        str | None, typer.Option(help="The model that the run began with, where its name leads nowhere any more.")
    ] = None,
    device: Device = None,
) -> None:
    """Mix a run's model with the one it began with: (1 - alpha) * before + alpha * after (WiSE-FT)."""
    import clipdata as cd
    from clipdata.errors import UsageError

    if (alpha is None) != sweep:
        raise UsageError("interpolate wants --alpha or --sweep, one of them", hint="clipdata interpolate RUN --sweep")
    start = cd.load_encoder(before, device=device) if before is not None else None
    if alpha is not None:
        folder = cd.interpolate(run, alpha, out=out, before=start, device=device)
        terminal.result(f"the mixed model is in {folder}", {"run": run, "model": str(folder)})
        return
    found = cd.sweep(run, where=where, before=start, device=device, progress=terminal)
    terminal.result(str(found), found.to_dict())
