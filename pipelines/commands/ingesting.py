"""`clipdata ingest …` and `clipdata merge`: the ways in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.options import (
    Anonymous,
    AsJson,
    Into,
    MaxRejects,
    Quiet,
    RetryRejects,
    StorageOptions,
    examples,
    storage_of,
)
from pipelines.terminal import Terminal

if TYPE_CHECKING:
    from ingest import Ingested

app = typer.Typer(help="Bring a table up to date with images or metadata.", no_args_is_help=True)
verbs = typer.Typer()


@app.command(epilog=examples("clipdata ingest images photos/ --into images.lance"))
def images(
    where: Annotated[str, typer.Argument(help="Folder, or URL of a bucket's prefix; searched with all inside.")],
    into: Into,
    reference: Annotated[
        bool,
        typer.Option("--reference", help="Leave the bytes where they are, and read them whenever they are needed."),
    ] = False,
    anonymous: Anonymous = False,
    storage_option: StorageOptions = None,
    retry_rejects: RetryRejects = False,
    max_rejects: MaxRejects = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Take in image files: JPEG, PNG, WebP, GIF, BMP, TIFF."""
    import ingest

    terminal = Terminal(as_json=as_json, quiet=quiet)
    done = ingest.from_images(
        where,
        into=into,
        reference=reference,
        anonymous=anonymous,
        storage=storage_of(storage_option),
        retry_rejects=retry_rejects,
        max_rejects=max_rejects,
        progress=terminal,
    )
    report(terminal, done)
    terminal.hint(f"clipdata ingest parquet FILE.parquet --into meta.lance; clipdata merge {into} meta.lance --into …")


@app.command(epilog=examples("clipdata ingest parquet meta.parquet --into meta.lance"))
def parquet(
    where: Annotated[str, typer.Argument(help="A file, a folder of *.parquet, or a quoted glob.")],
    into: Into,
    required: Annotated[str, typer.Option(help="Column without which a row is refused.")] = "filename",
    anonymous: Anonymous = False,
    storage_option: StorageOptions = None,
    retry_rejects: RetryRejects = False,
    max_rejects: MaxRejects = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Take in the rows of parquet files."""
    import ingest

    terminal = Terminal(as_json=as_json, quiet=quiet)
    done = ingest.from_parquet(
        where,
        into=into,
        required=required or None,
        anonymous=anonymous,
        storage=storage_of(storage_option),
        retry_rejects=retry_rejects,
        max_rejects=max_rejects,
        progress=terminal,
    )
    report(terminal, done)


@verbs.command(epilog=examples("clipdata merge images.lance meta.lance --into contest.lance"))
def merge(
    images: Annotated[str, typer.Argument(help="Table of images.")],
    metadata: Annotated[str, typer.Argument(help="Table of metadata.")],
    into: Into,
    on: Annotated[str, typer.Option(help="Column of the images to join on.")] = "filename",
    metadata_on: Annotated[str | None, typer.Option(help="Column of the metadata, when its name differs.")] = None,
    group: Annotated[bool, typer.Option("--group", help="One row an image, with lists.")] = False,
    copy_images: Annotated[
        bool,
        typer.Option(help="Write each row's picture into the table, instead of which row of IMAGES holds it."),
    ] = False,
    storage_option: StorageOptions = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Join images and metadata into one table, one row a metadata row."""
    import ingest

    terminal = Terminal(as_json=as_json, quiet=quiet)
    storage = storage_of(storage_option)
    done = ingest.merge_report(
        images,
        metadata,
        into=into,
        on=on,
        metadata_on=metadata_on,
        group=group,
        copy_images=copy_images,
        storage=storage,
        progress=terminal,
    )
    terminal.result(str(done), done.to_dict())
    terminal.hint(f"clipdata map {into} choice-scores scores --model starter")


def report(terminal: Terminal, done: Ingested) -> None:
    """Print what an ingest did."""
    terminal.result(str(done), done.to_dict())
