"""`clipdata drop`: columns go, and what hangs on them is said."""

from __future__ import annotations

from typing import Annotated

import typer

from clipdata.hints import typed
from pipelines.cli.json_output import FLAG, TEXT, WHOLE, listed, maybe, record
from pipelines.cli.options import DryRun, StorageOptions, TableArgument, Yes, require_yes
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb

DROPPED = record(
    table=TEXT,
    columns=listed(TEXT),
    reasons=listed(TEXT),
    indices=listed(TEXT),
    left_out=listed(TEXT),
    stale={"type": "object", "additionalProperties": listed(TEXT)},
    before=WHOLE,
    version=maybe(WHOLE),
    dry_run=FLAG,
)


@verb(
    "drop",
    found=DROPPED,
    examples=["clipdata drop contest.lance scores --dry-run", "clipdata drop contest.lance scores label_prob --yes"],
)
def drop(
    terminal: Terminal,
    table: TableArgument,
    columns: Annotated[list[str], typer.Argument(help="Columns to drop.")],
    *,
    dry_run: DryRun = False,
    yes: Yes = False,
    store: StorageOptions,
) -> None:
    """Drop columns, with their reasons and indices; the versions before keep them.

    No ingest or merge brings back a column that it gave, since all rows but the new ones would lack it.
    """
    import clipdata as cd

    planned = cd.drop(table, columns, dry_run=True, storage=store.storage)
    require_yes(terminal, str(planned), "Drop them?", yes=dry_run or yes)
    done = planned if dry_run else cd.drop(table, columns, yes=True, storage=store.storage)
    terminal.result(str(done), done.to_dict())
    if not dry_run:
        terminal.hint(f"clipdata restore {typed(table)} {done.before}")
