"""`clipdata fine-tune`: the pipeline that fits the data."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli.json_output import TEXT, Schema
from pipelines.cli.options import PipelineOptions
from pipelines.cli.reports import pipeline_schema, report_pipeline
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb


def _found() -> Schema:
    schema = pipeline_schema()
    own = {"pipeline": TEXT, "reason": TEXT}
    return {**schema, "properties": {**own, **schema["properties"]}, "required": [*own, *schema["required"]]}


@verb(
    "fine-tune",
    found=_found,
    examples=["clipdata fine-tune photos/ --out work/", "clipdata fine-tune flickr8k.lance --model ViT-B-32/openai"],
)
def fine_tune(
    terminal: Terminal,
    data: Annotated[
        str,
        typer.Argument(help="Lance table; or a folder of class folders, or of pictures with a file of captions."),
    ],
    *,
    shared: PipelineOptions,
) -> None:
    """Fine-tune on whatever data there is, and compare on held-out pictures: the data says for what."""
    from pipelines.fine_tune import fine_tune as run
    from pipelines.settings import PipelineSettings

    found, result = run(data, PipelineSettings(**shared.arguments()), terminal)
    report_pipeline(terminal, result, pipeline=found.pipeline, reason=found.reason)
