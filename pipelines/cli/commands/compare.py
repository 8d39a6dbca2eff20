"""`clipdata compare`: the difference between two columns."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli.json_output import Schema
from pipelines.cli.options import ReadOptions, TableArgument, Where
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb


def _compared() -> Schema:
    from clipdata.comparison import json_schema

    return json_schema()


@verb(
    "compare",
    found=_compared,
    examples=["clipdata compare contest.lance label_prob label_prob_fine_tune --where \"split = 'test'\""],
)
def compare(
    terminal: Terminal,
    table: TableArgument,
    before: Annotated[str, typer.Argument(help="Column of the values before.")],
    after: Annotated[str, typer.Argument(help="Column of the values after.")],
    *,
    where: Where = None,
    by: Annotated[str | None, typer.Option(help="Column of groups to show apart.")] = None,
    table_before: Annotated[str | None, typer.Option(help="Another table that holds the values before.")] = None,
    version_before: Annotated[int | None, typer.Option(help="Version of the table that holds them.")] = None,
    fail_if: Annotated[
        list[str] | None, typer.Option("--fail-if", help='Gate such as "accuracy.difference < 0"; exit code 7.')
    ] = None,
    store: ReadOptions,
) -> None:
    """Compare two columns over the same rows: difference with its interval, accuracy, wins and losses, worst rows."""
    import clipdata as cd

    opened = store.open(table)
    other = None
    if table_before is not None or version_before is not None:
        other = store.open(table_before or table, version=version_before)
    done = cd.compare(opened, before, after, where=where, by=by, table_before=other)
    terminal.result(str(done), done.to_dict())
    done.gate(fail_if=fail_if or [])
