"""`clipdata push`: a table as a data set that everybody can load."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli.json_output import FLAG, TEXT, WHOLE, counts, listed, maybe, record
from pipelines.cli.options import DryRun, TableArgument, VersionOptions, Where, names_in
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb

PUSHED = record(
    to=TEXT,
    version=WHOLE,
    num_rows=WHOLE,
    num_bytes=WHOLE,
    num_files=WHOLE,
    columns=listed(TEXT),
    left_out=listed(TEXT),
    refused=counts(),
    tag=maybe(TEXT),
    commit=maybe(TEXT),
    notes=listed(TEXT),
    dry_run=FLAG,
)


@verb(
    "push",
    found=PUSHED,
    examples=[
        "clipdata push contest.lance hf://datasets/ORG/NAME --dry-run",
        "clipdata push contest.lance hf://datasets/ORG/NAME --columns image,caption,label",
        "clipdata push contest.lance data-set/",
    ],
)
def push(
    terminal: Terminal,
    table: TableArgument,
    to: Annotated[str, typer.Argument(help="hf://datasets/ORG/NAME, or a folder, for which no network is needed.")],
    *,
    where: Where = None,
    columns: Annotated[
        str | None, typer.Option(help="Columns to publish, such as a,b; all but uri and source by default.")
    ] = None,
    tag: Annotated[str | None, typer.Option(help="Tag on the hub; v and the table's version by default.")] = None,
    public: Annotated[bool, typer.Option("--public", help="Let everybody see a data set that is made anew.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a folder that another push wrote.")] = False,
    dry_run: DryRun = False,
    store: VersionOptions,
) -> None:
    """Publish a table: the Lance table, a card with the lineage of every column, and Croissant metadata.

    load_dataset reads it from main alone: a tag does not survive that.
    """
    import clipdata as cd

    done = cd.push(
        store.open(table),
        to,
        where=where,
        columns=names_in(columns),
        tag=tag,
        public=public,
        overwrite=overwrite,
        dry_run=dry_run,
        progress=terminal,
    )
    terminal.result(str(done), done.to_dict())
