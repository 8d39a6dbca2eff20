"""`clipdata delete`: rows go, and are not taken in again as they were."""

from __future__ import annotations

from typing import Annotated

import typer

from clipdata.hints import typed
from pipelines.cli.json_output import FLAG, TEXT, WHOLE, listed, maybe, record
from pipelines.cli.options import DryRun, StorageOptions, TableArgument, Where, Yes, require_yes
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb

DELETED = record(
    table=TEXT,
    where=maybe(TEXT),
    num_rows=WHOLE,
    num_unknown=WHOLE,
    rows_before=WHOLE,
    examples=listed(TEXT),
    num_remembered=WHOLE,
    before=WHOLE,
    version=maybe(WHOLE),
    dry_run=FLAG,
)


@verb(
    "delete",
    found=DELETED,
    examples=[
        'clipdata delete contest.lance --where "pair_score < 0.2" --dry-run',
        'clipdata delete contest.lance --where "pair_score < 0.2" --yes',
    ],
)
def delete(
    terminal: Terminal,
    table: TableArgument,
    *,
    where: Where = None,
    forget: Annotated[
        bool, typer.Option("--forget", help="Instead: let an ingest or merge bring back all that was deleted.")
    ] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    store: StorageOptions,
) -> None:
    """Delete the rows that meet a condition; the versions before keep them.

    No ingest or merge brings them back while their content is the same. Rows for which the condition tests a null stay.
    """
    import clipdata as cd

    planned = cd.delete(table, where, forget_deleted=forget, dry_run=True, storage=store.storage)
    require_yes(terminal, str(planned), "Delete them?", yes=dry_run or yes or forget)
    done = planned if dry_run else cd.delete(table, where, forget_deleted=forget, storage=store.storage)
    terminal.result(str(done), done.to_dict())
    if done.num_rows and not dry_run:
        terminal.hint(f"clipdata restore {typed(table)} {done.before}")
