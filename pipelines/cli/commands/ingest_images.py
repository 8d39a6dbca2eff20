"""`clipdata ingest images`: image files of a folder or bucket."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli.options import FollowLinks, ImagesArgument, SourceOptions
from pipelines.cli.reports import INGESTED, report_ingest
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb


@verb("ingest images", found=INGESTED, examples=["clipdata ingest images photos/ --into images.lance"])
def ingest_images(
    terminal: Terminal,
    where: ImagesArgument,
    *,
    reference: Annotated[
        bool,
        typer.Option("--reference", help="Leave the bytes where they are, and read them whenever they are needed."),
    ] = False,
    follow_links: FollowLinks = False,
    suffixless: Annotated[bool, typer.Option("--suffixless", help="Look at files without a suffix, too.")] = False,
    shared: SourceOptions,
) -> None:
    """Take in image files: JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, and HEIC with an extra."""
    import ingest

    done = ingest.from_images(
        where, reference=reference, follow_links=follow_links, suffixless=suffixless, **shared.arguments(terminal)
    )
    report_ingest(terminal, done, shared.into)
