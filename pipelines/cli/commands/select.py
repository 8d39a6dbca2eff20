"""`clipdata select`: names of rows, which every condition can say as `@name`."""

from __future__ import annotations

from typing import Annotated

import typer

from clipdata.errors import UsageError
from pipelines.cli.json_output import TEXT, WHOLE, listed, maybe, record
from pipelines.cli.options import Overwrite, VersionOptions, Where
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb

_SELECTION = record(name=TEXT, num_rows=WHOLE, column=TEXT, version=WHOLE, chosen_by=maybe(TEXT), made_at=TEXT)
SELECTED = record(
    table=TEXT, done=TEXT, name=maybe(TEXT), num_rows=maybe(WHOLE), version=WHOLE, selections=listed(_SELECTION)
)  # fmt: skip


@verb(
    "select",
    found=SELECTED,
    examples=[
        'clipdata select contest.lance blurry --where "sharpness < 10"',
        'clipdata query contest.lance "SELECT path FROM dataset WHERE @blurry"',
        "clipdata select contest.lance --list",
        "clipdata select contest.lance --delete blurry",
    ],
)
def select(
    terminal: Terminal,
    table: Annotated[str, typer.Argument(help="Table: a path, or gs:// s3:// az:// URL.")],
    name: Annotated[str | None, typer.Argument(help="Name for the rows, which conditions call @NAME.")] = None,
    *,
    where: Where = None,
    list_: Annotated[bool, typer.Option("--list", help="List the names.")] = False,
    delete: Annotated[str | None, typer.Option("--delete", help="Name to delete; its rows stay.")] = None,
    overwrite: Overwrite = False,
    store: VersionOptions,
) -> None:
    """Give rows a name that every --where can say as @NAME; or list, change, remove names.

    The rows are remembered by their key: later rows are never meant, even if they meet the condition. The page of
    `clipdata view --edit` names rows that were chosen by hand.
    """
    import clipdata as cd

    if sum([name is not None, list_, delete is not None]) > 1:
        raise UsageError("select: expected one of NAME, --list and --delete NAME")
    opened = store.open(table)
    done = cd.select(
        opened, name if delete is None else delete, where=where, overwrite=overwrite, delete=delete is not None
    )
    terminal.result(str(done), done.to_dict())
