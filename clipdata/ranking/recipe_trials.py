"""train_recipes(): every recipe with every seed on the same rows of the same version, and their ranking.

It knows trainings, and leaves measuring to `run_ranking`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, overload

import numpy as np

from clipdata.arguments import PROGRESS, check_able, check_condition, check_kind
from clipdata.encoder import Encoder
from clipdata.errors import ClipdataError, NotFoundError, UsageError
from clipdata.lance_io.table import AnyTable, Table, as_table, open_table
from clipdata.progress import Progress, Silent
from clipdata.ranking.measured_by import chosen_figure, measured_objective
from clipdata.ranking.ranked import Ranking
from clipdata.ranking.recipes_plan import RecipesPlan
from clipdata.ranking.rows_held_out import Sides, sides_of
from clipdata.ranking.run_groups import Grouped, RunGroup
from clipdata.ranking.run_ranking import rank_groups
from clipdata.ranking.starting_models import GivenStart
from clipdata.storage import redact
from clipdata.training import resumption
from clipdata.training.config import OPERATIONAL, TrainConfig
from clipdata.training.fine_tuning import train
from clipdata.training.image_side import check_images
from clipdata.training.objectives import Objective
from clipdata.training.plan import TrainingPlan
from clipdata.training.portion import Portion
from clipdata.training.rows_read import RowsRead
from clipdata.training.run import Run, one_spelling, run_folder
from clipdata.training.shared_pass import shared_pass
from clipdata.training.trials import Trial, Trials, checked_seeds, measured_rows


@overload
def train_recipes(
    table: AnyTable,
    encoder: Encoder,
    recipes: Mapping[str, TrainConfig],
    *,
    out: str | os.PathLike[str],
    seeds: Sequence[int] = (0, 1, 2),
    where: str | None = None,
    held_out: str | None = None,
    objective: Objective | str | None = None,
    figure: str | None = None,
    limit: int | None = None,
    sample: int | None = None,
    overwrite: bool = False,
    dry_run: Literal[False] = False,
    progress: Progress | None = None,
) -> Ranking: ...


@overload
def train_recipes(
    table: AnyTable,
    encoder: Encoder,
    recipes: Mapping[str, TrainConfig],
    *,
    out: str | os.PathLike[str],
    seeds: Sequence[int] = (0, 1, 2),
    where: str | None = None,
    held_out: str | None = None,
    objective: Objective | str | None = None,
    figure: str | None = None,
    limit: int | None = None,
    sample: int | None = None,
    overwrite: bool = False,
    dry_run: bool,
    progress: Progress | None = None,
) -> Ranking | RecipesPlan: ...


def train_recipes(
    table: AnyTable,
    encoder: Encoder,
    recipes: Mapping[str, TrainConfig],
    *,
    out: str | os.PathLike[str],
    seeds: Sequence[int] = (0, 1, 2),
    where: str | None = None,
    held_out: str | None = None,
    objective: Objective | str | None = None,
    figure: str | None = None,
    limit: int | None = None,
    sample: int | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Ranking | RecipesPlan:
    """Train every recipe with every seed, and rank the recipes on rows that none of them trained on.

    Each training is an ordinary run in a folder of its own, `RECIPE-seedK`, and all of them read the same rows of the
    same version. Asked for the same again, finished ones are not repeated, and an unfinished one goes on.

    Args:
        table: read at the version it is pinned to, or at the one that runs in the folder read.
        encoder: what every training begins with.
        recipes: name → how it is trained; its seed is that of `seeds`.
        out: folder for the runs.
        seeds: each a training of every recipe: of the order of rows and of dropout.
        where: SQL condition on the rows to train on; by default those that the table's split does not hold out.
        held_out: SQL condition of the rows to choose by; by default those that the split calls a validation, or else a
            fifth of the rows to train on, picture by picture. Never the test's, unless named.
        objective: what is measured; what the recipes train for by default.
        figure: what the order goes by; the objective's first by default.
        limit: train on the first so many rows only.
        sample: train on so many of them only; every seed draws its own, the same for all recipes.
        overwrite: discard runs that the folder holds, also those that are finished.
        dry_run: check all of it, train a copy on one batch of each recipe, and write nothing; returns what it would do.
        progress: watches.

    Raises:
        UsageError: a row is both trained on and held out; recipes read different rows, or two are the same; a folder
            holds another run; or nothing tells which rows to choose by.
        SchemaError: the table lacks a column of a recipe, or it has another type.
        ClipdataError: whatever `train` raises.
    """
    check_kind(encoder, Encoder, "train: encoder", 'clipdata.load_encoder("starter")')
    check_able(progress, "train: progress", ("task", "say"), PROGRESS)
    check_condition(where)
    check_condition(held_out)
    progress, folder = progress or Silent(), run_folder(out)
    configs, chosen = _checked(recipes), checked_seeds(seeds, "train")
    names = [_trial(name, config, seed, None).folder_name for seed in chosen for name, config in configs.items()]
    if len(set(names)) < len(names):
        raise UsageError(f"train: recipes {', '.join(configs)} would share a folder; expected names apart")
    pinned = as_table(table).pinned() if overwrite else _as_read(as_table(table).pinned(), folder, names, progress)
    sides = sides_of(pinned, where, held_out)
    for line in sides.told:
        progress.say(line)
    told: list[str] = []
    trials = _Recipes(pinned, encoder, configs, chosen, sides, Portion(limit, sample), folder, overwrite, progress)
    trials.check()
    if dry_run:
        return trials.plan()
    measured = measured_objective({name: one.objective for name, one in configs.items()}, pinned, objective, told)
    before = shared_pass(pinned, measured, sides.held_out, list(configs.values()), progress).measure(encoder)
    chosen_figure(before.units, figure, measured, "train")  # before any training
    return rank_groups(
        pinned,
        Grouped(tuple(trials.trained()), {}),
        measured,
        sides.held_out,
        figure=figure,
        starts=GivenStart(encoder),
        device=str(encoder.device),
        told=told,
        progress=progress,
    )


@dataclass(frozen=True)
class _Recipes:
    """Recipes and seeds at work."""

    table: Table
    encoder: Encoder
    configs: Mapping[str, TrainConfig]
    seeds: tuple[int, ...]
    sides: Sides
    portion: Portion
    folder: Path
    overwrite: bool
    progress: Progress

    def trial(self, name: str, seed: int) -> Trial:
        """One training."""
        config = measured_rows(self.configs[name], self.sides.held_out)
        return replace(
            _trial(name, config, seed, self.sides.where), limit=self.portion.limit, sample=self.portion.sample
        )

    def check(self) -> None:
        """Check what every recipe asks of the table, and what the folder holds, before the first training.

        Raises:
            UsageError: recipes read different rows; or a folder holds another run.
            SchemaError: the table lacks a column, or it has another type.
        """
        first: tuple[str, np.ndarray] | None = None
        for name in self.configs:
            try:
                rows = self._checked_rows(name)
            except ClipdataError as error:
                error.message = f"recipe {name}: {error.message}"
                raise
            if first is not None and not np.array_equal(first[1], rows):
                raise UsageError(
                    f"train: recipe {first[0]} reads {len(first[1]):,} rows and {name} reads {len(rows):,}; expected "
                    "the same for all, or their difference is one of rows too",
                    hint='leave out what one of them cannot read: --where "COLUMN IS NOT NULL"',
                )
            first = first or (name, rows)

    def _checked_rows(self, name: str) -> np.ndarray:
        """Offsets of the rows that a recipe trains on, and chooses by, with the first seed."""
        found = np.empty(0, np.int64)
        for seed in self.seeds:
            trial = self.trial(name, seed)
            folder = self.folder / trial.folder_name
            is_held = (folder / "config.json").exists() and not self.overwrite
            if seed != self.seeds[0] and not is_held:
                continue
            config = replace(trial.config, objective=trial.config.objective.resolved(self.table))
            portion = Portion(trial.limit, trial.sample, seed)
            read = RowsRead(self.table, config, trial.where, portion)
            if seed == self.seeds[0]:
                found = read.offsets
            if is_held:
                resumption.foresee(folder, read, self.encoder, progress=Silent())
            else:
                check_images(self.table, self.encoder, config)
        return found

    def plan(self) -> RecipesPlan:
        """What would be done, by the first training of each recipe."""
        trials = [self.trial(name, seed) for seed in self.seeds for name in self.configs]
        runs = Trials(self.table, self.encoder, self.folder, self.progress)
        done = 0 if self.overwrite else len(runs.finished([trial.folder_name for trial in trials]))
        plans = {trial.name: self._planned(trial) for trial in trials[: len(self.configs)]}
        return RecipesPlan(str(self.folder), plans, len(trials), done, self.sides.where, self.sides.held_out)

    def _planned(self, trial: Trial) -> TrainingPlan | Run:
        return train(
            self.table,
            self.encoder,
            trial.config,
            out=self.folder / trial.folder_name,
            where=trial.where,
            limit=trial.limit,
            sample=trial.sample,
            overwrite=self.overwrite,
            dry_run=True,
            progress=Silent(),
        )

    def trained(self) -> list[RunGroup]:
        """Train what is not finished, seed by seed, so that an interrupted list has a whole answer of fewer seeds."""
        runs: dict[str, list[Run]] = {name: [] for name in self.configs}
        trials = Trials(self.table, self.encoder, self.folder, self.progress, self.overwrite)
        wanted = [self.trial(name, seed) for seed in self.seeds for name in self.configs]
        with trials.telling([trial.folder_name for trial in wanted]):
            for number, trial in enumerate(wanted, 1):
                self.progress.say(f"run {number} of {len(wanted)}: {trial.name}, seed {trial.config.seed}")
                runs[trial.name].append(trials.run(trial))
        return [RunGroup(name, tuple(found)) for name, found in runs.items()]


def _trial(name: str, config: TrainConfig, seed: int, where: str | None) -> Trial:
    return Trial(name, replace(config, seed=seed, recipe=name), where)


def _checked(recipes: Mapping[str, TrainConfig]) -> dict[str, TrainConfig]:
    """Recipes by name, each of them another.

    Raises:
        UsageError: there is none, or two are the same.
    """
    example = 'train_recipes(…, {"plain": clipdata.recipes.caption_contest()}, …)'
    if not isinstance(recipes, Mapping) or not recipes:
        raise UsageError(f"train: recipes is {recipes!r:.80}; expected configs by name", hint=example)
    by_fields: dict[str, str] = {}
    for name, config in recipes.items():
        check_kind(config, TrainConfig, f"train: recipe {name}", "clipdata.recipes.caption_contest()")
        fields = {key: value for key, value in config.to_json().items() if key not in OPERATIONAL and key != "seed"}
        other = by_fields.setdefault(repr(fields), str(name))
        if other != name:
            raise UsageError(f"train: recipes {other} and {name} are the same config; expected each to differ")
    return {str(name): config for name, config in recipes.items()}


def _as_read(table: Table, folder: Path, names: Sequence[str], progress: Progress) -> Table:
    """The version that runs in the folder read, so that all read one; the given where there is none, or it is gone."""
    for name in names:
        run = Run(folder / name)
        if not (run.path / "config.json").exists():
            continue
        recorded = run.record["table"]
        if recorded["version"] == table.version or one_spelling(recorded["uri"]) != one_spelling(redact(table.uri)):
            return table
        try:
            found = open_table(table.uri, version=int(recorded["version"]), storage=table.storage)
        except NotFoundError:
            return table
        progress.say(
            f"reading version {found.version} of {redact(table.uri)}, as the runs in {folder} do; it is at "
            f"{table.version} now (--overwrite trains all of them on that)"
        )
        return found
    return table
