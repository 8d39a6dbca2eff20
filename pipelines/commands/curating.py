"""`clipdata map`, `train`, `compare`: new columns, a tuned model, and the difference it made."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.options import (
    AsJson,
    Device,
    Model,
    Quiet,
    Settings,
    StorageOptions,
    Where,
    examples,
    storage_of,
)
from pipelines.terminal import Terminal

verbs = typer.Typer()
TableArgument = Annotated[str, typer.Argument(help="Table: a path, or gs:// s3:// az:// URL.")]


@verbs.command(
    name="map",
    epilog=examples(
        "clipdata map contest.lance choice-scores scores --model starter",
        "clipdata map contest.lance label-index label_ind -p label=label",
        "clipdata map contest.lance pick label_prob -p values=scores -p index=label_ind",
        "clipdata map contest.lance my_steps.py:sharpness sharpness",
    ),
)
def map_(
    table: TableArgument,
    step: Annotated[str, typer.Argument(help="A step's name, or FILE.py:function for your own.")],
    column: Annotated[str, typer.Argument(help="Column to fill.")],
    model: Annotated[str | None, typer.Option("--model", "-m", help="Model of the steps that need one.")] = None,
    parameter: Annotated[
        list[str] | None, typer.Option("--parameter", "-p", help="key=value of the step; repeatable.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a column that was made otherwise.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Compute rows that failed before too.")] = False,
    device: Device = None,
    storage_option: StorageOptions = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Fill a column with what a step makes of each row, where it is null.

    Steps: choice-scores, pair-score, image-trunk, image-embedding, text-embedding (these take --model), label-index,
    pick, and any function of yours marked with @clipdata.step.
    """
    import clipdata as cd
    from pipelines.named_steps import build_step

    terminal = Terminal(as_json=as_json, quiet=quiet)
    opened = cd.open_table(table, storage=storage_of(storage_option))
    built = build_step(step, parameter or [], model=model, device=device, say=terminal.say)
    done = cd.map_column(opened, built, column, overwrite=overwrite, retry_failed=retry_failed, progress=terminal)
    terminal.result(str(done), done.to_dict())
    terminal.hint(f"clipdata show {table}")


@verbs.command(
    epilog=examples("clipdata train contest.lance --model starter --out runs/contest --where \"split = 'train'\"")
)
def train(
    table: TableArgument,
    out: Annotated[str, typer.Option("--out", help="Folder of the run.")],
    model: Model = "starter",
    recipe: Annotated[str, typer.Option(help="Recipe that the config starts from.")] = "caption_contest",
    settings: Settings = None,
    where: Where = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Discard another run in the same folder.")] = False,
    device: Device = None,
    storage_option: StorageOptions = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Fine-tune a model on the rows of a table; goes on where a killed run stopped."""
    import clipdata as cd
    from pipelines.named_steps import parse_pairs, recipe_named

    terminal = Terminal(as_json=as_json, quiet=quiet)
    opened = cd.open_table(table, storage=storage_of(storage_option))
    config = recipe_named(recipe)(**cd.TrainConfig.parse_settings(parse_pairs(settings or [])))
    encoder = cd.load_encoder(model, device=device)
    run = cd.train(opened, encoder, config, out=out, where=where, overwrite=overwrite, progress=terminal)
    terminal.result(str(run), run.to_dict())
    terminal.hint(f"clipdata map {table} choice-scores scores_fine_tune --model {out}")


@verbs.command(
    epilog=examples("clipdata compare contest.lance label_prob label_prob_fine_tune --where \"split = 'test'\"")
)
def compare(
    table: TableArgument,
    before: Annotated[str, typer.Argument(help="Column of the values before.")],
    after: Annotated[str, typer.Argument(help="Column of the values after.")],
    where: Where = None,
    by: Annotated[str | None, typer.Option(help="Column of groups to show apart.")] = None,
    table_before: Annotated[str | None, typer.Option(help="Another table that holds the values before.")] = None,
    version_before: Annotated[int | None, typer.Option(help="Version of the table that holds them.")] = None,
    fail_if: Annotated[
        list[str] | None, typer.Option("--fail-if", help='Gate such as "accuracy.difference < 0"; exit code 7.')
    ] = None,
    storage_option: StorageOptions = None,
    as_json: AsJson = False,
) -> None:
    """Compare two columns over the same rows: difference with its interval, accuracy, wins and losses, worst rows."""
    import clipdata as cd

    terminal = Terminal(as_json=as_json)
    storage = storage_of(storage_option)
    opened = cd.open_table(table, storage=storage)
    other = None
    if table_before is not None or version_before is not None:
        other = cd.open_table(table_before or table, version=version_before, storage=storage)
    done = cd.compare(opened, before, after, where=where, by=by, table_before=other)
    terminal.result(str(done), done.to_dict())
    done.gate(fail_if=fail_if or [])
