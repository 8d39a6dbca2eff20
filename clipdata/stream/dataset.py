"""Stream: a table as a resumable, shuffled, sharded torch dataset of batches.

    for batch in Stream(table, ["image", "label_ind"], batch_size=64, prepare=…): ...

A batch is a dict:

    <image column>    uint8 [B, 3, H, W]                <number column>          tensor [B]
    <vector column>   tensor [B, T]                     <text or texts column>   list of B
    tokens            int64 [B, L] for one text a row; for a list of texts a row int64 [distinct texts of the batch, L]
    text_index        int64 [all texts of the batch]: the place of each in `tokens`  (lists of texts only)
    text_counts       int64 [B]: texts of each row                                   (lists of texts only)
    offsets           int64 [B], positions among the table's live rows
    cursor            (epoch, batch) of the batch that comes next

The order is that of `plan`. Three ways to go on where a run stopped, none of which reads a row again:

    in one process    stream.state_dict() after any batch; stream.load_state_dict(state) before iterating
    DataLoader        the newest batch's cursor: stream.load_state_dict({"epoch": cursor[0], "batch": cursor[1]})
    torchdata's StatefulDataLoader   its own state_dict() and load_state_dict(), which call the stream's in each worker

`loader.load(stream, num_workers)` is the way to use worker processes; a plain
`DataLoader(stream, batch_size=None, num_workers=…, multiprocessing_context="forkserver")` works as well (a stream makes
whole batches itself), with `set_epoch` called before every epoch. This module must not know models or training.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from torch.utils.data import IterableDataset, get_worker_info

from clipdata.cores import num_cores
from clipdata.errors import ConfigError, UsageError
from clipdata.lance_io.table import AnyTable, as_table
from clipdata.prefetch import prefetch
from clipdata.storage import redact
from clipdata.stream.assembly import Batch, Request, Tokenize, assemble, refuse_nulls
from clipdata.stream.decode import ImageDecoder, Prepare
from clipdata.stream.fetch import Fetcher, Slot
from clipdata.stream.plan import (
    CLUMP_ROWS,
    ORDER_VERSION,
    WINDOW_ROWS,
    Cursor,
    Plan,
    check_ranks,
    worker_batches,
)

MAX_THREADS = 16
BATCHES_AHEAD = 2


class Stream(IterableDataset[Batch]):
    """Batches of a table's rows, in an order that depends on table version, filter, seed and epoch alone.

    Args:
        table: pinned to a version; workers open it by themselves.
        columns: what a batch holds.
        batch_size: rows of a batch over all ranks; a rank gets batch_size / world_size of them.
        where: SQL condition on the rows.
        rows: int64 offsets of the rows instead, ascending; `where` then only words messages.
        seed: of the order.
        shuffle: False keeps the table's order.
        epoch: the first epoch to iterate.
        until_epoch: iterate up to this epoch, this one left out, without a pause between epochs; one epoch by default.
        rank, world_size: of this process; torchrun's RANK and WORLD_SIZE by default.
        drop_last: leave out the rows that do not fill a batch.
        prepare: what makes a model's uint8 [3, H, W] of decoded pixels; needed for image columns. Workers get a
            pickled copy.
        texts, tokenize: the column to tokenize, and what does it.
        num_threads: images decoded at the same time; by default this process's share of the machine's cores.
        clump_rows, window_rows: see `plan`; they are part of the order.

    Raises:
        SchemaError: a column is missing.
        ConfigError: too few rows for one batch, or the ranks cannot share a batch evenly.
    """

    def __init__(
        self,
        table: AnyTable,
        columns: Sequence[str],
        *,
        batch_size: int,
        where: str | None = None,
        rows: np.ndarray | None = None,
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
        num_threads: int | None = None,
        clump_rows: int = CLUMP_ROWS,
        window_rows: int = WINDOW_ROWS,
    ) -> None:
        self._rank = int(os.environ.get("RANK", "0")) if rank is None else rank
        self._world_size = int(os.environ.get("WORLD_SIZE", "1")) if world_size is None else world_size
        check_ranks(batch_size, self._rank, self._world_size)
        self._request = Request(tuple(columns), texts, tokenize)
        # Another handle, because the caller's moves to a newer version when a column is mapped through it.
        self._table = table = as_table(table).pinned()
        self._request.check(table, can_prepare=prepare is not None)
        self._where, self._prepare, self._num_threads = where, prepare, num_threads
        self._rows = table.offsets(where) if rows is None and where is not None else rows
        num_rows = table.num_rows if self._rows is None else len(self._rows)
        self.plan = Plan(num_rows, batch_size, seed, shuffle, drop_last, clump_rows, window_rows)
        if not self.plan.num_batches:
            found = f"batch_size is {batch_size}, and {num_rows:,} rows are to be streamed; expected at least one batch"
            hint = f"use a batch_size of at most {num_rows}" if num_rows else "check the filter"
            raise ConfigError([found + (f" (where {where})" if where else "")], what="stream", hint=hint)
        self._until_epoch = until_epoch
        self.set_epoch(epoch)
        self._home = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        return dict(self.__dict__)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._home = os.getpid()

    def __len__(self) -> int:
        """Batches of one epoch, or of all the epochs up to `until_epoch`."""
        if self._until_epoch is None:
            return self.plan.num_batches
        return max(self._until_epoch - self._start.epoch, 0) * self.plan.num_batches

    def set_epoch(self, epoch: int) -> None:
        """Begin the next iteration at the start of an epoch."""
        self._start = self._position = Cursor(epoch, 0)
        # Of a state taken inside a DataLoader worker: how many there were, and the epoch before which they would stop.
        self._start_lane: tuple[int, int] | None = None
        self._lane: tuple[int, int] | None = None

    def state_dict(self) -> dict[str, Any]:
        """Where the stream stands: the next batch, and what the order depends on. It names no rank and no worker."""
        state = {"epoch": self._position.epoch, "batch": self._position.batch, **self._identity()}
        return state if self._lane is None else {**state, "lane": list(self._lane)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Begin the next iteration where a state was taken.

        Args:
            state: of `state_dict`, or just {"epoch": …, "batch": …} of a batch's cursor.

        Raises:
            ConfigError: the state is of another table version, filter, seed or batch size.
        """
        identity = self._identity()
        problems = [
            f"{name} was {state[name]!r} and is {value!r} now"
            for name, value in identity.items()
            if name in state and state[name] != value
        ]
        if problems:
            raise ConfigError(problems, what="stream state of another stream")
        self._start = self._position = Cursor(int(state["epoch"]), int(state["batch"]))
        self._start_lane = self._lane = tuple(state["lane"]) if "lane" in state else None

    def __iter__(self) -> Iterator[Batch]:
        worker, num_workers = self._worker()
        total = self.plan.num_batches
        first = self._start.epoch * total + self._start.batch
        until = self._start.epoch + 1 if self._until_epoch is None else self._until_epoch
        if self._start_lane is not None:
            worker, (lanes, until) = 0, self._start_lane
            if lanes != num_workers:
                raise UsageError(f"the state was taken with {lanes} workers, and there are {num_workers} now")
        numbers = worker_batches(first, until * total, worker, num_workers)
        lane = (num_workers, until) if get_worker_info() else None
        for number, batch in zip(numbers, self._batches(numbers), strict=True):
            self._lane, self._position = lane, Cursor(*divmod(number + num_workers, total))
            yield batch
        self.set_epoch(max(until, self._start.epoch))

    def _batches(self, numbers: range) -> Generator[Batch, None, None]:
        """Read, decode and tokenize in a thread, some batches ahead of whoever trains on them."""
        share = max(num_cores() // self._worker()[1], 1)
        num_threads = self._num_threads or min(share, MAX_THREADS)
        ahead = prefetch(self._assembled(numbers, num_threads), max_items=BATCHES_AHEAD)
        try:
            yield from ahead
        finally:
            ahead.close()

    def _assembled(self, numbers: range, num_threads: int) -> Generator[Batch, None, None]:
        fetcher = Fetcher(self._table, self._request.read_columns(self._table))
        rows = prefetch(fetcher.read(self._slots(numbers)), max_items=1)
        decoder = None
        if self._prepare is not None:
            decoder = ImageDecoder(self._prepare, self._table.storage, num_threads=num_threads)
        try:
            for slot, found in rows:
                yield self._assemble(slot, found, decoder)
        finally:
            rows.close()
            if decoder is not None:
                decoder.close()

    def _assemble(self, slot: Slot, found: pa.Table, decoder: ImageDecoder | None) -> Batch:
        refuse_nulls(self._request, self._table, found, where=self._where)
        return assemble(self._request, slot, found, decoder)

    def _slots(self, numbers: range) -> Generator[Slot, None, None]:
        order = None
        for number in numbers:
            epoch, batch = divmod(number, self.plan.num_batches)
            if order is None or order.epoch != epoch:
                order = self.plan.order(epoch)
            positions = order.positions(*self.plan.share(batch, self._rank, self._world_size))
            yield Slot(
                cursor=Cursor(epoch, batch),
                following=Cursor(*divmod(number + 1, self.plan.num_batches)),
                offsets=positions if self._rows is None else self._rows[positions],
                window=(epoch, self.plan.window_of(batch)),
            )

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
            "num_rows": plan.num_rows,
            "batch_size": plan.batch_size,
            "seed": plan.seed,
            "shuffle": plan.shuffle,
            "drop_last": plan.drop_last,
            "clump_rows": plan.clump_rows,
            "window_rows": plan.window_rows,
            "order": ORDER_VERSION,
        }
