"""`clipdata merge`: images and metadata in one table."""

from __future__ import annotations

from typing import Annotated

import typer

from clipdata import hints
from clipdata.errors import TooManyRejectsError
from pipelines.cli.json_output import FLAG, NUMBER, TEXT, WHOLE, counts, listed, maybe, record
from pipelines.cli.next_command import next_command
from pipelines.cli.options import DryRun, Into, RowsLimit, RowsSample, Seed, StorageOptions
from pipelines.cli.reports import WRITTEN
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb

MERGED = record(
    table=TEXT,
    version=WHOLE,
    rows=WHOLE,
    **WRITTEN,
    matched=WHOLE,
    unmatched_metadata=listed(TEXT),
    num_unmatched_metadata=WHOLE,
    unmatched_images=listed(TEXT),
    num_unmatched_images=WHOLE,
    joined_though_not_equal=counts(),
    joined_examples=listed(listed(TEXT)),
    renamed={"type": "object", "additionalProperties": TEXT},
    renamed_images={"type": "object", "additionalProperties": TEXT},
    pictures=maybe(TEXT),
    changed=WHOLE,
    notes=listed(TEXT),
    needs_yes=maybe(TEXT),
    dry_run=FLAG,
    seconds=NUMBER,
)


@verb("merge", found=MERGED, examples=["clipdata merge images.lance meta.lance --into contest.lance"])
def merge(
    terminal: Terminal,
    images: Annotated[str, typer.Argument(help="Table of images.")],
    metadata: Annotated[str, typer.Argument(help="Table of metadata.")],
    *,
    into: Into,
    on: Annotated[str, typer.Option(help="Column of the images to join on.")] = "filename",
    metadata_on: Annotated[str | None, typer.Option(help="Column of the metadata, when its name differs.")] = None,
    group: Annotated[bool, typer.Option("--group", help="One row an image, with lists.")] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Merge also where most rows would go, or the table is of another pair.")
    ] = False,
    limit: RowsLimit = None,
    sample: RowsSample = None,
    seed: Seed = 0,
    dry_run: DryRun = False,
    copy_images: Annotated[
        bool | None,
        typer.Option(
            "--copy-images/--no-copy-images",
            help="Write each row's picture into the table, instead of which row of IMAGES holds it; a table that is "
            "there stays as it is by default.",
            show_default=False,
        ),
    ] = None,
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
        yes=yes,
        limit=limit,
        sample=sample,
        seed=seed,
        dry_run=dry_run,
        copy_images=copy_images,
        storage=store.storage,
        progress=terminal,
    )
    terminal.result(str(done), done.to_dict())
    if done.dry_run:
        return
    if not done.usable:
        raise TooManyRejectsError(
            f"no row was merged: no metadata row names a picture by {on!r}",
            hint=f"clipdata rejects {hints.typed(into)} lists what found no partner; name other columns with --on and "
            "--metadata-on",
        )
    terminal.hint(next_command(done.table, into) or f"clipdata show {hints.typed(into)}")
