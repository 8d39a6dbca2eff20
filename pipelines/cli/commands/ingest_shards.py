"""`clipdata ingest shards`: WebDataset tar shards."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli.options import SourceOptions
from pipelines.cli.reports import INGESTED, report_ingest
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb


@verb(
    "ingest shards",
    found=INGESTED,
    examples=["clipdata ingest shards 'gs://bucket/{00000..00099}.tar' --into pairs.lance"],
)
def ingest_shards(
    terminal: Terminal,
    where: Annotated[list[str], typer.Argument(help="Tar shards: files, a folder, a glob, or {00000..00099}.tar.")],
    *,
    shared: SourceOptions,
) -> None:
    """Take in WebDataset tar shards: image, txt and json of each sample."""
    import ingest

    report_ingest(terminal, ingest.from_shards(where, **shared.arguments(terminal)), shared.into)
