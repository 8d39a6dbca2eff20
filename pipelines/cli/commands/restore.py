"""`clipdata restore`: a new version that equals an old one."""

from __future__ import annotations

from typing import Annotated

import typer

from clipdata.hints import typed
from pipelines.cli.json_output import FLAG, TEXT, WHOLE, listed, maybe, record
from pipelines.cli.options import DryRun, StorageOptions, TableArgument, Yes, require_yes, version_of
from pipelines.cli.reports import COLUMN_DIFFERENCE
from pipelines.cli.terminal import Terminal, can_ask
from pipelines.cli.verbs import verb

RESTORED = record(
    table=TEXT,
    restored=WHOLE,
    before=WHOLE,
    version=maybe(WHOLE),
    rows_before=WHOLE,
    rows_after=WHOLE,
    rows_back=maybe(WHOLE),
    rows_gone=maybe(WHOLE),
    columns=listed(COLUMN_DIFFERENCE),
    undone=listed(record(version=WHOLE, verb=TEXT)),
    problems=listed(TEXT),
    dry_run=FLAG,
    changes=FLAG,
)


@verb(
    "restore",
    found=RESTORED,
    examples=["clipdata restore contest.lance 12 --dry-run", "clipdata restore contest.lance raw"],
)
def restore(
    terminal: Terminal,
    table: TableArgument,
    version: Annotated[str, typer.Argument(help="Version number or tag to come back to.")],
    *,
    dry_run: DryRun = False,
    yes: Yes = False,
    store: StorageOptions,
) -> None:
    """Make a new version that equals an old one. Every version stays readable, so it can be undone in the same way."""
    import clipdata as cd

    wanted = version_of(version)
    if not dry_run and not yes and can_ask():  # nothing is lost, so that a script need not agree to it
        planned = cd.restore(table, wanted, dry_run=True, storage=store.storage)
        require_yes(terminal, str(planned), "Restore it?", yes=not planned.changes)
    done = cd.restore(table, wanted, dry_run=dry_run, storage=store.storage)
    terminal.result(str(done), done.to_dict())
    if done.changes and not dry_run:
        terminal.hint(f"clipdata diff {typed(table)} {done.before} {done.version}")
