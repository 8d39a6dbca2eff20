"""`clipdata ingest parquet`: rows of parquet, CSV, TSV or JSONL files."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli.options import Encoding, SourceOptions, names_in
from pipelines.cli.reports import INGESTED, report_ingest
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import MAY_BE_EMPTY, verb


@verb("ingest parquet", found=INGESTED, examples=["clipdata ingest parquet meta.parquet --into meta.lance"])
def ingest_parquet(
    terminal: Terminal,
    where: Annotated[str, typer.Argument(help="A file, a folder, or a quoted glob.")],
    *,
    required: Annotated[
        str, typer.Option(help="Column without which a row is refused; '' refuses none."), MAY_BE_EMPTY
    ] = "filename",
    image: Annotated[str | None, typer.Option(help="Column of the pictures, where several hold any.")] = None,
    encoding: Encoding = "utf-8",
    delimiter: Annotated[
        str | None,
        typer.Option(help="Character between the columns of CSV and TSV, or tab; found where it is not given."),
    ] = None,
    columns: Annotated[
        str | None, typer.Option(help="Names for the columns of CSV and TSV without a header, such as a,b.")
    ] = None,
    header: Annotated[
        bool | None, typer.Option(help="Whether the first line holds names; by default where --columns does not.")
    ] = None,
    lists: Annotated[str | None, typer.Option(help="Columns of texts like ['a', 'b'] to read as lists: a,b.")] = None,
    shared: SourceOptions,
) -> None:
    """Take in the rows of parquet, CSV, TSV or JSONL files; images in a column become image rows."""
    import ingest

    done = ingest.from_parquet(
        where,
        required=required or None,
        image=image,
        encoding=encoding,
        delimiter=delimiter,
        columns=names_in(columns) or (),
        header=header,
        lists=names_in(lists) or (),
        **shared.arguments(terminal),
    )
    report_ingest(terminal, done, shared.into, naming=required or None)
