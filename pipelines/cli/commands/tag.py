"""`clipdata tag`: names of versions, which no clean-up removes."""

from __future__ import annotations

from typing import Annotated

import typer

from clipdata.errors import UsageError
from pipelines.cli.json_output import FLAG, TEXT, WHOLE, listed, maybe, record
from pipelines.cli.options import DryRun, StorageOptions, TableArgument, version_of
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb

_TAG = record(name=TEXT, version=WHOLE, made_at=maybe(TEXT), needed_by=maybe(TEXT), is_idle=FLAG)
TAGGED = record(
    table=TEXT,
    done=TEXT,
    name=maybe(TEXT),
    before=maybe(WHOLE),
    version=maybe(WHOLE),
    dry_run=FLAG,
    tags=listed(_TAG),
)


@verb(
    "tag",
    found=TAGGED,
    examples=[
        "clipdata tag contest.lance raw",
        "clipdata tag contest.lance raw --version 12 --move",
        "clipdata tag contest.lance --list",
        "clipdata tag contest.lance --delete raw",
    ],
)
def tag(
    terminal: Terminal,
    table: TableArgument,
    name: Annotated[str | None, typer.Argument(help="Name for the version.")] = None,
    *,
    version: Annotated[str | None, typer.Option(help="Version or tag to name; the newest by default.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the tags.")] = False,
    delete: Annotated[str | None, typer.Option("--delete", help="Tag to delete; its version stays for now.")] = None,
    move: Annotated[bool, typer.Option("--move", help="Let a tag that is there name this version instead.")] = False,
    dry_run: DryRun = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Delete a tag also where a training run or a merged table needs it.")
    ] = False,
    store: StorageOptions,
) -> None:
    """Name a version, so that it can be found again and no clean-up removes it; or list, move, delete names."""
    import clipdata as cd

    if sum([name is not None, list_, delete is not None]) > 1:
        raise UsageError("tag: expected one of NAME, --list and --delete NAME")
    done = cd.tag(
        table,
        name if delete is None else delete,
        version=version_of(version) if version is not None else None,
        move=move,
        delete=delete is not None,
        yes=yes,
        dry_run=dry_run,
        storage=store.storage,
    )
    terminal.result(str(done), done.to_dict())
