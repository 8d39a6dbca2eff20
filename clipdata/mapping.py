"""Map: run a step over the rows of a table where its column is null, and put the values in place as one new version.

Null means "not computed yet"; so a killed job, appended rows and replaced images need no special case. This module
knows tables and what a step is, and no particular step.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

import clipdata
from clipdata.engines.local import prefetched
from clipdata.errors import LineageMismatchError, StepError, UsageError
from clipdata.lance_io import columns
from clipdata.lance_io.backfill import Backfill, Part
from clipdata.lance_io.history import Properties
from clipdata.lance_io.state import StateFolder
from clipdata.lance_io.table import Table
from clipdata.lineage import Lineage
from clipdata.progress import Counter, Progress, Silent
from clipdata.schema import error_column
from clipdata.step_protocol import Step

CHECKPOINT_EVERY_S = 30.0
IMAGE_BATCH_BYTES = 64 << 20
MAX_ROUNDS = 3


@dataclass(frozen=True)
class Mapped:
    """What a map did.

    Args:
        column: filled.
        computed: rows computed in this run.
        failed: those of them that stayed null, by reason.
        kept: rows that had a value already, or that an earlier, interrupted run had computed.
        waiting: rows that cannot be computed yet, because an input of theirs is null.
        version: of the table that holds the result.
        seconds: wall time.
        notes: facts the step counted (`step.notes()`), such as captions cut to the context length.
    """

    column: str
    computed: int
    failed: Mapping[str, int]
    kept: int
    waiting: int
    version: int
    seconds: float
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def num_failed(self) -> int:
        """Rows that stayed null."""
        return sum(self.failed.values())

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {**asdict(self), "failed": dict(self.failed), "notes": dict(self.notes)}

    def __str__(self) -> str:
        if not self.computed and not self.failed:
            waiting = f", {self.waiting:,} wait for an input" if self.waiting else ""
            kept = f"{self.kept:,} rows have their value{waiting}"
            return f"{self.column}: nothing to compute, {kept} (version {self.version})"
        rate = self.computed / self.seconds if self.seconds else 0.0
        text = f"{self.column}: {self.computed:,} rows computed, {self.kept:,} kept, {rate:,.0f} rows/s"
        waiting = f"\n  {self.waiting:,} rows wait for an input that is null" if self.waiting else ""
        failed = "".join(f"\n  no value for {count:,} rows: {reason}" for reason, count in self.failed.items())
        notes = "".join(f"\n  {name}: {value}" for name, value in self.notes.items())
        return f"{text} (version {self.version}){waiting}{failed}{notes}"


def map_column(
    table: Table,
    step: Step,
    column: str,
    *,
    overwrite: bool = False,
    retry_failed: bool = False,
    batch_rows: int | None = None,
    progress: Progress | None = None,
) -> Mapped:
    """Fill a column with what a step makes of the rows, and move `table` to the version that holds it.

    Args:
        table: its newest version is read and written.
        step: see `Step`; any function becomes one with `clipdata.step`.
        column: name of the column; made when it is not there.
        overwrite: replace a column that was made in another way. The old version stays readable.
        retry_failed: compute also the rows on which the step failed before.
        batch_rows: rows the step is given at once.
        progress: watches the rows go by.

    Raises:
        SchemaError: the table lacks a column that the step reads.
        LineageMismatchError: the column was made by another step, other parameters or other weights.
        StepError: the step returned something else than one value a row of its type.
    """
    started = time.monotonic()
    table.move_to(table.latest())
    table.require(step.reads, verb=f"map {step.name}")
    step.check(table.schema)
    lineage = _lineage_of(step, table)
    recompute = _must_recompute(table, step, column, lineage, overwrite=overwrite)
    if not recompute:
        table.move_to(columns.ensure(table, _field(step, column, lineage)))
    job = _Job(table, step, column, lineage, recompute, retry_failed, batch_rows, progress or Silent())
    job.run()
    filled, errors = table.count_rows(f"`{column}` IS NOT NULL"), error_column(column)
    failed_ever = table.count_rows(f"`{errors}` IS NOT NULL") if errors in table.schema.names else 0
    return Mapped(
        column=column,
        computed=job.computed,
        failed=job.failed,
        kept=filled - (job.computed - sum(job.failed.values())),
        waiting=table.num_rows - filled - failed_ever,
        version=table.version,
        seconds=time.monotonic() - started,
        notes=job.notes(),
    )


def _lineage_of(step: Step, table: Table) -> Lineage:
    origins = {column: table.lineage(column) for column in step.reads}
    return Lineage(
        step=step.name,
        step_version=step.version,
        parameters=dict(step.parameters),
        model=step.model,
        inputs=tuple(step.reads),
        upstream={column: origin.fingerprint for column, origin in origins.items() if origin is not None},
        table_version=table.version,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        made_by=f"clipdata {clipdata.__version__}",
    )


def _field(step: Step, column: str, lineage: Lineage) -> pa.Field:
    return pa.field(column, step.returns, metadata={"clipdata.lineage": lineage.to_json()})


def _must_recompute(table: Table, step: Step, column: str, lineage: Lineage, *, overwrite: bool) -> bool:
    """Decide whether every row is to be computed anew.

    Raises:
        LineageMismatchError: the column has another origin and `overwrite` was not asked for.
        UsageError: the step would overwrite one of its own inputs or the key.
    """
    if column in step.reads or column == table.key:
        raise UsageError(f"map {step.name}: {column!r} cannot be written: the step reads it, or it is the table's key")
    if column not in table.schema.names:
        return False
    present = table.lineage(column)
    if present is not None and present.fingerprint == lineage.fingerprint:
        return False
    if overwrite:
        return True
    found = present.describe() if present is not None else "something that left no lineage (it came with the data)"
    raise LineageMismatchError(
        f"column {column!r} was made by {found}; this run would write {lineage.describe()}"
        + (f"\n  model of the column: {present.model}\n  model of this run:   {lineage.model}" if present else ""),
        hint="choose another column name, or pass --overwrite (overwrite=True): the old version stays readable",
    )


class _Job:
    """One run of `map_column`."""

    def __init__(
        self,
        table: Table,
        step: Step,
        column: str,
        lineage: Lineage,
        recompute: bool,
        retry_failed: bool,
        batch_rows: int | None,
        progress: Progress,
    ) -> None:
        self.table, self.step, self.column, self.lineage = table, step, column, lineage
        self.recompute, self.retry_failed, self.progress = recompute, retry_failed, progress
        self.batch_rows = batch_rows or _batch_rows(table, step)
        self.state = StateFolder(table, f"map/{column}-{lineage.fingerprint[:16]}")
        self.computed = 0
        self.failed: dict[str, int] = {}

    def run(self) -> None:
        """Compute until nothing is left, commit, and clear the records."""
        if self.recompute:
            self.table.move_to(columns.prepare_overwrite(self.table, _field(self.step, self.column, self.lineage)))
        for _ in range(MAX_ROUNDS):
            backfill = Backfill(self.table, self.column, self.step.reads, self.state, self.recompute, self.retry_failed)
            pending = backfill.pending()
            recorded = backfill.num_recorded()
            if not pending and not recorded:
                break
            with self.progress.task(f"map {self.column}", sum(rows for _, rows in pending)) as counter:
                for fragment_id, _ in pending:
                    self._fill(backfill, fragment_id, counter)
            self.table.move_to(backfill.commit(self._properties()))
            if self.recompute:
                self.table.move_to(columns.set_lineage(self.table, self.column, self.lineage))
                break
            self.retry_failed = False  # one retry a run
        self.state.remove()

    def notes(self) -> dict[str, Any]:
        """Facts the step counted."""
        count = getattr(self.step, "notes", None)
        return dict(count()) if callable(count) and self.computed else {}

    def _properties(self) -> Properties:
        rows = {"computed": self.computed, "failed": sum(self.failed.values())}
        parameters = {"column": self.column, "step": self.lineage.describe(), "notes": self.notes()}
        return Properties("map", parameters, rows, first_version=self.table.version)

    def _fill(self, backfill: Backfill, fragment_id: int, counter: Counter) -> None:
        """Compute one fragment, with a checkpoint whenever enough time has passed."""
        parts = backfill.checkpoints(fragment_id)
        done = np.concatenate([part.places for part in parts]) if parts else np.empty(0, np.int64)
        counter.advance(len(done))
        fresh: list[Part] = []
        last_s = time.monotonic()
        batches = backfill.read(fragment_id, done, batch_rows=self.batch_rows)
        for (places, batch), prepared in prefetched(batches, lambda pair: self.step.prepare(pair[1])):
            part = self._compute(places, batch, prepared, backfill.unread)
            fresh.append(part)
            self.computed += len(places)
            counter.advance(len(places))
            for reason in part.errors.drop_null().to_pylist():
                self.failed[_kind(reason)] = self.failed.get(_kind(reason), 0) + 1
                counter.refuse(_kind(reason))
            if time.monotonic() - last_s > CHECKPOINT_EVERY_S:
                merged = _merge(fresh)
                backfill.checkpoint(fragment_id, len(parts), merged)
                parts.append(merged)
                fresh, last_s = [], time.monotonic()
        backfill.finish(fragment_id, [*parts, *fresh])

    def _compute(self, places: np.ndarray, batch: pa.RecordBatch, prepared: Any, unread: Mapping[int, str]) -> Part:
        """Call the step and hold it to its contract.

        Args:
            unread: place → why the row's image could not be read.

        Raises:
            StepError: other length or type than promised.
        """
        result = self.step.compute(batch, prepared)
        values, errors = result if isinstance(result, tuple) else (result, None)
        values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
        if not isinstance(values, pa.Array) or len(values) != batch.num_rows or values.type != self.step.returns:
            found = f"{len(values)} values of {values.type}" if isinstance(values, pa.Array) else type(values).__name__
            raise StepError(
                f"step {self.step.name} returned {found} for {batch.num_rows} rows; "
                f"expected {batch.num_rows} values of {self.step.returns}"
            )
        reasons = list(errors) if errors is not None else [None] * len(values)
        missing = values.is_null().to_numpy(zero_copy_only=False)
        named = [
            (unread.get(int(place)) or reason or "the step gave no value") if gone else None
            for place, reason, gone in zip(places, reasons, missing, strict=True)
        ]
        return Part(places, values, pa.array(named, pa.string()))


def _kind(reason: str) -> str:
    """Reasons are counted by what stands before the first colon; the rest is of one row."""
    return reason.split(":")[0][:80]


def _merge(parts: Sequence[Part]) -> Part:
    return Part(
        np.concatenate([part.places for part in parts]),
        pa.concat_arrays([part.values for part in parts]),
        pa.concat_arrays([part.errors for part in parts]),
    )


def _batch_rows(table: Table, step: Step) -> int:
    """Rows a batch: many for cheap columns, as many as fit a byte limit for images."""
    if "image" not in step.reads:
        return 4096
    if "bytes" not in table.schema.names or table.num_rows == 0:
        return 64
    mean = table.query("SELECT avg(bytes) AS mean FROM dataset").column("mean").to_pylist()[0]
    return int(min(256, max(8, IMAGE_BATCH_BYTES // max(1, int(mean or 1)))))
