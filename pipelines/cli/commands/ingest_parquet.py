"""`clipdata ingest parquet`: rows of parquet, CSV, TSV or JSONL files."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli.options import SourceOptions
from pipelines.cli.reports import INGESTED, report_ingest
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb


@verb("ingest parquet", found=INGESTED, examples=["clipdata ingest parquet meta.parquet --into meta.lance"])
def ingest_parquet(
    terminal: Terminal,
    where: Annotated[str, typer.Argument(help="A file, a folder, or a quoted glob.")],
    *,
    required: Annotated[str, typer.Option(help="Column without which a row is refused; '' refuses none.")] = "filename",
    shared: SourceOptions,
) -> None:
    """Take in the rows of parquet, CSV, TSV or JSONL files; images in a column become image rows."""
    import ingest

    report_ingest(
        terminal, ingest.from_parquet(where, required=required or None, **shared.arguments(terminal)), shared.into
    )
