"""`clipdata run …`: whole pipelines."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.options import Anonymous, AsJson, Device, Model, Quiet, Settings, StorageOptions, examples, storage_of
from pipelines.terminal import Terminal

app = typer.Typer(help="Run a whole pipeline, or what of it is still to be done.", no_args_is_help=True)


@app.callback()
def _pipelines() -> None:
    """Keep the pipeline's name part of the command, also while there is one pipeline only."""


@app.command(
    name="caption-contest",
    epilog=examples(
        "clipdata run caption-contest",
        "clipdata run caption-contest --images DIR_OR_URL --metadata FILE.parquet --model ViT-B-32/openai --out work/",
    ),
)
def caption_contest(
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
    test_share: Annotated[float, typer.Option(help="Share to hold out when there is no split column.")] = 0.2,
    settings: Settings = None,
    anonymous: Anonymous = False,
    storage_option: StorageOptions = None,
    device: Device = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Score captions, fine-tune on the right ones, score again, and compare on held-out pictures."""
    from pipelines.caption_contest import ContestSettings, run_caption_contest
    from pipelines.named_steps import parse_pairs

    terminal = Terminal(as_json=as_json, quiet=quiet)
    result = run_caption_contest(
        ContestSettings(
            images=images,
            metadata=metadata,
            model=model,
            out=out,
            runs=runs,
            filename=filename,
            choices=choices,
            label=label,
            test_share=test_share,
            training=parse_pairs(settings or []),
            anonymous=anonymous,
            storage=storage_of(storage_option),
            device=device,
        ),
        terminal,
    )
    if not result.changed:
        terminal.say("nothing changed since the last run: the figures are those of the tables as they are")
    terminal.result(str(result.comparison), result.to_dict())
    terminal.hint(f"clipdata log {result.table.uri}")
