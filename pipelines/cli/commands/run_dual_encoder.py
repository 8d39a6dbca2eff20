"""`clipdata run dual-encoder`: two backbones joined on a Lance table, or what of it is still to be done."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from pipelines.cli.options import PairsOptions
from pipelines.cli.reports import pipeline_schema, report_pipeline
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb


class Loss(StrEnum):
    """What a training minimises."""

    multi_positive = "multi-positive"
    soft_target = "soft-target"
    contrastive = "contrastive"
    siglip = "siglip"


class Captions(StrEnum):
    """Which of a picture's captions a step takes."""

    longest = "longest"
    random = "random"
    each = "each"


@verb(
    "run dual-encoder",
    found=pipeline_schema,
    examples=[
        "clipdata run dual-encoder",
        "clipdata run dual-encoder --table flickr8k.lance --image-model resnet50 --text-model bert-base-cased "
        '--search "a dog runs"',
        "clipdata run dual-encoder --config document --out as-written/",
    ],
)
def run_dual_encoder(
    terminal: Terminal,
    *,
    table: Annotated[
        str | None, typer.Option(help="Lance table of pictures with captions; the built-in sample by default.")
    ] = None,
    test_table: Annotated[str | None, typer.Option(help="Another such table, to measure on.")] = None,
    captions_column: Annotated[str | None, typer.Option(help="Column of captions: one or a list a row.")] = None,
    image_column: Annotated[str | None, typer.Option(help="Column of the bytes of pictures.")] = None,
    image_model: Annotated[str, typer.Option(help="Image backbone by timm's name, such as resnet50.")] = "starter",
    image_weights: Annotated[
        str | None, typer.Option(help="Weights of the image backbone: pretrained, random, or a file or folder.")
    ] = None,
    text_model: Annotated[
        str, typer.Option(help="Text backbone: a folder, hub name or type, such as bert-base-cased.")
    ] = "starter",
    text_weights: Annotated[
        str | None, typer.Option(help="Weights of the text backbone: pretrained, random, or a folder or hub name.")
    ] = None,
    tokenizer: Annotated[
        str | None, typer.Option(help="Tokenizer: a folder or hub name; the text backbone's by default.")
    ] = None,
    embed_dim: Annotated[
        int, typer.Option(min=1, max=65_536, help="Dimensions of the space that both heads project into.")
    ] = 256,
    image_size: Annotated[
        int, typer.Option(min=1, max=16_384, help="Side in pixels to which pictures are squashed.")
    ] = 128,
    max_length: Annotated[int, typer.Option(min=1, max=65_536, help="Tokens of a caption that are read.")] = 18,
    loss: Annotated[Loss | None, typer.Option(help="What is minimised; multi-positive by default.")] = None,
    captions: Annotated[
        Captions | None, typer.Option(help="Which of a picture's captions a training step takes; random by default.")
    ] = None,
    shared: PairsOptions,
) -> None:
    """Join an image and a text backbone on a Lance table of captioned pictures, and search these by text."""
    from pipelines import dual_encoder as dual

    settings = dual.DualEncoderSettings(
        table=table,
        test_table=test_table,
        captions_column=captions_column,
        image_column=image_column,
        image_model=image_model,
        image_weights=image_weights,
        text_model=text_model,
        text_weights=text_weights,
        tokenizer=tokenizer,
        embed_dim=embed_dim,
        image_size=image_size,
        max_length=max_length,
        loss=loss.value.replace("-", "_") if loss is not None else None,  # type: ignore[arg-type]
        captions=captions.value if captions is not None else None,
        **shared.arguments(),
    )
    report_pipeline(terminal, dual.run_dual_encoder(settings, terminal))
