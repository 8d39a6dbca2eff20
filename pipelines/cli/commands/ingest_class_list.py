"""`clipdata ingest class-list`: images in class folders."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli.options import ImagesArgument, SourceOptions
from pipelines.cli.reports import INGESTED, report_ingest
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb


@verb(
    "ingest class-list",
    found=INGESTED,
    examples=["clipdata ingest class-list food/images --lists food/meta --into food.lance"],
)
def ingest_class_list(
    terminal: Terminal,
    where: ImagesArgument,
    *,
    lists: Annotated[
        str | None, typer.Option(help="Folder of train.txt, val.txt, test.txt; every image without it.")
    ] = None,
    shared: SourceOptions,
) -> None:
    """Take in images in class folders, with the lists that split them: columns label, class_name, split."""
    import ingest

    report_ingest(terminal, ingest.from_class_list(where, lists, **shared.arguments(terminal)), shared.into)
