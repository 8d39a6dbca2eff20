"""Map: run a step over the rows of a table where its column is null, and put the values in place as one new version.

Null means "not computed yet"; so a killed job, appended rows and replaced images need no special case. This module
knows tables and what a step is, and no particular step.
"""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections.abc import Mapping, Sequence
from typing import Any

from clipdata.column_names import check_column_name
from clipdata.engines.local import LocalEngine
from clipdata.engines.task import Engine, FragmentTask
from clipdata.errors import ConcurrentChangeError, LineageMismatchError, UsageError
from clipdata.lance_io import columns
from clipdata.lance_io.filling import BATCH_BYTES, Filling
from clipdata.lance_io.history import Properties
from clipdata.lance_io.parts import Finished
from clipdata.lance_io.presence import fixed_width
from clipdata.lance_io.replacement import commit_finished
from clipdata.lance_io.state import StateFolder, map_folder
from clipdata.lance_io.table import AnyTable, Table, as_table
from clipdata.lineage import Lineage
from clipdata.mapped import Mapped
from clipdata.origin import keep_trained_rows, lineage_of
from clipdata.progress import Progress, Silent
from clipdata.schema import IMAGE_FIELDS, image_column, is_binary
from clipdata.step_protocol import Step, check_types, require_arguments
from clipdata.storage import redact

MAX_BATCH_ROWS = 4096
IMAGE_BATCH_ROWS = 256
MAX_ROUNDS = 10
MAX_ROUNDS_IN_VAIN = 3
_OVERWRITE = "overwrite"  # record of an overwrite that is not finished


