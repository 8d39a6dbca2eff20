"""`clipdata check-canary`: whether a model still knows what another one knew, by photographs that clipdata ships."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli.options import Device
from pipelines.cli.reports import CANARY
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb


@verb("check-canary", found=CANARY, examples=["clipdata check-canary runs/x --against starter"])
def check_canary(
    terminal: Terminal,
    model: Annotated[str, typer.Argument(help="A run's folder, an export, or a name as in --model of train.")],
    *,
    against: Annotated[str, typer.Option("--against", help="The model that it was made from.")],
    device: Device = None,
) -> None:
    """Say what a model lost: photographs of everyday things told apart by two models. train does it by itself."""
    import clipdata as cd

    before = cd.load_encoder(against, device=device)
    found = cd.check_canary(before, cd.load_encoder(model, device=device))
    terminal.result(str(found), found.to_dict())
