"""Turns: numbered batches (or single rows) of a plan, read, decoded and tokenized ahead of whoever trains on them.

A turn is a global batch; in a stream of single rows it is one row for each rank. It knows what to read for a turn and
what to make of it; it must not know where a stream stands, nor that there are workers.
"""

from __future__ import annotations

from collections.abc import Generator, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from clipdata.cores import num_cores
from clipdata.encoder.preparation import Preparation
from clipdata.lance_io.kept_rows import Cache, KeptRows
from clipdata.prefetch import prefetch
from clipdata.stream.apart import Apart, ApartOrder
from clipdata.stream.assembly import Assembled, Request, assemble, refuse_nulls, samples_of
from clipdata.stream.decode import ImageDecoder, Prepare
from clipdata.stream.decode_gpu import DeviceDecoder
from clipdata.stream.fetch import Fetched, Fetcher
from clipdata.stream.groups import Slot
from clipdata.stream.plan import Cursor, EpochOrder, Plan
from clipdata.stream.prepared_rows import draws_of, prepared_rows
from clipdata.stream.rows import Rows
from clipdata.stream.shares import Stopwatch, Took, Work, clocked
from clipdata.stream.sources import Keep

MAX_THREADS = 16
SLOTS_AHEAD = 2
SAMPLES_AT_ONCE = 64  # single rows that are read and decoded together


@dataclass(frozen=True)
class Turn:
    """What a stream hands out at once.

    Args:
        number: of the turn, counted over all epochs.
        item: a batch; or a sample, or None when the turn's only row is left out or there is none for this rank.
        left_out: reason → offsets of rows that are missing in it.
        work: what it cost to make; the first of single rows that were read together bears it for all of them.
        num_together: rows of the global batch that share their id with an earlier one; see `apart`.
    """

    number: int
    item: Any
    left_out: Mapping[str, list[Any]] = field(default_factory=dict)
    work: Work = field(default_factory=Work)
    num_together: int = 0


def batch_turn(number: int, following: Cursor, assembled: Assembled, *, counts_bad: bool) -> Turn:
    """The turn of a batch, which is told what comes next, and which of its rows are left out if any may be."""
    assembled.batch["cursor"] = (following.epoch, following.batch)
    if counts_bad:
        assembled.batch["left_out"] = assembled.left_out
    return Turn(number, assembled.batch, assembled.left_out, assembled.work)


def sample_turns(
    numbers: Sequence[int], num_rows: Sequence[int], rows: Sequence[Hashable], assembled: Assembled
) -> Generator[Turn, None, None]:
    """The turns of single rows that were made together.

    Args:
        numbers: of the turns.
        num_rows: of each, 0 or 1.
        rows: what `assembled.left_out` calls each row.
    """
    reason_of = {row: reason for reason, left_out in assembled.left_out.items() for row in left_out}
    samples, coming, work = samples_of(assembled.batch), iter(rows), assembled.work
    for number, is_there in zip(numbers, num_rows, strict=True):
        row = next(coming) if is_there else None
        if row is None:
            yield Turn(number, None, work=work)
        elif row in reason_of:
            yield Turn(number, None, {reason_of[row]: [row]}, work)
        else:
            yield Turn(number, next(samples), work=work)
        work = Work()  # the first bears that of all


