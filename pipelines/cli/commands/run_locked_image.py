"""`clipdata run locked-image`: a text tower trained to read a locked image tower, or what of it is still to be done."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pipelines.cli.options import Encoding, PairsOptions
from pipelines.cli.reports import pipeline_schema, report_pipeline
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb


@verb(
    "run locked-image",
    found=pipeline_schema,
    examples=[
        "clipdata run locked-image",
        "clipdata run locked-image --train-file train.csv --test-file test.csv --images images/ --out work/",
        "clipdata run locked-image --train-args-file train_args/train_clip.json",
    ],
)
def run_locked_image(
    terminal: Terminal,
    *,
    train_args_file: Annotated[
        str | None, typer.Option(help="JSON file with the arguments of CLIP-Chinese: train_clip.json.")
    ] = None,
    train_file: Annotated[
        str | None, typer.Option(help="List of pairs to train on: CSV text,url,filename; the sample by default.")
    ] = None,
    test_file: Annotated[
        str | None, typer.Option(help="List of pairs to measure on; by default pictures are held out.")
    ] = None,
    images: Annotated[
        str | None, typer.Option(help="Folder of the pictures by their file names; by default they are downloaded.")
    ] = None,
    download: Annotated[
        bool, typer.Option("--download", help="Take pictures from their addresses, though a folder is named.")
    ] = False,
    text: Annotated[str, typer.Option(help="Column of the texts.")] = "text",
    url: Annotated[str, typer.Option(help="Column of the pictures' addresses.")] = "url",
    filename: Annotated[str, typer.Option(help="Column of the pictures' file names.")] = "filename",
    encoding: Encoding = "utf-8",
    bert: Annotated[
        str, typer.Option(help="Text tower: a folder or hub name, starter, or random over the texts' characters.")
    ] = "random",
    whole: Annotated[
        bool, typer.Option("--whole", help="Go on with both towers of --model, an earlier run's.")
    ] = False,
    length: Annotated[int, typer.Option(min=3, max=65_536, help="Most tokens of a text.")] = 100,
    layers: Annotated[int, typer.Option(min=1, max=1_000, help="Of a random text tower.")] = 2,
    width: Annotated[int, typer.Option(min=32, max=65_536, help="Of a random text tower.")] = 128,
    allow_private: Annotated[
        list[str] | None, typer.Option(metavar="HOST", help="A private host that pictures may be downloaded from.")
    ] = None,
    shared: PairsOptions,
) -> None:
    """Train a text tower, as of Chinese, to read what a locked image tower sees, and compare on held-out pictures."""
    from pipelines import locked_image as locked
    from pipelines.train_arguments import TrainArguments

    given: dict[str, Any] = shared.arguments()
    if given["model"] == "new":
        given["model"] = "starter"
    settings = locked.LockedImageSettings(
        arguments=TrainArguments.read(train_args_file) if train_args_file is not None else None,
        train_file=train_file,
        test_file=test_file,
        images=images,
        download=download,
        text=text,
        url=url,
        filename=filename,
        encoding=encoding,
        bert=bert,
        whole=whole,
        length=length,
        layers=layers,
        width=width,
        allow_private=tuple(allow_private or ()),
        **given,
    )
    report_pipeline(terminal, locked.run_locked_image(settings, terminal))
