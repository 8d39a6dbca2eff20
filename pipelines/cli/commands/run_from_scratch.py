"""`clipdata run from-scratch`: a model with random weights, trained on pairs, or what of it is still to be done."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli.options import Encoding, PairsOptions, names_in, parse_pairs
from pipelines.cli.reports import pipeline_schema, report_pipeline
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb


@verb(
    "run from-scratch",
    found=pipeline_schema,
    examples=[
        "clipdata run from-scratch",
        "clipdata run from-scratch --pairs captions.csv --images photos/ --out work/",
        "clipdata run from-scratch --texts texts.txt --paths paths.txt --model-config document --config document",
    ],
)
def run_from_scratch(
    terminal: Terminal,
    *,
    pairs: Annotated[
        str | None, typer.Option(help="File with a caption and a path a line; the built-in sample by default.")
    ] = None,
    images: Annotated[str | None, typer.Option(help="Folder of the pictures, where paths do not lead there.")] = None,
    test_pairs: Annotated[str | None, typer.Option(help="File of pairs to measure on.")] = None,
    texts: Annotated[str | None, typer.Option(help="File with a text a line, instead of --pairs.")] = None,
    paths: Annotated[str | None, typer.Option(help="File with a picture's path a line, beside --texts.")] = None,
    caption_columns: Annotated[str | None, typer.Option(help="Columns of captions, such as a,b.")] = None,
    path_column: Annotated[str | None, typer.Option(help="Column of the pictures' paths.")] = None,
    split: Annotated[
        list[str] | None, typer.Option(help="train=FILE or test=FILE that lists the pictures of a split; repeatable.")
    ] = None,
    encoding: Encoding = "utf-8",
    model_config: Annotated[
        str, typer.Option(help="JSON file of a model; small or document: those of the pipeline.")
    ] = "small",
    tokenizer: Annotated[
        str | None, typer.Option(help="Tokenizer: a folder or hub name; the config's by default.")
    ] = None,
    shared: PairsOptions,
) -> None:
    """Make a model with random weights, train it on pairs of texts and pictures, and measure what holds."""
    from pipelines import from_scratch as scratch

    settings = scratch.FromScratchSettings(
        pairs=pairs,
        images=images,
        test_pairs=test_pairs,
        texts=texts,
        paths=paths,
        caption_columns=names_in(caption_columns) or (),
        path_column=path_column,
        splits=parse_pairs(split),
        encoding=encoding,
        model_config=model_config,
        tokenizer=tokenizer,
        **shared.arguments(),
    )
    report_pipeline(terminal, scratch.run_from_scratch(settings, terminal))