@dataclass(frozen=True)
class Turns:
    """Makes turns.

    Args:
        rows: the plan's positions in a table.
        request: what they hold.
        plan: which rows make a turn.
        apart: ids that are kept out of each other's batches.
        rank, world_size: whose share to make.
        of_samples: hand out single rows.
        prepare: what makes a model's input of decoded pixels.
        num_threads: images decoded at the same time.
        device: where they are decoded; None for memory of this process.
        row_bytes: mean stored bytes of a row.
        cache: where rows that were read are kept on this machine.
    """

    rows: Rows
    request: Request
    plan: Plan
    apart: Apart | None
    rank: int
    world_size: int
    of_samples: bool
    prepare: Prepare | None
    num_threads: int | None
    row_bytes: float
    cache: Cache | None
    device: torch.device | None

    def cursor(self, number: int) -> Cursor:
        """Where a turn lies."""
        return Cursor(*divmod(number, self.plan.num_batches))

    def order(self, epoch: int) -> EpochOrder | ApartOrder:
        """Positions in the order of an epoch."""
        return self.plan.order(epoch) if self.apart is None else self.apart.order(self.plan, epoch)

    def read(self, numbers: range) -> Generator[Turn, None, None]:
        """Yield turns, in order; whoever closes the generator ends the threads that read ahead.

        Args:
            numbers: of the turns; as many workers share the machine as its step says.

        Raises:
            SchemaError: a row lacks a value.
            ImageRefused: an image cannot be used, and its row is not to be left out.
        """
        with closing(self.assembled(self._slots(numbers), numbers.step)) as made:
            turns = (turn for slot, assembled in made for turn in self._turns(slot, assembled))
            yield from turns if self.apart is None else self._counted(turns)

    def fetched(self, numbers: range) -> Generator[Fetched, None, None]:
        """Read the rows of turns, in order, and make nothing of them; nulls are not looked for."""
        table = self.rows.table
        columns = self.request.read_columns(table)
        return Fetcher(table, columns, row_bytes=self.row_bytes).read(self._slots(numbers))

    def assembled(self, slots: Iterable[Slot], num_workers: int) -> Generator[tuple[Slot, Assembled], None, None]:
        """Yield slots with what they hold, in order, made ahead; see `read`."""
        return prefetch(self._decoded(slots, num_workers), max_items=SLOTS_AHEAD)

    def _turns(self, slot: Slot, assembled: Assembled) -> Iterator[Turn]:
        if self.of_samples:
            yield from sample_turns(slot.numbers, slot.num_rows, slot.offsets.tolist(), assembled)
        else:
            following = self.cursor(slot.numbers[0] + 1)
            counts_bad = self.request.on_bad_image == "leave_out"
            yield batch_turn(slot.numbers[0], following, assembled, counts_bad=counts_bad)

    def _decoded(self, slots: Iterable[Slot], num_workers: int) -> Generator[tuple[Slot, Assembled], None, None]:
        table = self.rows.table
        columns = self.request.read_columns(table)
        fetcher = Fetcher(table, columns, check=self._check, keep=self._keep(), row_bytes=self.row_bytes)
        decoder = self._decoder(num_workers)
        prepared = {} if decoder is None else prepared_rows(table, self.request.pixels, decoder)
        try:
            making = Stopwatch()
            with closing(clocked(fetcher.read(slots))) as read:
                for found, reading in read:
                    draws = draws_of(self.prepare, self.plan, found.slot)
                    with making:
                        assembled = assemble(self.request, found, decoder, prepared, draws)
                    yield found.slot, replace(assembled, work=_work(found, reading, making.taken(), decoder))
        finally:
            if decoder is not None:
                decoder.close()

    def _decoder(self, num_workers: int) -> ImageDecoder | DeviceDecoder | None:
        if self.prepare is None:
            return None
        num_threads = self.num_threads or min(max(num_cores() // num_workers, 1), MAX_THREADS)
        if self.device is None:
            return ImageDecoder(self.prepare, num_threads=num_threads)
        assert isinstance(self.prepare, Preparation), "it was checked with the device"
        return DeviceDecoder(self.prepare, self.device, num_threads=num_threads)

    def _keep(self) -> Keep | None:
        if self.cache is None:
            return None
        rows, cache, clump_rows = self.rows, self.cache, self.plan.clump_rows
        return partial(
            KeptRows, rows.table, cache, clump_rows, asked=rows.selection.between, num=len(rows), name=rows.name
        )

    def _check(self, found: Fetched) -> None:
        refuse_nulls(self.request, self.rows.table, found, where=self.rows.where)

    def _counted(self, turns: Iterable[Turn]) -> Generator[Turn, None, None]:
        """Turns with how many rows of their batch could not be kept apart."""
        order = None
        for turn in turns:
            cursor = self.cursor(turn.number)
            if not isinstance(order, ApartOrder) or order.epoch != cursor.epoch:
                order = self.order(cursor.epoch)
            num_together = order.num_together(cursor.batch) if isinstance(order, ApartOrder) else 0
            yield replace(turn, num_together=num_together)

    def _slots(self, numbers: range) -> Generator[Slot, None, None]:
        order = None
        at_once = SAMPLES_AT_ONCE if self.of_samples else 1
        for start in range(0, len(numbers), at_once):
            together = numbers[start : start + at_once]
            parts, windows = [], []
            for number in together:
                cursor = self.cursor(number)
                if order is None or order.epoch != cursor.epoch:
                    order = self.order(cursor.epoch)
                share = self.plan.share(cursor.batch, self.rank, self.world_size)
                parts.append(order.positions(*share))
                windows.append(order.windows(*share))
            yield Slot(
                numbers=tuple(together),
                num_rows=tuple(len(part) for part in parts),
                offsets=self.rows.selection.at(np.concatenate(parts)),
                windows=np.concatenate(windows),
            )


def _work(found: Fetched, reading: Took, making: Took, decoder: ImageDecoder | DeviceDecoder | None) -> Work:
    num_pictures, own, threads = (0, Took(), Took()) if decoder is None else decoder.taken()
    return Work(len(found.slot.offsets), found.num_bytes, num_pictures, reading, own + threads, making - own)
