"""train(): fine-tune an encoder on the rows of a table, going on where a killed run stopped.

It checks what is asked for, brings the processes that torchrun started together, claims the run's folder, and leaves
the steps to the loop. It knows no command line.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal, overload

from clipdata.arguments import PROGRESS, check_able, check_condition, check_kind
from clipdata.encoder import Encoder
from clipdata.errors import UsageError
from clipdata.folder_lock import alone_in
from clipdata.lance_io.table import AnyTable, Table, as_table, open_table
from clipdata.progress import Progress, Silent
from clipdata.training import resumption, trackers
from clipdata.training.agreement import require_alike
from clipdata.training.config import TrainConfig
from clipdata.training.copies import Copies, storage_for
from clipdata.training.loop import Loop
from clipdata.training.plan import TrainingPlan, plan_of
from clipdata.training.portion import Portion
from clipdata.training.process_group import joined
from clipdata.training.processes import Processes
from clipdata.training.randomness import own_numbers
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

    Under torchrun all processes train one model: each calls this with the same arguments, and gets the same run.

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
        UsageError: the folder holds another run; no row can be trained on; several processes have not the same model,
            rows and folder, or not a GPU each.
        TransientError: another process is training in the folder.
        TooManyRejectsError: more pictures than `config.max_bad_share` allows cannot be decoded.
        StorageError: the run's folder, or `config.checkpoint_to`, cannot be written, or what it holds cannot be read.
        ClipdataError: the loss or the gradient is not a number any more.
        EndedElsewhereError: another of several processes failed, and tells why.
    """
    check_kind(encoder, Encoder, "train: encoder", 'clipdata.load_encoder("starter")')
    if config is not None:
        check_kind(config, TrainConfig, "train: config", "clipdata.recipes.caption_contest(epochs=5)")
    check_able(progress, "train: progress", ("task", "say"), PROGRESS)
    check_condition(where)
    folder = run_folder(out)
    with joined(encoder.device) as processes:
        progress = progress if progress is not None and processes.writes else Silent()
        pinned = _of_one_version(table, processes)
        if config is None:
            choice = partial(choose_recipe, pinned, encoder, where=where, limit=limit, sample=sample, progress=progress)
            config = processes.by_first(choice)
        trackers.require(config.report_to)
        config = replace(config, objective=config.objective.resolved(pinned))
        read = RowsRead(pinned, config, where, Portion(limit, sample, config.seed))
        if dry_run:
            _refuse_dry_run(processes)
            with own_numbers(encoder.device, config.seed):
                return plan_of(folder, read, encoder, resume=resume, overwrite=overwrite, progress=progress)
        claimed = _claimed(folder, read, encoder, resume=resume, overwrite=overwrite, progress=progress)
        with claimed if processes.writes else nullcontext() as copies:
            begun = processes.first_then_others(partial(_begin, folder, read, encoder, progress, processes))
            if isinstance(begun, Run):
                return begun
            require_alike(processes, encoder, config, begun)
            with own_numbers(encoder.device, config.seed):
                run = Loop(begun, encoder, config, progress, processes, copies).run()
            processes.wait()
            return run


def _of_one_version(table: AnyTable, processes: Processes) -> Table:
    """The table, in all processes at one version: another writer may have moved it between them."""
    pinned = as_table(table).pinned()
    version = processes.of_first(pinned.version)
    if version == pinned.version:
        return pinned
    return open_table(pinned.uri, version=version, storage=pinned.storage)


@contextmanager
def _claimed(
    folder: Path, read: RowsRead, encoder: Encoder, *, resume: bool, overwrite: bool, progress: Progress
) -> Iterator[Copies | None]:
    """Keep other trainings out of a run's folder, and make it what is there to go on from, if anything.

    Yields:
        where checkpoints are copied to, reached as the table is; None if nowhere.
    """
    place, table = read.config.checkpoint_to, read.table
    with alone_in(folder, "training"):
        resumption.clear(folder, resume=resume, overwrite=overwrite)
        copies = None if place is None else Copies(place, storage_for(place, table.uri, table.storage))
        if copies is not None:
            wanted = resumption.wanted_record(read, encoder)
            restore(folder, copies, wanted, resume=resume, overwrite=overwrite, progress=progress)
        yield copies


def _begin(
    folder: Path, read: RowsRead, encoder: Encoder, progress: Progress, processes: Processes
) -> resumption.Beginning | Run:
    """Begin a run or go on with it; what the first process began the others find.

    Raises:
        UsageError: they do not.
    """
    if not processes.writes and not (folder / "config.json").exists():
        raise UsageError(
            f"process 0 began a run in {folder}, and {processes} finds none there",
            hint="name a folder that all processes share: --out DIR",
        )
    return resumption.begin(folder, read, encoder, progress=progress)


def _refuse_dry_run(processes: Processes) -> None:
    if processes.world > 1:
        raise UsageError(
            f"a dry run is of one process, and there are {processes.world}",
            hint="the same command without torchrun; its batches are those of all processes together",
        )
