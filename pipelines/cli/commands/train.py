"""`clipdata train`: a fine-tuned model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

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

if TYPE_CHECKING:
    from clipdata import Ranking, Run, Table
    from clipdata.ranking.recipes_plan import RecipesPlan

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
    from clipdata.ranking.rows_held_out import sides_of
    from clipdata.training.recipe_choice import AUTO
    from pipelines.cli.named_steps import config_named

    opened = cd.open_table(table, storage=store.storage)
    portion: dict[str, Any] = {"limit": limit, "sample": sample}
    asked: dict[str, Any] = {"out": out, "overwrite": overwrite, "dry_run": dry_run, "progress": terminal, **portion}
    if recipes is not None or seeds is not None:
        _refuse_beside_recipes(recipes, recipe, write_back)
        numbers = numbers_listed("0,1,2" if seeds is None else seeds, "--seeds")
        sides = sides_of(opened, where, held_out)
        for line in sides.told:
            terminal.say(line)
        encoder = cd.load_encoder(model, device=device)
        training = Training(opened, encoder, sides.where, limit, sample, terminal)
        configs = recipes_listed(training, recipes or recipe or AUTO, parse_pairs(settings))
        ranked = cd.train_recipes(
            opened, encoder, configs, seeds=numbers, where=sides.where, held_out=sides.held_out, figure=figure, **asked
        )
        _tell_ranked(terminal, opened, table, ranked)
        return
    _refuse_without_recipes(held_out, figure)
    config = config_named(opened, recipe, parse_pairs(settings))
    _refuse_taken(opened, write_back, out)
    encoder = cd.load_encoder(model, device=device)
    if recipe in (None, AUTO):
        fields = cd.TrainConfig.parse_settings(parse_pairs(settings))
        config = cd.choose_recipe(opened, encoder, where=where, progress=terminal, **portion, **fields)
    run = cd.train(opened, encoder, config, where=where, **asked)
    if write_back is not None and isinstance(run, cd.Run) and terminal.process is None:
        _write_back(terminal, opened, run, write_back, device)
    terminal.result(str(run), run.to_dict() | {"written": write_back})
    if not dry_run and write_back is None:
        terminal.hint(after_training(opened, table, out, config.image_trunk))


def _tell_ranked(terminal: Terminal, opened: Table, table: str, done: Ranking | RecipesPlan) -> None:
    """Print how recipes rank, and what to type for the best of them; or what would be trained."""
    import clipdata as cd

    if not isinstance(done, cd.Ranking):
        terminal.result(str(done), {"trials": done.to_dict()})
        return
    terminal.result(str(done), {"ranking": done.to_dict()})
    best = cd.open_run(done.best.runs[0])
    terminal.hint(after_training(opened, table, str(best.path), best.config.image_trunk))


def _write_back(terminal: Terminal, opened: Table, run: Run, column: str, device: str | None) -> None:
    """Fill a column with what a tuned model says of each row."""
    import clipdata as cd
    from clipdata.training.scoring import scores_of

    # The run's own config names the classes that it found in the table.
    about = run.config.objective
    image, trunk = run.config.image, run.config.image_trunk
    step = scores_of(run.encoder(device=device), about, opened.schema, image=image, trunk=trunk)
    terminal.say(str(cd.map_column(opened, step, column, progress=terminal)))


def _refuse_beside_recipes(recipes: str | None, recipe: str | None, write_back: str | None) -> None:
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


def _refuse_without_recipes(held_out: str | None, figure: str | None) -> None:
    """Refuse what is about several trainings where there is one.

    Raises:
        UsageError: there is some of it.
    """
    from clipdata.errors import UsageError

    if idle := [option for option, value in {"--held-out": held_out, "--figure": figure}.items() if value]:
        raise UsageError(f"{', '.join(idle)}: about ranked recipes, and none is asked for", hint="add --recipes A,B")


def _refuse_taken(opened: Table, write_back: str | None, out: str) -> None:
    """Refuse a column that is there already, before anything is trained.

    Raises:
        UsageError: it is, and the run is not one that is done and only writes back.
    """
    from clipdata.errors import UsageError
    from clipdata.storage import redact

    if write_back is not None and write_back in opened.schema.names and not _is_finished(out):
        raise UsageError(
            f"{redact(opened.uri)} has a column {write_back!r} already",
            hint="name another one, or train without --write-back and map afterwards: clipdata map … --overwrite",
        )


def _is_finished(out: str) -> bool:
    """Whether a folder holds a run that is done, so that the same command only writes back."""
    from clipdata.training.run import Run, run_folder

    return Run(run_folder(out)).is_finished
