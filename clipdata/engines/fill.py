"""Fills one fragment: reads its inputs, calls the step, stores checkpoints, and writes the column file.

It knows a step's contract and holds the step to it. It knows nothing of other fragments, nor of commits.
"""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections.abc import Generator, Mapping
from contextlib import closing, suppress
from typing import Any

import numpy as np
import pyarrow as pa

from clipdata.engines.task import Cost, FragmentDone, FragmentTask
from clipdata.errors import ClipdataError, StepError
from clipdata.lance_io.filling import BATCH_BYTES
from clipdata.lance_io.parts import Checkpoint, CheckpointGone, Part
from clipdata.lance_io.presence import fixed_width
from clipdata.plain_types import one_nan
from clipdata.prefetch import prefetch
from clipdata.progress import Counter
from clipdata.step_protocol import Step

_FIRST_ROWS = 64


def fill(task: FragmentTask, counter: Counter) -> FragmentDone:
    """Fill one fragment; its column file is written and recorded, and not yet visible.

    Raises:
        StepError: the step broke its contract.
    """
    work = _Work(task, counter)
    try:
        work.compute()
        finished = task.filling.finish(task.fragment_id, work.stored, work.held, (work.computed, dict(work.failed)))
    except CheckpointGone:
        return FragmentDone(task.fragment_id, None, cost=work.cost)
    except BaseException:
        work.save()
        raise
    count = getattr(task.step, "notes", None)
    return FragmentDone(task.fragment_id, finished, dict(count()) if callable(count) else {}, work.cost)


class _Work:
    """The values of one fragment: those stored beside the table, and those held in memory."""

    def __init__(self, task: FragmentTask, counter: Counter) -> None:
        self._task, self._counter = task, counter
        self.stored: list[Checkpoint] = task.filling.checkpoints(task.fragment_id)
        self.held: list[Part] = []
        self.computed = 0
        self.failed: Tally[str] = Tally()
        self.cost = Cost()
        # How wide a value is that has no fixed width, only the values tell: few rows at first.
        self._most_rows = task.batch_rows if fixed_width(task.step.returns) else _FIRST_ROWS

    def compute(self) -> None:
        """Compute what is not stored yet, with a checkpoint whenever enough was computed."""
        task, filling = self._task, self._task.filling
        done = np.concatenate([np.empty(0, np.int64), *(checkpoint.places for checkpoint in self.stored)])
        self._counter.advance(len(done))
        last_s = time.monotonic()
        with closing(prefetch(self._prepared(done))) as batches:
            for places, batch, prepared, prepare_s in batches:
                started_s = time.perf_counter()
                part = compute_part(task.step, places, batch, prepared, filling.unread)
                step_s = prepare_s + time.perf_counter() - started_s
                read = {name: batch.column(name).nbytes for name in batch.schema.names}
                self.cost += Cost(batch.num_rows, step_s, read)
                self.held.append(part)
                self._count(part)
                self._fit(part)
                held_bytes = sum(part.values.nbytes for part in self.held)
                if time.monotonic() - last_s > task.checkpoint_every_s or held_bytes > task.checkpoint_bytes:
                    self._store()
                    last_s = time.monotonic()

    def _prepared(self, done: np.ndarray) -> Generator[tuple[np.ndarray, pa.RecordBatch, Any, float], None, None]:
        """Rows still to compute, what the step prepared of them, and the seconds that took; beside the model."""
        task = self._task
        left = task.limit - len(done)
        if left <= 0:
            return
        for places, batch in task.filling.read(task.fragment_id, done, batch_rows=min(task.batch_rows, left)):
            start, stop = 0, min(batch.num_rows, left)
            while start < stop:
                rows = batch.slice(start, min(self._most_rows, stop - start))
                started_s = time.perf_counter()
                prepared = task.step.prepare(rows)
                yield places[start : start + rows.num_rows], rows, prepared, time.perf_counter() - started_s
                start += rows.num_rows
            left -= stop
            if not left:
                return

    def _fit(self, part: Part) -> None:
        """Give the step as many rows as make no more bytes of values than a batch may have."""
        fitting = BATCH_BYTES * len(part.places) // max(part.values.nbytes, 1)
        self._most_rows = max(min(fitting, 4 * self._most_rows, self._task.batch_rows), 1)

    def save(self) -> None:
        """Store what is held, because the work ends early; an error that is under way goes on."""
        if self.held:
            with suppress(ClipdataError, OSError):
                self._store()

    def _store(self) -> None:
        self.stored.append(self._task.filling.checkpoint(self._task.fragment_id, self.held))
        self.held = []

    def _count(self, part: Part) -> None:
        self.computed += len(part.places)
        self._counter.advance(len(part.places))
        for reason in part.reasons.drop_null().to_pylist():
            self.failed[kind_of(reason)] += 1
            self._counter.refuse(kind_of(reason))


def compute_part(
    step: Step, places: np.ndarray, batch: pa.RecordBatch, prepared: Any, unread: Mapping[int, str]
) -> Part:
    """Call a step and hold it to its contract.

    Args:
        places: int64 [B] of the rows.
        batch: their inputs.
        prepared: what the step prepared of them.
        unread: place → why the row's image could not be read.

    Raises:
        StepError: other length or type than promised.
    """
    result = step.compute(batch, prepared)
    values, errors = result if isinstance(result, tuple) else (result, None)
    values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if not isinstance(values, pa.Array) or len(values) != batch.num_rows or values.type != step.returns:
        found = f"{len(values)} values of {values.type}" if isinstance(values, pa.Array) else type(values).__name__
        raise StepError(
            f"step {step.name} returned {found} for {batch.num_rows} rows; "
            f"expected {batch.num_rows} values of {step.returns}"
        )
    values = one_nan(values)
    if not values.null_count:
        return Part(places, values, pa.nulls(len(values), pa.string()))
    reasons = list(errors) if errors is not None else [None] * len(values)
    missing = values.is_null().to_numpy(zero_copy_only=False)
    named = [
        (unread.get(int(place)) or reason or "the step gave no value") if gone else None
        for place, reason, gone in zip(places, reasons, missing, strict=True)
    ]
    return Part(places, values, pa.array(named, pa.string()))


def kind_of(reason: str) -> str:
    """Reasons are counted by what stands before the first colon; the rest is of one row."""
    return reason.split(":")[0][:80]
