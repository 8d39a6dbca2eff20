"""Stream: a table as a resumable, shuffled, sharded torch dataset of batches.

    for batch in Stream(table, ["image", "label_ind"], batch_size=64, prepare=encoder.prepare): ...

A batch is a dict:

    <image column>    uint8 [B, 3, H, W]                <number column>          tensor [B]
    <vector column>   tensor [B, T]                     <text or texts column>   list of B
    tokens            int64 [B, L] for one text a row; for a list of texts a row int64 [distinct texts of the batch, L]
    text_index        int64 [all texts of the batch]: the place of each in `tokens`  (lists of texts only)
    text_counts       int64 [B]: texts of each row                                   (lists of texts only)
    offsets           int64 [B], positions among the table's live rows
    cursor            (epoch, batch) of the batch that comes next
    left_out          reason → offsets of rows whose image cannot be used            (on_bad_image="leave_out" only)

Every rank gets the same number of batches. With drop_last=False, or when rows are left out, a batch may hold no row;
its tensors then have the shapes of any other batch with B = 0.

The order is that of `plan`. Three ways to go on where a run stopped, none of which reads a row again:

    in one process, or load()   stream.state_dict() after any batch; stream.load_state_dict(state) before iterating
    DataLoader                  the newest batch's cursor, as stream.load_state_dict({"epoch": …, "batch": …})
    StatefulDataLoader (torchdata)   its own state_dict() and load_state_dict(), which call the stream's in each worker

`loader.load(stream, num_workers)` is the way to use worker processes; a plain
`DataLoader(stream, batch_size=None, num_workers=…, multiprocessing_context="forkserver")` works as well (a stream makes
whole batches itself), with `set_epoch` called before every epoch, which workers that live on hear.

With `batch_size=None` a stream yields single rows as dicts of the same entries without B (and without `cursor`;
`tokens` of a list of texts is [texts of the row, L]), for whatever makes batches by itself:
`DataLoader(stream, batch_size=32, num_workers=…)`, or a Trainer, which shares rows out among its processes too and
wants `rank=0, world_size=1`. Each row comes once, whatever the number of workers.

Pixels are what `prepare` makes of them: training streams `encoder.prepare.with_fidelity("fast")`, which may differ from
open_clip's own transform by a level, and whoever stores values uses the exact one.
This module must not know models or training.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

import numpy as np
from torch.utils.data import IterableDataset, get_worker_info

from clipdata.arguments import check_condition, check_count, check_offsets
from clipdata.errors import ConfigError, UsageError
from clipdata.lance_io.table import AnyTable, as_table
from clipdata.storage import redact
from clipdata.stream.assembly import OnBadImage, Request, Tokenize, second_batching
from clipdata.stream.decode import Prepare
from clipdata.stream.plan import (
    CLUMP_ROWS,
    ORDER_VERSION,
    WINDOW_ROWS,
    Cursor,
    Plan,
    check_ranks,
    worker_batches,
)
from clipdata.stream.position import Lane, Place, Position
from clipdata.stream.turns import Turn, Turns


class Stream(IterableDataset[Any]):
    """Batches of a table's rows, in an order that depends on table version, filter, seed and epoch alone.

    Args:
        table: pinned to a version; workers open it by themselves.
        columns: what a batch holds; as a mapping, entry of the batch → column of the table.
        batch_size: rows of a batch over all ranks; a rank gets batch_size / world_size. None yields single rows.
        where: SQL condition on the rows.
        rows: int64 offsets of the rows instead, each once; `where` then only words messages.
        seed: of the order.
        shuffle: False keeps the table's order.
        epoch: the first epoch to iterate.
        until_epoch: iterate up to this epoch, this one left out, without a pause between epochs; one epoch by default.
        rank, world_size: of this process; torchrun's RANK and WORLD_SIZE by default.
        drop_last: leave out the rows that do not fill a batch.
        prepare: what makes a model's uint8 [3, H, W] of decoded pixels; needed for image columns. Workers get a
            pickled copy.
        texts, tokenize: the column to tokenize, and what does it.
        on_bad_image: "refuse" ends with an error that names the row. "leave_out" takes a row whose image is missing or
            damaged out of its batch and counts it in `left_out`; no rank gets fewer batches by it.
        num_threads: images decoded at the same time; by default this process's share of the machine's cores.
        clump_rows, window_rows: see `plan`; they are part of the order.

    Raises:
        SchemaError: a column is missing.
        UsageError: a column takes a name that a batch needs for itself, or an argument is wrong.
        ConfigError: too few rows for one batch, or the ranks cannot share a batch evenly.
    """

    def __init__(
        self,
        table: AnyTable,
        columns: Sequence[str] | Mapping[str, str],
        *,
        batch_size: int | None,
        where: str | None = None,
        rows: Sequence[int] | np.ndarray | None = None,
        seed: int = 0,
        shuffle: bool = True,
        epoch: int = 0,
        until_epoch: int | None = None,
        rank: int | None = None,
        world_size: int | None = None,
        drop_last: bool = True,
        prepare: Prepare | None = None,
        texts: str | None = None,
        tokenize: Tokenize | None = None,
        on_bad_image: OnBadImage = "refuse",
        num_threads: int | None = None,
        clump_rows: int = CLUMP_ROWS,
        window_rows: int = WINDOW_ROWS,
    ) -> None:
        rank = int(os.environ.get("RANK", "0")) if rank is None else rank
        world_size = int(os.environ.get("WORLD_SIZE", "1")) if world_size is None else world_size
        if batch_size is not None:
            check_count(batch_size, "stream: batch_size", least=1)
        check_condition(where)
        self._of_samples = batch_size is None
        turn_rows = world_size if batch_size is None else batch_size  # single rows: one for each rank in a turn
        check_ranks(turn_rows, rank, world_size)
        request = Request.of(columns, texts, tokenize, on_bad_image)
        # Another handle, because the caller's moves to a newer version when a column is mapped through it.
        self._table = table = as_table(table).pinned()
        request.check(table, can_prepare=prepare is not None)
        self._where = where
        given = None if rows is None else _checked_rows(rows, table.num_rows)
        self._rows_digest = None if given is None else hashlib.sha256(given.astype("<i8").tobytes()).hexdigest()[:16]
        rows = table.offsets(where) if given is None and where is not None else given
        num_rows = table.num_rows if rows is None else len(rows)
        self.plan = Plan(num_rows, turn_rows, seed, shuffle, drop_last, clump_rows, window_rows)
        if not self.plan.num_batches:
            found = f"batch_size is {batch_size}, and {num_rows:,} rows are to be streamed; expected at least one batch"
            hint = f"use a batch_size of at most {num_rows}" if num_rows else "check the filter"
            raise ConfigError([found + (f" (where {where})" if where else "")], what="stream", hint=hint)
        self._turns = Turns(
            table=self._table,
            request=request,
            plan=self.plan,
            rows=rows,
            where=where,
            rank=rank,
            world_size=world_size,
            of_samples=self._of_samples,
            prepare=prepare,
            num_threads=num_threads,
        )
        self._begin_at(epoch, until_epoch)

    def _begin_at(self, epoch: int, until_epoch: int | None) -> None:
        self._until_epoch = until_epoch
        self._position = Position(_checked_cursor(epoch, 0))
        self._left_out: dict[str, set[Any]] = {}
        self._home = os.getpid()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._home = os.getpid()

    def __len__(self) -> int:
        """Batches (or single rows) of one epoch, or of all the epochs up to `until_epoch`."""
        if self._until_epoch is None:
            return self.plan.num_batches
        return max(self._until_epoch - self._position.start.cursor.epoch, 0) * self.plan.num_batches

    @property
    def left_out(self) -> dict[str, int]:
        """Reason → number of rows that were left out so far because their image cannot be used.

        A row counts once, in however many epochs it is met. Rows met by workers count when the stream is iterated
        through `load`; a plain DataLoader's batches carry them in their entry `left_out`.
        """
        return {reason: len(offsets) for reason, offsets in sorted(self._left_out.items())}

    def set_epoch(self, epoch: int) -> None:
        """Begin the next iteration at the start of an epoch, in workers as well."""
        self._position.tell(Place(Cursor(epoch, 0)))

    def state_dict(self) -> dict[str, Any]:
        """Where the stream stands: the next batch, and what the order depends on. It names no rank and no worker."""
        now = self._position.now
        state = {"epoch": now.cursor.epoch, "batch": now.cursor.batch, **self._identity()}
        return state if now.lane is None else {**state, "lane": list(now.lane)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Begin the next iteration where a state was taken.

        Args:
            state: of `state_dict`, or just {"epoch": …, "batch": …} of a batch's cursor.

        Raises:
            ConfigError: the state is of another table version, filter, seed or batch size.
        """
        if not isinstance(state, Mapping) or not {"epoch", "batch"} <= state.keys():
            raise UsageError(
                f"{state!r:.80} is no state of a stream; expected what state_dict() returned",
                hint='a place alone will do: {"epoch": 0, "batch": 12}',
            )
        identity = self._identity()
        problems = [
            f"{name} was {state[name]!r} and is {value!r} now"
            for name, value in identity.items()
            if name in state and state[name] != value
        ]
        if problems:
            raise ConfigError(problems, what="stream state of another stream")
        lane = (int(state["lane"][0]), int(state["lane"][1])) if "lane" in state else None
        self._position.tell(Place(_checked_cursor(int(state["epoch"]), int(state["batch"])), lane))

    def __iter__(self) -> Iterator[Any]:
        # The loop that collects items for a DataLoader's own batches; it would also take those of a Trainer.
        asking = sys._getframe(1).f_locals.get("self")
        if not self._of_samples and getattr(asking, "auto_collation", False):
            raise second_batching()
        return self._items(self.turns())

    @staticmethod
    def _items(turns: Generator[Turn, None, None]) -> Generator[Any, None, None]:
        with closing(turns):
            for turn in turns:
                if turn.item is not None:
                    yield turn.item

    def turns(self) -> Generator[Turn, None, None]:
        """Begin an iteration, and hand out turn by turn: what `load` needs to follow in the stream it was given."""
        worker, num_workers = self._worker()
        begun, until = self._position.begin(self._until_epoch)
        if begun.lane is not None:
            worker = 0
            if begun.lane[0] != num_workers:
                raise UsageError(f"the state was taken with {begun.lane[0]} workers, and there are {num_workers} now")
        total = self.plan.num_batches
        first = begun.cursor.epoch * total + begun.cursor.batch
        numbers = worker_batches(first, until * total, worker, num_workers)
        return self._follow(self._turns.read(numbers), (num_workers, until) if get_worker_info() else None, until)

    def hear(self, turn: Turn) -> None:
        """Stand behind a turn that a worker's copy of the stream handed out."""
        self._position.move(Place(self._turns.cursor(turn.number + 1)))
        self._count(turn)

    def hear_end(self) -> None:
        """Stand where the next iteration begins, after workers came to the end of this one."""
        epoch = self._position.start.cursor.epoch
        self._position.end(epoch + 1 if self._until_epoch is None else self._until_epoch, warn_of_repeats=False)

    def _follow(self, turns: Generator[Turn, None, None], lane: Lane | None, until: int) -> Generator[Turn, None, None]:
        step = 1 if lane is None else lane[0]
        with closing(turns):
            for turn in turns:
                self._position.move(Place(self._turns.cursor(turn.number + step), lane))
                self._count(turn)
                yield turn
        self._position.end(until, warn_of_repeats=self.plan.shuffle)

    def _count(self, turn: Turn) -> None:
        for reason, offsets in turn.left_out.items():
            self._left_out.setdefault(reason, set()).update(offsets)

    def _worker(self) -> tuple[int, int]:
        info = get_worker_info()
        if info is not None and self._home != os.getpid():
            raise UsageError(
                "this DataLoader forked its workers, and Lance's threads do not survive a fork",
                hint='pass multiprocessing_context="forkserver", or use clipdata.stream.load(stream, num_workers)',
            )
        return (info.id, info.num_workers) if info else (0, 1)

    def _identity(self) -> dict[str, Any]:
        plan = self.plan
        return {
            "table": redact(self._table.uri),
            "table_version": self._table.version,
            "where": self._where,
            "rows": self._rows_digest,
            "num_rows": plan.num_rows,
            "batch_size": plan.batch_size,
            "seed": plan.seed,
            "shuffle": plan.shuffle,
            "drop_last": plan.drop_last,
            "clump_rows": plan.clump_rows,
            "window_rows": plan.window_rows,
            "order": ORDER_VERSION,
        }


def _checked_rows(given: Sequence[int] | np.ndarray, num_rows: int) -> np.ndarray:
    """Offsets as int64, in the order given.

    Raises:
        UsageError: they are no offsets of the table, or one comes twice.
    """
    rows = check_offsets(given, num_rows, "rows")
    if len(np.unique(rows)) < len(rows):
        raise UsageError("rows holds an offset twice; expected each once", hint="rows=numpy.unique(rows)")
    return rows


def _checked_cursor(epoch: int, batch: int) -> Cursor:
    if epoch < 0 or batch < 0:
        raise ConfigError([f"epoch is {epoch} and batch is {batch}; expected 0 or more"], what="stream")
    return Cursor(epoch, batch)
