"""Trials: several trainings of one table that are held against each other, each a run in a folder of its own.

A folder of trials killed and asked for again goes on: finished runs are not repeated, an unfinished one goes on where
it stopped. It knows trainings, and nothing of what the trials are to show.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from clipdata.arguments import check_count
from clipdata.encoder import Encoder
from clipdata.errors import UsageError
from clipdata.lance_io.table import Table
from clipdata.progress import Progress
from clipdata.training.config import TrainConfig
from clipdata.training.fine_tuning import train
from clipdata.training.run import Run

_NOT_IN_A_FOLDER = re.compile(r"[^\w.=+-]+")


@dataclass(frozen=True)
class Trial:
    """One training of several.

    Args:
        name: of its recipe, or of the rows it trains on.
        config: how it trains, its seed included.
        where: SQL condition on the rows to train on.
        limit: train on the first so many of them.
        sample: train on so many of them, others for every seed.
    """

    name: str
    config: TrainConfig
    where: str | None
    limit: int | None = None
    sample: int | None = None

    @property
    def folder_name(self) -> str:
        """`NAME-seedK`, with what may stand in the name of a folder."""
        return f"{_NOT_IN_A_FOLDER.sub('-', self.name).strip('-.')}-seed{self.config.seed}"


@dataclass(frozen=True)
class Trials:
    """Trains trials into one folder.

    Args:
        table: pinned; all of them read this version.
        encoder: what each begins with.
        folder: of their runs.
        progress: watches.
        overwrite: discard runs that the folder holds and that are others.
    """

    table: Table
    encoder: Encoder
    folder: Path
    progress: Progress
    overwrite: bool = False

    def run(self, trial: Trial) -> Run:
        """Train one, or go on with it; a finished one is returned at once.

        Raises:
            UsageError: its folder holds another run.
            ClipdataError: whatever `train` raises.
        """
        return train(
            self.table,
            self.encoder,
            trial.config,
            out=self.folder / trial.folder_name,
            where=trial.where,
            limit=trial.limit,
            sample=trial.sample,
            overwrite=self.overwrite,
            progress=self.progress,
        )

    def finished(self, names: Sequence[str]) -> list[Run]:
        """Those of the folder's runs that are finished."""
        runs = (Run(self.folder / name) for name in names)
        return [run for run in runs if run.is_finished and run.damage is None]

    @contextmanager
    def telling(self, names: Sequence[str]) -> Iterator[None]:
        """Say how many of the runs are finished, before the first one and where something ends them.

        Args:
            names: folders of all of them.
        """
        if done := len(self.finished(names)):
            self.progress.say(f"{done} of {len(names)} runs in {self.folder} are finished already")
        try:
            yield
        except BaseException:
            done = len(self.finished(names))
            self.progress.say(f"{done} of {len(names)} runs in {self.folder} are finished; the same command goes on")
            raise


def checked_seeds(seeds: Sequence[int], verb: str) -> tuple[int, ...]:
    """Seeds, each once.

    Raises:
        UsageError: there is none, or one is no whole number.
    """
    given = tuple(seeds)
    for seed in given:
        check_count(seed, f"{verb}: seeds")
    if not given or len(set(given)) < len(given):
        raise UsageError(f"{verb}: seeds are {list(given)}; expected one or more, each once", hint="seeds=(0, 1, 2)")
    return given


def measured_rows(config: TrainConfig, held_out: str) -> TrainConfig:
    """The config with rows to measure while it trains: the held-out ones, where it goes by the table's split.

    Args:
        held_out: SQL condition.
    """
    return replace(config, evaluate_where=held_out) if config.evaluate_where == "auto" else config
