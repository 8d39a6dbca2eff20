"""Turns: numbered batches (or single rows) of a plan, read, decoded and tokenized ahead of whoever trains on them.

A turn is a global batch; in a stream of single rows it is one row for each rank. It knows what to read for a turn and
what to make of it; it must not know where a stream stands, nor that there are workers.
"""

from __future__ import annotations

from collections.abc import Generator, Hashable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from clipdata.cores import num_cores
from clipdata.lance_io.table import Table
from clipdata.prefetch import prefetch
from clipdata.stream.assembly import Assembled, Request, assemble, refuse_nulls, samples_of
from clipdata.stream.decode import ImageDecoder, Prepare
from clipdata.stream.fetch import Fetcher, Slot
from clipdata.stream.plan import Cursor, Plan

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
    """

    number: int
    item: Any
    left_out: Mapping[str, list[Any]] = field(default_factory=dict)


def batch_turn(number: int, following: Cursor, assembled: Assembled, *, counts_bad: bool) -> Turn:
    """The turn of a batch, which is told what comes next, and which of its rows are left out if any may be."""
    assembled.batch["cursor"] = (following.epoch, following.batch)
    if counts_bad:
        assembled.batch["left_out"] = assembled.left_out
    return Turn(number, assembled.batch, assembled.left_out)


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
    samples, coming = samples_of(assembled.batch), iter(rows)
    for number, is_there in zip(numbers, num_rows, strict=True):
        row = next(coming) if is_there else None
        if row is None:
            yield Turn(number, None)
        elif row in reason_of:
            yield Turn(number, None, {reason_of[row]: [row]})
        else:
            yield Turn(number, next(samples))


@dataclass(frozen=True)
class Turns:
    """Makes turns.

    Args:
        table: pinned to a version.
        request: what they hold.
        plan: which rows make a turn.
        rows: int64 offsets of the plan's positions; None when they are the same.
        where: SQL condition, for messages.
        rank, world_size: whose share to make.
        of_samples: hand out single rows.
        prepare: what makes a model's input of decoded pixels.
        num_threads: images decoded at the same time.
    """

    table: Table
    request: Request
    plan: Plan
    rows: np.ndarray | None
    where: str | None
    rank: int
    world_size: int
    of_samples: bool
    prepare: Prepare | None
    num_threads: int | None

    def cursor(self, number: int) -> Cursor:
        """Where a turn lies."""
        return Cursor(*divmod(number, self.plan.num_batches))

    def read(self, numbers: range) -> Generator[Turn, None, None]:
        """Yield turns, in order; whoever closes the generator ends the threads that read ahead.

        Args:
            numbers: of the turns; as many workers share the machine as its step says.

        Raises:
            SchemaError: a row lacks a value.
            ImageRefused: an image cannot be used, and its row is not to be left out.
        """
        with closing(self.assembled(self._slots(numbers), numbers.step)) as made:
            for slot, assembled in made:
                if self.of_samples:
                    yield from sample_turns(slot.numbers, slot.num_rows, slot.offsets.tolist(), assembled)
                else:
                    counts_bad = self.request.on_bad_image == "leave_out"
                    following = self.cursor(slot.numbers[0] + 1)
                    yield batch_turn(slot.numbers[0], following, assembled, counts_bad=counts_bad)

    def assembled(self, slots: Iterable[Slot], num_workers: int) -> Generator[tuple[Slot, Assembled], None, None]:
        """Yield slots with what they hold, in order, made ahead; see `read`."""
        return prefetch(self._decoded(slots, num_workers), max_items=SLOTS_AHEAD)

    def _decoded(self, slots: Iterable[Slot], num_workers: int) -> Generator[tuple[Slot, Assembled], None, None]:
        fetcher = Fetcher(self.table, self.request.read_columns(self.table), check=self._check)
        decoder = None
        if self.prepare is not None:
            share = max(num_cores() // num_workers, 1)
            decoder = ImageDecoder(self.prepare, num_threads=self.num_threads or min(share, MAX_THREADS))
        try:
            with closing(prefetch(fetcher.read(slots), max_items=1)) as read:
                for found in read:
                    yield found.slot, assemble(self.request, found, decoder)
        finally:
            if decoder is not None:
                decoder.close()

    def _check(self, slot: Slot, rows: pa.Table) -> None:
        refuse_nulls(self.request, self.table, slot, rows, where=self.where)

    def _slots(self, numbers: range) -> Generator[Slot, None, None]:
        order = None
        at_once = SAMPLES_AT_ONCE if self.of_samples else 1
        for start in range(0, len(numbers), at_once):
            together = numbers[start : start + at_once]
            parts = []
            for number in together:
                cursor = self.cursor(number)
                if order is None or order.epoch != cursor.epoch:
                    order = self.plan.order(cursor.epoch)
                positions = order.positions(*self.plan.share(cursor.batch, self.rank, self.world_size))
                parts.append(positions if self.rows is None else self.rows[positions])
            first = self.cursor(together[0])
            yield Slot(
                numbers=tuple(together),
                num_rows=tuple(len(part) for part in parts),
                offsets=np.concatenate(parts),
                window=(first.epoch, self.plan.window_of(first.batch)),
            )
