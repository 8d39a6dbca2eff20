"""`clipdata merge`: images and metadata in one table."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli.options import Into, StorageOptions
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb


@verb("merge", examples=["clipdata merge images.lance meta.lance --into contest.lance"])
def merge(
    terminal: Terminal,
    images: Annotated[str, typer.Argument(help="Table of images.")],
    metadata: Annotated[str, typer.Argument(help="Table of metadata.")],
    *,
    into: Into,
    on: Annotated[str, typer.Option(help="Column of the images to join on.")] = "filename",
    metadata_on: Annotated[str | None, typer.Option(help="Column of the metadata, when its name differs.")] = None,
    group: Annotated[bool, typer.Option("--group", help="One row an image, with lists.")] = False,
    store: StorageOptions,
) -> None:
    """Join images and metadata into one table, one row a metadata row."""
    import ingest

    done = ingest.merge_report(
        images,
        metadata,
        into=into,
        on=on,
        metadata_on=metadata_on,
        group=group,
        storage=store.storage,
        progress=terminal,
    )
    terminal.result(str(done), done.to_dict())
    terminal.hint(f"clipdata map {into} choice-scores scores --model starter")
