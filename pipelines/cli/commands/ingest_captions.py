"""`clipdata ingest captions`: images with the captions that another file has for them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from pipelines.cli.options import ImagesArgument, SourceOptions, parse_pairs
from pipelines.cli.reports import INGESTED, report_ingest
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb


class Rows(StrEnum):
    """What a row is."""

    image = "image"
    caption = "caption"


@verb(
    "ingest captions",
    found=INGESTED,
    examples=["clipdata ingest captions Flickr8k/Images Flickr8k/captions.txt --into flickr.lance"],
)
def ingest_captions(
    terminal: Terminal,
    where: ImagesArgument,
    file: Annotated[str, typer.Argument(help="Captions: Flickr8k's image#k<TAB>text, COCO's JSON, or CSV.")],
    *,
    rows: Annotated[Rows, typer.Option(help="One row an image with a list, or one row a caption.")] = Rows.image,
    file_format: Annotated[
        str | None, typer.Option("--format", help="flickr, coco or csv, where the file does not show it.")
    ] = None,
    split: Annotated[
        list[str] | None, typer.Option(help="name=FILE that lists the images of a split; repeatable.")
    ] = None,
    shared: SourceOptions,
) -> None:
    """Take in images with the captions that another file has for them."""
    import ingest

    done = ingest.from_captions(
        where,
        file,
        rows=rows.value,
        file_format=file_format,
        splits=parse_pairs(split) or None,
        **shared.arguments(terminal),
    )
    report_ingest(terminal, done, shared.into)
