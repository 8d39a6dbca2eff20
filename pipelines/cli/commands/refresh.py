"""`clipdata refresh`: columns that are not what their steps would make now, made again."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli.json_output import FLAG, OBJECT, TEXT, WHOLE, listed, maybe, record
from pipelines.cli.options import DryRun, RebuildOptions, StorageOptions, TableArgument, require_yes
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb

STATE = record(
    column=TEXT,
    step=TEXT,
    model_name=maybe(TEXT),
    stale=FLAG,
    reasons=listed(TEXT),
    anew=listed(TEXT),
    pending=WHOLE,
    waiting=WHOLE,
    waits_for=listed(TEXT),
    failed=WHOLE,
    missing=listed(TEXT),
    where=maybe(TEXT),
)
REFRESHED = record(table=TEXT, version=WHOLE, dry_run=FLAG, columns=listed(STATE), made=listed(OBJECT), skipped=OBJECT)


@verb(
    "refresh",
    found=REFRESHED,
    examples=[
        "clipdata refresh contest.lance --check",
        "clipdata refresh contest.lance label_prob --yes",
        "clipdata refresh contest.lance --step my_steps.py:sharpness",
    ],
)
def refresh(
    terminal: Terminal,
    table: TableArgument,
    columns: Annotated[
        list[str] | None, typer.Argument(help="Columns, with all that they are made of; all by default.")
    ] = None,
    *,
    dry_run: DryRun = False,
    check: Annotated[
        bool, typer.Option("--check", help="Only say which columns are stale, with exit code 7 where one is.")
    ] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Compute rows that failed before too.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before a column is made anew.")] = False,
    rebuilt: RebuildOptions,
    store: StorageOptions,
) -> None:
    """Make columns again that are not what their steps would make now: inputs made anew, rows added, newer code.

    A stale column that cannot be made again, because its model is gone, is skipped and said, and the exit code is 7.
    """
    import clipdata as cd

    opened = cd.open_table(table, storage=store.storage)
    steps = rebuilt.steps()
    planned = cd.refresh(opened, columns, dry_run=True, retry_failed=retry_failed, steps=steps)
    if check or dry_run:
        terminal.result(str(planned), planned.to_dict())
        if check:
            planned.hold()
        return
    if planned.overwrites:
        require_yes(terminal, str(planned), f"Make {', '.join(planned.overwrites)} anew?", yes=yes)
    done = cd.refresh(
        opened,
        columns,
        retry_failed=retry_failed,
        models=rebuilt.models(terminal.say),
        steps=steps,
        device=rebuilt.device,
        progress=terminal,
    )
    terminal.result(str(done), done.to_dict())
    done.hold()
