"""`clipdata export`: rows as files that other tools read."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli.options import (
    DryRun,
    RowsLimit,
    RowsSample,
    Seed,
    TableArgument,
    VersionOptions,
    Where,
    count_or_share,
    names_in,
)
from pipelines.cli.reports import EXPORTED
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb


@verb(
    "export",
    found=EXPORTED,
    examples=[
        'clipdata export pairs.lance --out shards/ --where "clip_score > 0.28"',
        "clipdata export pairs.lance --out pairs.parquet",
        "clipdata export pairs.lance --out scores.csv --columns path,clip_score",
        "clipdata export pairs.lance --out pictures/ --format folder --split-column split",
    ],
)
def export(
    terminal: Terminal,
    table: TableArgument,
    *,
    out: Annotated[str, typer.Option("--out", help="File, folder or URL to write.")],
    format: Annotated[  # noqa: A002 - the word that people type
        str | None,
        typer.Option(
            help="parquet, csv, tsv, jsonl, lance, folder (pictures with metadata.jsonl) or shards (WebDataset); what "
            "the suffix of --out says by default, and shards for a folder."
        ),
    ] = None,
    where: Where = None,
    columns: Annotated[
        str | None, typer.Option(help="Columns to write, such as a,b; all that the format can hold by default.")
    ] = None,
    limit: RowsLimit = None,
    sample: RowsSample = None,
    seed: Seed = 0,
    rows_per_shard: Annotated[int | None, typer.Option(min=1, help="Shards: rows in one, 1,000 by default.")] = None,
    caption: Annotated[
        str | None, typer.Option(help="Shards: column for the txt; caption or captions by default.")
    ] = None,
    split_column: Annotated[
        str | None, typer.Option(help="Folder: column whose values (train, test) become its folders.")
    ] = None,
    bom: Annotated[bool, typer.Option("--bom", help="CSV: begin with a byte order mark, for Excel.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file or the export that is there.")
    ] = False,
    max_rejects: Annotated[
        str | None,
        typer.Option("--max-rejects", help="Exit with 6 when more rows are left out: a number, or a share."),
    ] = None,
    dry_run: DryRun = False,
    store: VersionOptions,
) -> None:
    """Write rows as files that other tools read: pictures keep their bytes, and nothing half written looks whole."""
    import clipdata as cd

    bound = count_or_share(max_rejects, "--max-rejects")
    done = cd.export(
        store.open(table),
        out,
        format=format,
        where=where,
        columns=names_in(columns),
        limit=limit,
        sample=sample,
        seed=seed,
        rows_per_shard=rows_per_shard,
        caption=caption,
        split_column=split_column,
        bom=bom,
        overwrite=overwrite,
        dry_run=dry_run,
        storage=store.storage,
        progress=terminal,
    )
    terminal.result(str(done), done.to_dict())
    done.hold(max_rejects=bound)
