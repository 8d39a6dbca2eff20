"""`clipdata ingest class-list`: images in class folders."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli.options import Encoding, FollowLinks, ImagesArgument, SourceOptions, parse_pairs
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
    split: Annotated[
        list[str] | None, typer.Option(help="name=FILE: the list of a split by another name; repeatable.")
    ] = None,
    encoding: Encoding = "utf-8",
    follow_links: FollowLinks = False,
    shared: SourceOptions,
) -> None:
    """Take in images in class folders, with the lists that split them: columns label, class_name, split."""
    import ingest

    done = ingest.from_class_list(
        where,
        parse_pairs(split) if split else lists,
        encoding=encoding,
        follow_links=follow_links,
        **shared.arguments(terminal),
    )
    report_ingest(terminal, done, shared.into)
