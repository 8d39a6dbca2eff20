"""`clipdata index`: what a large table is searched by, made or brought up to date, and measured."""

from __future__ import annotations

from typing import Annotated

import typer

from clipdata import hints
from pipelines.cli.json_output import FLAG, NUMBER, TEXT, WHOLE, maybe, record
from pipelines.cli.options import DryRun, StorageOptions, TableArgument
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb

INDEXED = record(
    table=TEXT,
    column=TEXT,
    did=TEXT,
    kind=maybe(TEXT),
    splits=maybe(TEXT),
    covered=WHOLE,
    outside=WHOLE,
    version=WHOLE,
    seconds=NUMBER,
    dry_run=FLAG,
    measured=maybe(record(queries=WHOLE, recall=NUMBER, index_ms=NUMBER, exact_ms=NUMBER)),
)


@verb(
    "index",
    found=INDEXED,
    examples=[
        "clipdata index contest.lance image_embedding",
        "clipdata index contest.lance caption",
        "clipdata index contest.lance image_embedding --check --json",
    ],
)
def index(
    terminal: Terminal,
    table: TableArgument,
    column: Annotated[str, typer.Argument(help="Column of vectors, or of texts or lists of texts.")],
    *,
    kind: Annotated[
        str | None,
        typer.Option(
            "--kind", help="Kind of an index of vectors: IVF_SQ (the default), IVF_RQ, IVF_PQ, IVF_HNSW_SQ or IVF_FLAT."
        ),
    ] = None,
    remake: Annotated[bool, typer.Option("--remake", help="Make it anew in any case.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; measure the index that is there.")] = False,
    dry_run: DryRun = False,
    queries: Annotated[int, typer.Option("--queries", min=0, help="Rows to measure with; 0 measures nothing.")] = 100,
    store: StorageOptions,
) -> None:
    """Make the index of a column, or bring it up to date after rows were added, and measure what it finds.

    What is up to date stays as it is. A search without an index, or beside rows outside it, finds the same and reads
    more.
    """
    import clipdata as cd

    done = cd.index(
        table,
        column,
        kind=kind,
        remake=remake,
        check=check,
        dry_run=dry_run,
        queries=queries,
        storage=store.storage,
        progress=terminal,
    )
    terminal.result(str(done), done.to_dict())
    if not dry_run and done.splits is None:
        terminal.hint(f"clipdata search {hints.typed(table)} --like ROW --column {hints.typed(column)}")
    elif not dry_run:
        terminal.hint(f"clipdata search {hints.typed(table)} --words WORDS --words-column {hints.typed(column)}")
