"""`clipdata run caption-contest`: the whole contest, or what of it is still to be done."""

from __future__ import annotations

from typing import Annotated

import typer

from clipdata import hints
from pipelines.cli.json_output import FLAG, TEXT, WHOLE, Schema, record
from pipelines.cli.options import Device, Model, Settings, SourceStorageOptions, parse_pairs
from pipelines.cli.reports import RUN
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb


def _found() -> Schema:
    from clipdata.comparison import json_schema

    return record(table=TEXT, version=WHOLE, run=RUN, comparison=json_schema(), changed=FLAG)


@verb(
    "run caption-contest",
    found=_found,
    examples=[
        "clipdata run caption-contest",
        "clipdata run caption-contest --images DIR_OR_URL --metadata FILE.parquet --model ViT-B-32/openai --out work/",
    ],
)
def run_caption_contest(
    terminal: Terminal,
    *,
    images: Annotated[str | None, typer.Option(help="Pictures; the built-in sample by default.")] = None,
    metadata: Annotated[str | None, typer.Option(help="Parquet file with the questions.")] = None,
    model: Model = "starter",
    out: Annotated[str, typer.Option(help="Folder or URL for the tables.")] = "work",
    runs: Annotated[str | None, typer.Option(help="Local folder for the training runs; OUT/runs by default.")] = None,
    filename: Annotated[str, typer.Option(help="Column that names the picture.")] = "filename",
    choices: Annotated[str, typer.Option(help="Column with the captions to choose from.")] = "caption_choices",
    label: Annotated[
        str, typer.Option(help="Column that says which caption is right: a letter or an index.")
    ] = "label",
    reference: Annotated[bool, typer.Option("--reference", help="Leave the pictures where they are.")] = False,
    test_share: Annotated[float, typer.Option(help="Share to hold out when there is no split column.")] = 0.2,
    settings: Settings = None,
    device: Device = None,
    store: SourceStorageOptions,
) -> None:
    """Score captions, fine-tune on the right ones, score again, and compare on held-out pictures."""
    from pipelines import caption_contest as contest

    result = contest.run_caption_contest(
        contest.ContestSettings(
            images=images,
            metadata=metadata,
            model=model,
            out=out,
            runs=runs,
            filename=filename,
            choices=choices,
            label=label,
            test_share=test_share,
            training=parse_pairs(settings),
            reference=reference,
            anonymous=store.anonymous,
            storage=store.storage,
            device=device,
        ),
        terminal,
    )
    if not result.changed:
        terminal.say("nothing changed since the last run: the figures are those of the tables as they are")
    terminal.result(str(result.comparison), result.to_dict())
    terminal.hint(hints.log(result.table.uri))
