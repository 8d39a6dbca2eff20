"""`clipdata ingest captions`: images with the captions that another file has for them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from pipelines.cli.options import Encoding, FollowLinks, ImagesArgument, SourceOptions, names_in, parse_pairs
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
    file: Annotated[
        str, typer.Argument(help="Captions: Flickr's image#k<TAB>text, COCO's or Karpathy's JSON, tables.")
    ],
    *,
    rows: Annotated[Rows, typer.Option(help="One row an image with a list, or one row a caption.")] = Rows.image,
    file_format: Annotated[
        str | None,
        typer.Option("--format", help="flickr, csv, jsonl, coco or karpathy, where the file does not show it."),
    ] = None,
    image_column: Annotated[str | None, typer.Option(help="Column of a table with the image's name.")] = None,
    caption_columns: Annotated[str | None, typer.Option(help="Columns of a table with captions, such as a,b.")] = None,
    split: Annotated[
        list[str] | None, typer.Option(help="name=FILE that lists the images of a split; repeatable.")
    ] = None,
    encoding: Encoding = "utf-8",
    follow_links: FollowLinks = False,
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
        image_column=image_column,
        caption_columns=names_in(caption_columns) or (),
        encoding=encoding,
        follow_links=follow_links,
        **shared.arguments(terminal),
    )
    report_ingest(terminal, done, shared.into)
