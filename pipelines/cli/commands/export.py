"""`clipdata export`: rows as tar shards."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from clipdata.errors import TooManyRejectsError
from pipelines.cli.json_output import FLAG, TEXT, WHOLE, listed, record
from pipelines.cli.options import DryRun, TableArgument, VersionOptions, Where, names_in
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb

EXPORTED = record(
    out=TEXT,
    num_shards=WHOLE,
    num_new_shards=WHOLE,
    num_samples=WHOLE,
    num_bytes=WHOLE,
    num_without_caption=WHOLE,
    num_other_formats=WHOLE,
    num_without_image=WHOLE,
    num_not_an_image=WHOLE,
    columns=listed(TEXT),
    left_out=listed(TEXT),
    pictures_from=listed(TEXT),
    is_dry=FLAG,
)


@verb("export", found=EXPORTED, examples=['clipdata export pairs.lance --out shards/ --where "clip_score > 0.28"'])
def export(
    terminal: Terminal,
    table: TableArgument,
    *,
    out: Annotated[str, typer.Option("--out", help="Folder or URL for the shards.")],
    where: Where = None,
    rows_per_shard: Annotated[int, typer.Option(min=1, help="Rows in a shard.")] = 1000,
    columns: Annotated[
        str | None, typer.Option(help="Columns for the JSON, such as a,b; all that JSON can hold by default.")
    ] = None,
    caption: Annotated[str | None, typer.Option(help="Column for the txt; caption or captions by default.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace another export in that folder.")] = False,
    dry_run: DryRun = False,
    store: VersionOptions,
) -> None:
    """Write rows as WebDataset tar shards, which open_clip streams and `ingest shards` takes in again."""
    import ingest

    done = ingest.export_shards(
        store.open(table),
        out,
        where=where,
        rows_per_shard=rows_per_shard,
        columns=names_in(columns),
        caption=caption,
        overwrite=overwrite,
        dry_run=dry_run,
        storage=store.storage,
        progress=terminal,
    )
    terminal.result(str(done), asdict(done))
    if not done.num_samples:
        raise TooManyRejectsError("no sample was written: no row of the table has a picture and meets the condition")
