"""`clipdata train`: a fine-tuned model."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli.field_help import config_help
from pipelines.cli.json_output import TEXT, maybe
from pipelines.cli.next_command import after_training
from pipelines.cli.options import (
    Device,
    DryRun,
    Model,
    RowsLimit,
    RowsSample,
    Settings,
    StorageOptions,
    TableArgument,
    Where,
    parse_pairs,
)
from pipelines.cli.reports import RUN
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb

TRAINED = {**RUN, "properties": {**RUN["properties"], "written": maybe(TEXT)}}


@verb(
    "train",
    found=TRAINED,
    more_help=config_help,
    examples=[
        "clipdata train contest.lance --model starter --out runs/contest --set image_trunk=image_trunk "
        "--where \"split = 'train'\"",
    ],
)
def train(
    terminal: Terminal,
    table: TableArgument,
    *,
    out: Annotated[str, typer.Option("--out", help="Folder of the run.")],
    model: Model = "starter",
    recipe: Annotated[
        str | None, typer.Option(help="Recipe that the config starts from; by default one is chosen: auto.")
    ] = None,
    settings: Settings = None,
    where: Where = None,
    write_back: Annotated[
        str | None, typer.Option("--write-back", help="Then fill a column with each row's scores of the tuned model.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Discard another run in the same folder.")] = False,
    limit: RowsLimit = None,
    sample: RowsSample = None,
    dry_run: DryRun = False,
    device: Device = None,
    store: StorageOptions,
) -> None:
    """Fine-tune a model on the rows of a table; goes on where a killed run stopped."""
    import clipdata as cd
    from clipdata.errors import UsageError
    from clipdata.storage import redact
    from clipdata.training.recipe_choice import AUTO
    from clipdata.training.scoring import scores_of
    from pipelines.cli.named_steps import config_named

    opened = cd.open_table(table, storage=store.storage)
    config = config_named(opened, recipe, parse_pairs(settings))
    if write_back is not None and write_back in opened.schema.names and not _is_finished(out):
        raise UsageError(
            f"{redact(opened.uri)} has a column {write_back!r} already",
            hint="name another one, or train without --write-back and map afterwards: clipdata map … --overwrite",
        )
    encoder = cd.load_encoder(model, device=device)
    if recipe in (None, AUTO):
        asked = cd.TrainConfig.parse_settings(parse_pairs(settings))
        config = cd.choose_recipe(opened, encoder, where=where, limit=limit, sample=sample, progress=terminal, **asked)
    run = cd.train(
        opened,
        encoder,
        config,
        out=out,
        where=where,
        overwrite=overwrite,
        limit=limit,
        sample=sample,
        dry_run=dry_run,
        progress=terminal,
    )
    if write_back is not None and isinstance(run, cd.Run):
        # The run's own config names the classes that it found in the table.
        step = scores_of(
            run.encoder(device=device),
            run.config.objective,
            opened.schema,
            image=config.image,
            trunk=config.image_trunk,
        )
        terminal.say(str(cd.map_column(opened, step, write_back, progress=terminal)))
    terminal.result(str(run), run.to_dict() | {"written": write_back})
    if not dry_run and write_back is None:
        terminal.hint(after_training(opened, table, out, config.image_trunk))


def _is_finished(out: str) -> bool:
    """Whether a folder holds a run that is done, so that the same command only writes back."""
    from clipdata.training.run import Run, run_folder

    return Run(run_folder(out)).is_finished
