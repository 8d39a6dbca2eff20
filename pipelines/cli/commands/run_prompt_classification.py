"""`clipdata run prompt-classification`: the whole of it, or what of it is still to be done."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pipelines.cli.options import Encoding, PipelineOptions, between_0_and_1
from pipelines.cli.reports import pipeline_schema, report_pipeline
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb


@verb(
    "run prompt-classification",
    found=pipeline_schema,
    examples=[
        "clipdata run prompt-classification",
        "clipdata run prompt-classification --images images/ --lists meta/ --model RN50/openai --config document",
        'clipdata run prompt-classification --images DIR --template "a photo of {}, a food" --classes names.txt',
    ],
)
def run_prompt_classification(
    terminal: Terminal,
    *,
    images: Annotated[
        str | None,
        typer.Option(help="class/name.jpg or split/class/name.jpg; the built-in sample by default."),
    ] = None,
    lists: Annotated[str | None, typer.Option(help="Folder of train.txt and test.txt, lines class/name.")] = None,
    encoding: Encoding = "utf-8",
    table: Annotated[str | None, typer.Option(help="A table that is there already, instead of --images.")] = None,
    label: Annotated[str, typer.Option(help="Its column of classes.")] = "label",
    classes: Annotated[str | None, typer.Option(help="File of the names to prompt, one a line, in order.")] = None,
    template: Annotated[
        list[str] | None, typer.Option(help='Prompt with braces for the class, "a photo of {}"; repeatable.')
    ] = None,
    objective: Annotated[
        str | None,
        typer.Option(
            help="in-batch: which prompt of the batch is the picture's, equal ones alike (default); as-written: equal "
            "ones are negatives; class-softmax: which of all classes."
        ),
    ] = None,
    test_share: Annotated[
        float, typer.Option(callback=between_0_and_1, help="Share of a class to hold out when nothing says which.")
    ] = 0.2,
    shared: PipelineOptions,
) -> None:
    """Classify pictures by prompts, fine-tune on their classes, and classify the held-out ones again."""
    from pipelines import prompt_classification as classification

    chosen: Any = objective
    templates: dict[str, Any] = {"templates": tuple(template)} if template else {}
    settings = classification.ClassificationSettings(
        images=images,
        lists=lists,
        encoding=encoding,
        table=table,
        label=label,
        classes=classes,
        **templates,
        objective=chosen,
        test_share=test_share,
        **shared.arguments(),
    )
    report_pipeline(terminal, classification.run_prompt_classification(settings, terminal))
