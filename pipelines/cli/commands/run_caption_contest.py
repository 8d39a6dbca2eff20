"""`clipdata run caption-contest`: the whole contest, or what of it is still to be done."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli.options import PipelineOptions, between_0_and_1
from pipelines.cli.reports import pipeline_schema, report_pipeline
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb


@verb(
    "run caption-contest",
    found=pipeline_schema,
    examples=[
        "clipdata run caption-contest",
        "clipdata run caption-contest --sample 10 --config document --out ten/",
        "clipdata run caption-contest --images DIR_OR_URL --metadata FILE.parquet --model ViT-B-32/openai --out work/",
    ],
)
def run_caption_contest(
    terminal: Terminal,
    *,
    images: Annotated[str | None, typer.Option(help="Pictures; the built-in sample by default.")] = None,
    metadata: Annotated[str | None, typer.Option(help="Parquet file with the questions.")] = None,
    table: Annotated[
        str | None, typer.Option(help="Table that holds pictures and questions already, instead of both.")
    ] = None,
    filename: Annotated[str, typer.Option(help="Column that names the picture.")] = "filename",
    choices: Annotated[str, typer.Option(help="Column with the captions to choose from.")] = "caption_choices",
    label: Annotated[
        str, typer.Option(help="Column that says which caption is right: a letter or an index.")
    ] = "label",
    reference: Annotated[bool, typer.Option("--reference", help="Leave the pictures where they are.")] = False,
    test_share: Annotated[
        float, typer.Option(callback=between_0_and_1, help="Share to hold out when there is no split column.")
    ] = 0.2,
    shared: PipelineOptions,
) -> None:
    """Score captions, fine-tune on the right ones, score again, and compare on held-out pictures."""
    from pipelines import caption_contest as contest

    settings = contest.ContestSettings(
        images=images,
        metadata=metadata,
        table=table,
        filename=filename,
        choices=choices,
        label=label,
        test_share=test_share,
        reference=reference,
        **shared.arguments(),
    )
    report_pipeline(terminal, contest.run_caption_contest(settings, terminal))
