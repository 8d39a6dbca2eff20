"""`clipdata doctor`: what of this machine and of a place decides whether work there goes well."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli.json_output import FLAG, TEXT, listed, maybe, record
from pipelines.cli.options import ReadOptions
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb

_FINDING = record(topic=TEXT, name=TEXT, value=TEXT, verdict=TEXT, hint=maybe(TEXT))
FOUND = record(place=maybe(TEXT), sound=FLAG, findings=listed(_FINDING))


@verb("doctor", found=FOUND, examples=["clipdata doctor", "clipdata doctor gs://bucket/tables --no-write"])
def doctor(
    terminal: Terminal,
    place: Annotated[
        str | None, typer.Argument(help="Table, folder or bucket's prefix; the machine alone by default.")
    ] = None,
    *,
    no_write: Annotated[bool, typer.Option("--no-write", help="Write nothing there, not even to try it.")] = False,
    store: ReadOptions,
) -> None:
    """Look at this machine and a place: which credential is used, how fast it answers, whether commits are safe there.

    The exit code is not 0 where the place cannot be reached, or where commits of two writers can be lost.
    """
    import clipdata as cd

    found = cd.doctor(place, write=not no_write, storage=store.storage)
    terminal.result(str(found), found.to_dict())
    found.hold()
