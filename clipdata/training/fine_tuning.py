"""train(): fine-tune an encoder on the rows of a table, going on where a killed run stopped.

It checks what is asked for, claims the run's folder, and leaves the steps to the loop. It knows no command line.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal, overload

import torch

from clipdata.arguments import PROGRESS, check_able, check_condition, check_kind
from clipdata.encoder import Encoder
from clipdata.errors import UsageError
from clipdata.folder_lock import alone_in
from clipdata.lance_io.table import AnyTable, Table, as_table
from clipdata.progress import Progress, Silent
from clipdata.training import resumption
from clipdata.training.config import TrainConfig
from clipdata.training.copies import Copies, storage_for
from clipdata.training.loop import Loop
from clipdata.training.plan import TrainingPlan, plan_of
from clipdata.training.portion import Portion
from clipdata.training.recipe_facts import choose_recipe
from clipdata.training.restoring import restore
from clipdata.training.rows_read import RowsRead
from clipdata.training.run import Run, run_folder


@overload
def train(
    table: AnyTable,
    encoder: Encoder,
    config: TrainConfig | None = None,
    *,
    out: str | os.PathLike[str],
    where: str | None = None,
    resume: bool = True,
    overwrite: bool = False,
    limit: int | None = None,
    sample: int | None = None,
    dry_run: Literal[False] = False,
    progress: Progress | None = None,
) -> Run: ...


@overload
def train(
    table: AnyTable,
    encoder: Encoder,
    config: TrainConfig | None = None,
    *,
    out: str | os.PathLike[str],
    where: str | None = None,
    resume: bool = True,
    overwrite: bool = False,
    limit: int | None = None,
    sample: int | None = None,
    dry_run: bool,
    progress: Progress | None = None,
) -> Run | TrainingPlan: ...


def train(
    table: AnyTable,
    encoder: Encoder,
    config: TrainConfig | None = None,
    *,
    out: str | os.PathLike[str],
    where: str | None = None,
    resume: bool = True,
    overwrite: bool = False,
    limit: int | None = None,
    sample: int | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Run | TrainingPlan:
    """Fine-tune an encoder. The encoder itself stays as it was; the run holds the tuned one.

    Args:
        table: read at the version it is pinned to, which is tagged.
        encoder: what to begin with.
        config: how; see `clipdata.recipes`. By default `choose_recipe` chooses one by the rows and the encoder.
        out: folder of the run. Asked for the same again, an unfinished run goes on, a finished one is returned at once.
        where: SQL condition on the rows to train on.
        resume: False refuses a folder that holds a run already.
        overwrite: discard a run that the folder holds, and the copies in `config.checkpoint_to`.
        limit: train on the first so many rows only, of those that can be used.
        sample: train on so many of them only, the same ones every time; `config.seed` chooses them by their keys.
        dry_run: check all of it, train a copy on one batch to say how long a step takes, and write nothing; returns
            what would be done, or a run that is finished.
        progress: watches.

    Raises:
        SchemaError: the table lacks a column, or it has another type or nulls.
        LineageMismatchError: the features in `config.image_trunk` are those of another encoder.
        UsageError: the folder holds another run; no row can be trained on.
        TransientError: another process is training in the folder.
        TooManyRejectsError: more pictures than `config.max_bad_share` allows cannot be decoded.
        StorageError: the run's folder, or `config.checkpoint_to`, cannot be written, or what it holds cannot be read.
        ClipdataError: the loss or the gradient is not a number any more.
    """
    check_kind(encoder, Encoder, "train: encoder", 'clipdata.load_encoder("starter")')
    if config is not None:
        check_kind(config, TrainConfig, "train: config", "clipdata.recipes.caption_contest(epochs=5)")
    check_able(progress, "train: progress", ("task", "say"), PROGRESS)
    check_condition(where)
    progress = progress or Silent()
    folder = run_folder(out)
    pinned = as_table(table).pinned()
    if config is None:
        config = choose_recipe(pinned, encoder, where=where, limit=limit, sample=sample, progress=progress)
    portion = Portion(limit, sample, config.seed)
    config = replace(config, objective=config.objective.resolved(pinned))
    read = RowsRead(pinned, config, where, portion)
    _refuse_ranks()
    if dry_run:
        with _own_randomness(encoder, config):
            return plan_of(folder, read, encoder, resume=resume, overwrite=overwrite, progress=progress)
    with alone_in(folder, "training"):
        resumption.clear(folder, resume=resume, overwrite=overwrite)
        copies = _copies(pinned, config)
        if copies is not None:
            wanted = resumption.wanted_record(read, encoder)
            restore(folder, copies, wanted, resume=resume, overwrite=overwrite, progress=progress)
        begun = resumption.begin(folder, read, encoder, progress=progress)
        if isinstance(begun, Run):
            return begun
        with _own_randomness(encoder, config):
            return Loop(begun, encoder, config, progress, copies).run()


def _copies(table: Table, config: TrainConfig) -> Copies | None:
    """Where checkpoints are copied to, reached as the table is."""
    if config.checkpoint_to is None:
        return None
    return Copies(config.checkpoint_to, storage_for(config.checkpoint_to, table.uri, table.storage))


@contextmanager
def _own_randomness(encoder: Encoder, config: TrainConfig) -> Iterator[None]:
    """Draw from the config's seed, and leave the caller's random state as it was."""
    with torch.random.fork_rng([encoder.device] if encoder.device.type == "cuda" else []):
        torch.manual_seed(config.seed)
        yield


def _refuse_ranks() -> None:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError(
            f"train runs in one process, and WORLD_SIZE is {os.environ['WORLD_SIZE']}",
            hint="start it without torchrun; a Stream shares a table among the ranks of a loop of your own",
        )
