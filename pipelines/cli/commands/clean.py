"""`clipdata clean`: what nothing needs goes: old versions, and what killed runs left."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from clipdata.plurals import counted
from pipelines.cli.json_output import FLAG, TEXT, WHOLE, listed, record
from pipelines.cli.options import DryRun, StorageOptions, TableArgument, Yes, require_yes
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb

CLEANED = record(
    table=TEXT,
    dry_run=FLAG,
    num_versions=WHOLE,
    version_files=WHOLE,
    version_bytes=WHOLE,
    leftovers=listed(record(path=TEXT, bytes=WHOLE, why=TEXT)),
    num_files=WHOLE,
    num_bytes=WHOLE,
    kept=listed(TEXT),
)


_LEAST_DAYS, _MOST_DAYS = 1 / 24, 36_500


def _days(days: float) -> float:
    if not _LEAST_DAYS <= days <= _MOST_DAYS:
        raise typer.BadParameter(
            f"{days:g} days; expected an hour (0.042) at least, since what is younger may be of a writer at work, "
            f"and {counted(_MOST_DAYS, 'day')} at most"
        )
    return days


@verb("clean", found=CLEANED, examples=["clipdata clean contest.lance --dry-run", "clipdata clean contest.lance --yes"])
def clean(
    terminal: Terminal,
    table: TableArgument,
    *,
    older_than: Annotated[
        float, typer.Option(callback=_days, help="Days: older versions go, unless a tag names them.")
    ] = 14,
    dry_run: DryRun = False,
    yes: Yes = False,
    store: StorageOptions,
) -> None:
    """Remove old versions that no tag names, and what killed runs left."""
    import clipdata as cd

    age = timedelta(days=older_than)
    planned = cd.clean(table, older_than=age, dry_run=True, storage=store.storage)
    require_yes(terminal, str(planned), "Remove them?", yes=dry_run or yes)
    done = planned if dry_run else cd.clean(table, older_than=age, storage=store.storage)
    terminal.result(str(done), done.to_dict())
