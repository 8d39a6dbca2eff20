"""`clipdata errors`: which rows steps failed on, and which were refused."""

from __future__ import annotations

from typing import Annotated

import typer

from clipdata import hints
from pipelines.cli.json_output import OBJECT, TEXT, WHOLE, listed, maybe, record
from pipelines.cli.options import RebuildOptions, StorageOptions, TableArgument
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb

_FAILURES = record(column=maybe(TEXT), reason=TEXT, count=WHOLE, examples=listed(record(row=TEXT, reason=TEXT)))
FOUND = record(
    ("retried", "skipped"),
    table=TEXT,
    version=WHOLE,
    num_failed=WHOLE,
    num_refused=WHOLE,
    failures=listed(_FAILURES),
    retried=listed(OBJECT),
    skipped=OBJECT,
)


@verb(
    "errors",
    found=FOUND,
    examples=["clipdata errors contest.lance", "clipdata errors contest.lance scores --retry"],
)
def errors(
    terminal: Terminal,
    table: TableArgument,
    columns: Annotated[list[str] | None, typer.Argument(help="Failures of these columns only; all by default.")] = None,
    *,
    retry: Annotated[bool, typer.Option("--retry", help="Compute the rows that failed again, then list.")] = False,
    examples: Annotated[int, typer.Option(min=0, help="Rows to name of each reason.")] = 3,
    rebuilt: RebuildOptions,
    store: StorageOptions,
) -> None:
    """List the rows that steps failed on, by column and reason, and those that ingest and merge refused."""
    import clipdata as cd

    opened = cd.open_table(table, storage=store.storage)
    found = cd.list_errors(opened, columns, examples=examples)
    if not retry:
        terminal.result(str(found), found.to_dict())
        terminal.hint(f"clipdata errors {hints.typed(table)} --retry" if found.num_failed else None)
        return
    steps, models = rebuilt.steps(), rebuilt.models(terminal.say)
    done = cd.retry_errors(opened, found.columns, models=models, steps=steps, device=rebuilt.device, progress=terminal)
    found = cd.list_errors(opened, columns, examples=examples)
    text = "\n".join([str(done), str(found)]) if done.made or done.skipped else str(found)
    made = [one.to_dict() for one in done.made]
    terminal.result(text, {**found.to_dict(), "retried": made, "skipped": dict(done.skipped)})
    done.hold()
