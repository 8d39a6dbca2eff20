"""`clipdata ingest hugging-face`: a data set of Hugging Face's, in a folder or on the hub."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli.options import IngestOptions
from pipelines.cli.reports import INGESTED, report_ingest
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb


@verb(
    "ingest hugging-face",
    found=INGESTED,
    examples=[
        "clipdata ingest hugging-face pictures/ --into images.lance",
        "clipdata ingest hugging-face org/name --split train --into images.lance",
    ],
)
def ingest_hugging_face(
    terminal: Terminal,
    data: Annotated[
        str, typer.Argument(help="Folder that load_dataset or load_from_disk reads, or a name on the hub.")
    ],
    *,
    config: Annotated[str | None, typer.Option(help="Configuration, where the data set has several.")] = None,
    split: Annotated[str | None, typer.Option(help="This split only; all by default, in the column split.")] = None,
    image: Annotated[str | None, typer.Option(help="Column of the pictures, where several hold any.")] = None,
    required: Annotated[
        str | None, typer.Option(help="Column without which a row without pictures is refused.")
    ] = None,
    shared: IngestOptions,
) -> None:
    """Take in a Hugging Face data set: pictures keep their bytes, splits and names of classes become columns."""
    import ingest

    done = ingest.from_hugging_face(
        data, config=config, split=split, image=image, required=required, **shared.arguments(terminal)
    )
    report_ingest(terminal, done, shared.into)