def map_column(
    table: AnyTable,
    step: Step,
    column: str,
    *,
    overwrite: bool = False,
    retry_failed: bool = False,
    batch_rows: int | None = None,
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> Mapped:
    """Fill a column with what a step makes of the rows, and move `table` to the version that holds it.

    Args:
        table: its newest version is read and written; or the location of one.
        step: see `Step`; any function becomes one with `clipdata.step`.
        column: name of the column; made when it is not there.
        overwrite: remove the column and make it anew, whatever made it; it is empty until it is filled. The old version
            stays readable. An overwrite that was interrupted is gone on with by the same call.
        retry_failed: compute also the rows on which the step failed before.
        batch_rows: most rows the step is given at once; it gets fewer where rows are large.
        engine: where the work runs; in this process by default.
        progress: watches the rows go by.

    Raises:
        SchemaError: the table lacks a column that the step reads, or it holds another type.
        UsageError: the column cannot have that name, or an argument is of another kind.
        LineageMismatchError: the column was made by another step, other parameters or other weights.
        StepError: the step returned something else than one value a row of its type.
        ConcurrentChangeError: another writer replaced or removed the column or an input while this one worked.
    """
    started = time.monotonic()
    require_arguments(step, batch_rows, engine, progress)
    table = as_table(table)
    table.move_to(table.latest())
    first_version = table.version
    _check(table, step, column)
    lineage = lineage_of(table, step)
    inputs = {name: columns.identity_of(table.dataset, name) for name in step.reads}
    keep_trained_rows(table, step)
    _settle(table, step, column, lineage, overwrite=overwrite)
    columns.require_same(table, table.dataset, column, inputs)
    job = _Job(table, step, column, lineage, inputs, batch_rows, engine or LocalEngine(), progress or Silent())
    job.first_version = first_version
    job.run(retry_failed=retry_failed)
    computed, failed = job.counts()
    filled, waiting = job.tally()
    failed_before = table.num_rows - filled - waiting - sum(failed.values())
    return Mapped(
        column=column,
        computed=computed,
        failed=failed,
        kept=max(filled - (computed - sum(failed.values())), 0),  # rows may have been deleted since
        waiting=waiting,
        version=table.version,
        seconds=time.monotonic() - started,
        notes=job.notes,
        failed_before=max(failed_before, 0),
    )


def _check(table: Table, step: Step, column: str) -> None:
    """Hold the request to the table before anything is written.

    Raises:
        UsageError: the column cannot have that name, or the step would overwrite one of its own inputs or the key.
        SchemaError: an input is missing or of another type.
    """
    check_column_name(column, table.schema)
    table.require(step.reads, verb=f"map {step.name}")
    check_types(step, table.schema)
    step.check(table.schema)
    if column in step.reads or column == table.key:
        raise UsageError(f"map {step.name}: {column!r} cannot be written: the step reads it, or it is the table's key")
    own = {field.name for field in IMAGE_FIELDS} if table.key is not None else set()
    is_image = column == image_column(table.schema)
    if column in table.schema.names and table.lineage(column) is None and (column in own or is_image):
        raise UsageError(
            f"map {step.name}: {column!r} cannot be written: it says what the row's picture is",
            hint="choose another column name",
        )


def _settle(table: Table, step: Step, column: str, lineage: Lineage, *, overwrite: bool) -> None:
    """Move the table to a version in which the column is there and made by this very lineage.

    An overwrite is the column anew: removed with its reasons, and added empty with its lineage. So in no version do
    values stand under a lineage that did not make them.

    Raises:
        LineageMismatchError: the column has another origin and `overwrite` was not asked for; or another writer made it
            in another way meanwhile.
    """
    field = columns.new_field(column, step.returns, lineage)
    begun = _state(table, column, columns.mark_of(field))
    removed = False
    for _ in range(MAX_ROUNDS):
        if column not in table.schema.names:
            if overwrite:
                begun.write_json(_OVERWRITE, {})
            table.move_to(columns.add(table, field))
            removed = True
            made = table.schema.field(column) if column in table.schema.names else None
            if made is None or columns.mark_of(made) != columns.mark_of(field):  # another writer was faster
                begun.remove()
            continue
        present = table.lineage(column)
        mark = columns.mark_of(table.schema.field(column))
        is_same = present is not None and present.fingerprint == lineage.fingerprint
        if is_same and (removed or not overwrite or _state(table, column, mark).read_json(_OVERWRITE) is not None):
            return
        if removed or not (overwrite or _is_outdated_and_empty(table, column, present, lineage)):
            raise _mismatch(column, present, lineage, meanwhile=removed)
        newest, removed = columns.remove(table, column, mark)
        table.move_to(newest)
        if removed:
            _state(table, column, mark).remove()
    raise ConcurrentChangeError(
        f"other writers keep replacing column {column!r} of {redact(table.uri)}", hint="run the same command again"
    )


def _is_outdated_and_empty(table: Table, column: str, present: Lineage | None, wanted: Lineage) -> bool:
    """Whether a column was begun from inputs of another origin, and holds nothing yet."""
    if present is None or not present.differs_only_upstream(wanted):
        return False
    return table.count_rows(f"`{column}` IS NOT NULL") == 0


def _mismatch(column: str, present: Lineage | None, wanted: Lineage, *, meanwhile: bool) -> LineageMismatchError:
    found = present.describe() if present is not None else "something that left no lineage (it came with the data)"
    when = " meanwhile" if meanwhile else ""
    return LineageMismatchError(
        f"column {column!r} was made by {found}{when}; this run would write {wanted.describe()}"
        + "".join(f"\n  {line}" for line in (present.differences(wanted) if present is not None else ())),
        hint="choose another column name, or pass --overwrite (overwrite=True): the old version stays readable",
    )


def _state(table: Table, column: str, mark: str) -> StateFolder:
    return StateFolder(table, map_folder(column, mark))


class _Job:
    """One run of `map_column`, once the column is there."""

    def __init__(
        self,
        table: Table,
        step: Step,
        column: str,
        lineage: Lineage,
        inputs: Mapping[str, str | None],
        batch_rows: int | None,
        engine: Engine,
        progress: Progress,
    ) -> None:
        self.table, self.step, self.column, self.lineage = table, step, column, lineage
        self.engine, self.progress = engine, progress
        self.batch_rows = min(batch_rows or MAX_BATCH_ROWS, _affordable_rows(table, step))
        self.mark = columns.mark_of(table.schema.field(column))
        # What the lineage was made of.
        self.identities = {**inputs, column: columns.identity_of(table.dataset, column)}
        self.first_version = table.version
        self.own: set[str] = set()  # files that this run wrote
        self.committed: list[Finished] = []
        self.notes: dict[str, Any] = {}
        self._waiting: set[str] = set()  # signatures of fragments in which all that is left waits for an input

    def run(self, *, retry_failed: bool) -> None:
        """Fill and commit until nothing is left, then clear the records.

        Raises:
            ConcurrentChangeError: other writers changed the table faster than it could be filled.
        """
        in_vain = 0
        for number in range(MAX_ROUNDS):
            filling = self._filling(retry_failed=retry_failed and number == 0)
            ready = filling.recorded()
            pending = self._pending(filling, ready)
            if not ready and not pending:
                filling.records.remove()
                return
            ready += self._fill(filling, pending)
            if any(entry.file for entry in ready):
                table, committed = commit_finished(filling, ready, self._properties)
                self.table.move_to(table)
                self.committed += committed
                in_vain = 0 if committed else in_vain + 1
            self.table.move_to(self.table.latest())
            if in_vain == MAX_ROUNDS_IN_VAIN:
                break
        filling = self._filling(retry_failed=False)
        if left := sum(num_rows for _, num_rows in self._pending(filling, ())):
            raise ConcurrentChangeError(
                f"{left:,} rows of {redact(self.table.uri)} have no {self.column!r} yet: other writers changed their "
                "fragments in every round before they could be committed",
                hint="run the same command again when the other writer is done; what is committed stays",
            )

    def counts(self) -> tuple[int, dict[str, int]]:
        """Rows that this run computed and committed, and those of them that stayed null, by reason."""
        own = [entry for entry in self.committed if entry.file in self.own]
        failed: Tally[str] = Tally()
        for entry in own:
            failed.update(entry.failed)
        return sum(entry.computed for entry in own), dict(failed)

    def tally(self) -> tuple[int, int]:
        """Rows of the table that have a value, and those that have neither a value nor a reason."""
        return self._filling(retry_failed=False).tally()

    def _filling(self, *, retry_failed: bool) -> Filling:
        """The work as it stands at the table's version.

        Raises:
            ConcurrentChangeError: the column or an input is not the one of the start any more.
        """
        columns.require_same(self.table, self.table.dataset, self.column, self.identities)
        state = map_folder(self.column, self.mark)
        return Filling(self.table.pinned(), self.column, tuple(self.step.reads), state, retry_failed)

    def _pending(self, filling: Filling, ready: Sequence[Finished]) -> list[tuple[int, int]]:
        fragments = filling.table.dataset.get_fragment
        return [
            (fragment_id, num_rows)
            for fragment_id, num_rows in filling.pending(ready)
            if filling.signature(fragments(fragment_id)) not in self._waiting
        ]

    def _fill(self, filling: Filling, pending: Sequence[tuple[int, int]]) -> list[Finished]:
        """Have fragments filled; those that another run finished meanwhile are left out."""
        tasks = [FragmentTask(filling, self.step, fragment_id, self.batch_rows) for fragment_id, _ in pending]
        finished = []
        with self.progress.task(f"map {self.column}", sum(num_rows for _, num_rows in pending)) as counter:
            for done in self.engine.run(tasks, counter):
                self.notes |= done.notes
                if done.finished is None:
                    continue
                finished.append(done.finished)
                if done.finished.file:
                    self.own.add(done.finished.file)
                else:
                    self._waiting.add(done.finished.signature)
        return finished

    def _properties(self, committed: Sequence[Finished]) -> Properties:
        rows = {
            "computed": sum(entry.computed for entry in committed),
            "failed": sum(sum(entry.failed.values()) for entry in committed),
        }
        parameters = {"column": self.column, "step": self.lineage.describe(), "notes": self.notes}
        return Properties("map", parameters, rows, first_version=self.first_version)


def _affordable_rows(table: Table, step: Step) -> int:
    """Rows whose inputs and values together take no more than a batch may; images are judged by their mean size."""
    schema, width = table.schema, fixed_width(step.returns)
    for name in step.reads:
        kind = schema.field(name).type
        if name == image_column(schema) and "bytes" in schema.names and table.num_rows:
            mean = table.query("SELECT avg(bytes) AS mean FROM dataset").column("mean").to_pylist()[0]
            width += max(int(mean or 0), BATCH_BYTES // IMAGE_BATCH_ROWS)
        elif is_binary(kind):
            width += BATCH_BYTES // 64
        else:
            width += fixed_width(kind)
    return max(BATCH_BYTES // max(width, 1), 8)
