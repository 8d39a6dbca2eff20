"""`clipdata train`: a fine-tuned model."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli.field_help import config_help
from pipelines.cli.json_output import FLAG, NUMBER, OBJECT, TEXT, WHOLE, either, maybe, record
from pipelines.cli.listed_recipes import Training, numbers_listed, recipes_listed
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
from pipelines.cli.reports import RANKING, RUN
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb

_RUN = {**RUN, "properties": {**RUN["properties"], "written": maybe(TEXT)}}
_PLANNED = record(
    trials=record(
        dry_run=FLAG,
        path=TEXT,
        where=maybe(TEXT),
        held_out=TEXT,
        estimate_s=maybe(NUMBER),
        runs=WHOLE,
        finished=WHOLE,
        plans={"type": "object", "additionalProperties": OBJECT},
    )
)
TRAINED = either(_RUN, RANKING, _PLANNED)


@verb(
    "train",
    found=TRAINED,
    more_help=config_help,
    examples=[
        "clipdata train contest.lance --model starter --out runs/contest --set image_trunk=image_trunk "
        "--where \"split = 'train'\"",
        "clipdata train contest.lance --recipes projections,projections:lr=1e-4,my.json --seeds 0,1,2 --out trials/",
    ],
)
def train(
    terminal: Terminal,
    table: TableArgument,
    *,
    out: Annotated[str, typer.Option("--out", help="Folder of the run.")],
    model: Model = "starter",
    recipe: Annotated[
        str | None, typer.Option(help="Recipe that the config starts from, see below; by default one is chosen: auto.")
    ] = None,
    settings: Settings = None,
    where: Where = None,
    recipes: Annotated[
        str | None,
        typer.Option(
            help="Several recipes to train and rank, with commas between: NAME, NAME:key=value,key=value, or a JSON "
            "file of fields."
        ),
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(help="Seeds that every recipe is trained with, in OUT/RECIPE-seedK; 0,1,2 by default.")
    ] = None,
    held_out: Annotated[
        str | None,
        typer.Option(
            help="SQL condition of the rows that recipes are ranked by; the validation of the table's split, or else a "
            "fifth of the rows to train on."
        ),
    ] = None,
    figure: Annotated[
        str | None, typer.Option(help="What recipes are ranked by; the objective's first figure by default.")
    ] = None,
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
    """Fine-tune a model on the rows of a table; goes on where a killed run stopped. Ranks recipes over seeds.

    In several processes: torchrun --nproc-per-node 2 -m clipdata train …
    """
    import clipdata as cd
    from clipdata.errors import UsageError
    from clipdata.ranking.rows_held_out import sides_of
    from clipdata.storage import redact
    from clipdata.training.recipe_choice import AUTO
    from clipdata.training.scoring import scores_of
    from pipelines.cli.named_steps import config_named

    opened = cd.open_table(table, storage=store.storage)
    if recipes is not None or seeds is not None:
        _refuse_beside(recipes, recipe, write_back)
        numbers = numbers_listed("0,1,2" if seeds is None else seeds, "--seeds")
        sides = sides_of(opened, where, held_out)
        for line in sides.told:
            terminal.say(line)
        encoder = cd.load_encoder(model, device=device)
        training = Training(opened, encoder, sides.where, limit, sample, terminal)
        done = cd.train_recipes(
            opened,
            encoder,
            recipes_listed(training, recipes or recipe or AUTO, parse_pairs(settings)),
            out=out,
            seeds=numbers,
            where=sides.where,
            held_out=sides.held_out,
            figure=figure,
            limit=limit,
            sample=sample,
            overwrite=overwrite,
            dry_run=dry_run,
            progress=terminal,
        )
        if not isinstance(done, cd.Ranking):
            terminal.result(str(done), {"trials": done.to_dict()})
            return
        terminal.result(str(done), {"ranking": done.to_dict()})
        best = cd.open_run(done.best.runs[0])
        terminal.hint(after_training(opened, table, str(best.path), best.config.image_trunk))
        return
    if idle := [option for option, value in {"--held-out": held_out, "--figure": figure}.items() if value]:
        raise UsageError(f"{', '.join(idle)}: about ranked recipes, and none is asked for", hint="add --recipes A,B")
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
    if write_back is not None and isinstance(run, cd.Run) and terminal.process is None:
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


def _refuse_beside(recipes: str | None, recipe: str | None, write_back: str | None) -> None:
    """Refuse what goes with one training alone.

    Raises:
        UsageError: there is some of it.
    """
    from clipdata.errors import UsageError

    if recipes is not None and recipe is not None:
        raise UsageError(f"--recipe {recipe} stands beside --recipes {recipes}", hint=f"--recipes {recipe},{recipes}")
    if write_back is not None:
        raise UsageError(
            "--write-back is about the model of one run, and several are trained",
            hint="clipdata map TABLE choice-scores NAME --model RUN, of the one that is chosen",
        )


def _is_finished(out: str) -> bool:
    """Whether a folder holds a run that is done, so that the same command only writes back."""
    from clipdata.training.run import Run, run_folder

    return Run(run_folder(out)).is_finished
