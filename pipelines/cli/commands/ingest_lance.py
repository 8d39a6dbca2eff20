"""`clipdata ingest lance`: rows of a Lance table, whoever made it."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli.options import SourceOptions, Where, names_in, version_of
from pipelines.cli.reports import INGESTED, report_ingest
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb


@verb("ingest lance", found=INGESTED, examples=["clipdata ingest lance theirs.lance --into images.lance"])
def ingest_lance(
    terminal: Terminal,
    table: Annotated[str, typer.Argument(help="The other table: a path, or gs:// s3:// az:// URL.")],
    *,
    image: Annotated[str | None, typer.Option(help="Column of the images; found by its name by default.")] = None,
    key: Annotated[str | None, typer.Option(help="Column that identifies a row; found by default.")] = None,
    columns: Annotated[str | None, typer.Option(help="Other columns to take, such as a,b; all by default.")] = None,
    where: Where = None,
    version: Annotated[str | None, typer.Option(help="Version number or tag to read; the newest by default.")] = None,
    shared: SourceOptions,
) -> None:
    """Take in the rows of a Lance table that another tool made: images or metadata."""
    import ingest

    done = ingest.from_lance(
        table,
        image=image,
        key=key,
        columns=names_in(columns),
        where=where,
        version=version_of(version) if version is not None else None,
        **shared.arguments(terminal),
    )
    report_ingest(terminal, done, shared.into)
