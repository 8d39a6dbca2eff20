"""Map: run a step over the rows of a table where its column is null, and put the values in place as one new version.

Null means "not computed yet"; so a killed job, appended rows and replaced images need no special case. This module
knows tables and what a step is, and no particular step.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import replace

from clipdata.arguments import check_condition, check_count
from clipdata.column_names import check_column_name, columns_named
from clipdata.engines.local import LocalEngine
from clipdata.engines.task import Engine
from clipdata.engines.trial import try_step
from clipdata.errors import ConcurrentChangeError, LineageMismatchError, UsageError
from clipdata.lance_io import columns
from clipdata.lance_io.filling import Filling
from clipdata.lance_io.settling import settle
from clipdata.lance_io.state import StateFolder, map_folder
from clipdata.lance_io.table import AnyTable, Table, as_table
from clipdata.lineage import Lineage
from clipdata.map_job import MapJob
from clipdata.mapped import Mapped
from clipdata.origin import keep_trained_rows, lineage_of
from clipdata.progress import Progress, Silent
from clipdata.schema import IMAGE_FIELDS, error_column, image_column
from clipdata.step_protocol import Step, check_types, require_arguments
from clipdata.storage import redact

MAX_ROUNDS = 10
_OVERWRITE = "overwrite"  # record of an overwrite that is not finished
_DECIDED = "decided"  # record of what the step had decided over whole tables


def map_column(
    table: AnyTable,
    step: Step,
    column: str,
    *,
    overwrite: bool = False,
    retry_failed: bool = False,
    where: str | None = None,
    limit: int | None = None,
    dry_run: bool = False,
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
        limit: compute so many rows at most, the first that have no value in the table's order; the rest stay null for
            the next call. Rows that an interrupted call computed count among them.
        dry_run: compute a handful of rows to say how many there are, what is read for them and how long they would
            take, and write nothing.
        batch_rows: most rows the step is given at once; it gets fewer where rows are large.
        engine: where the work runs; in this process by default.
        progress: watches the rows go by.

    Raises:
        SchemaError: the table lacks a column that the step reads, or it holds another type; or `where` is not valid.
        UsageError: the column cannot have that name, or an argument is of another kind; or `where` names the column
            that `overwrite` is about to empty.
        LineageMismatchError: the column was made by another step, other parameters or other weights.
        StepError: the step returned something else than one value a row of its type.
        ConcurrentChangeError: another writer replaced or removed the column or an input while this one worked.
    """
    started = time.monotonic()
    require_arguments(step, batch_rows, engine, progress)
    if limit is not None:
        check_count(limit, "map: limit", least=1)
    table = as_table(table)
    table.move_to(table.latest())
    first_version = table.version
    _check(table, step, column)
    _check_where(table, column, where, overwrite=overwrite)
    lineage = lineage_of(table, step)
    if dry_run:
        filling = _foreseen(table, step, column, lineage, overwrite=overwrite, retry_failed=retry_failed)
        return _foretold(replace(filling, where=where), step, column, limit, started)
    inputs = {name: columns.identity_of(table.dataset, name) for name in step.reads}
    keep_trained_rows(table, step)
    _settle(table, step, column, lineage, overwrite=overwrite)
    _forget_other_decisions(table, step, column)
    columns.require_same(table, table.dataset, column, inputs)
    job = MapJob(
        table, step, column, lineage, inputs, where, limit, batch_rows, engine or LocalEngine(), progress or Silent()
    )
    job.first_version = first_version
    job.run(retry_failed=retry_failed)
    settle(table)  # where nothing was left to do, an earlier run may have died between its commit and this
    computed, failed = job.counts()
    filled, unexplained, pending = job.tally()
    failed_before = table.num_rows - filled - unexplained - sum(failed.values())
    return Mapped(
        column=column,
        computed=computed,
        failed=failed,
        kept=max(filled - (computed - sum(failed.values())), 0),  # rows may have been deleted since
        waiting=max(unexplained - pending, 0),
        version=table.version,
        seconds=time.monotonic() - started,
        notes=job.notes,
        read_bytes=job.cost.read_bytes,
        row_s=job.cost.step_s / job.cost.num_rows if job.cost.num_rows else None,
        failed_before=max(failed_before, 0),
        pending=pending,
    )


def _foreseen(
    table: Table, step: Step, column: str, lineage: Lineage, *, overwrite: bool, retry_failed: bool
) -> Filling:
    """What a map would begin with: the column as it is, or one that is not there yet where it would be made anew.

    Raises:
        LineageMismatchError: the column has another origin and `overwrite` was not asked for.
    """
    name, mark = uuid.uuid4().hex, ""
    if column in table.schema.names and _is_gone_on_with(table, column, lineage, overwrite=overwrite):
        name, mark = column, columns.mark_of(table.schema.field(column))
    return Filling(table.pinned(), name, tuple(step.reads), map_folder(column, mark), retry_failed)


def _foretold(filling: Filling, step: Step, column: str, limit: int | None, started_s: float) -> Mapped:
    """What a map would do, from the rows there are and a handful of them computed."""
    recorded = filling.recorded()
    by_fragment = [*filling.pending(recorded), *filling.left_by(recorded)]
    filled, unexplained = filling.tally()
    pending = sum(num_rows for _, num_rows in by_fragment)
    untried = replace(filling, retry_failed=False, where=None).pending()
    tried = try_step(filling, step, by_fragment)
    num_rows = min(pending, limit or pending)
    told = {f"failed: {reason}": count for reason, count in tried.failed.items()}
    foretell = getattr(step, "foretell", None)
    told |= foretell(num_rows) if callable(foretell) else {}
    return Mapped(
        column=column,
        computed=0,
        failed={},
        kept=filled,
        waiting=max(unexplained - sum(num for _, num in untried), 0),
        version=filling.table.version,
        seconds=time.monotonic() - started_s,
        notes={"rows tried": tried.num_rows, **told} if tried.num_rows else {},
        failed_before=filling.table.num_rows - filled - unexplained,
        pending=pending,
        dry_run=True,
        read_bytes={name: round(mean * num_rows) for name, mean in tried.reads.items()},
        row_s=tried.row_s,
        estimate_s=None if tried.row_s is None else tried.row_s * num_rows,
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


def _check_where(table: Table, column: str, where: str | None, *, overwrite: bool) -> None:
    """Hold the condition to the table before anything is written.

    Raises:
        SchemaError: it names a column that does not exist, or is not SQL.
        UsageError: it is no text; or it asks for values that the overwrite removes before they are compared.
    """
    if where is None:
        return
    check_condition(where)
    if overwrite and (named := columns_named(where, [column, error_column(column)])):
        raise UsageError(
            f"map: where names {named[0]!r}, which overwrite empties before any row is computed; expected a condition "
            "on other columns",
            hint="map into another column, or leave out --overwrite (overwrite=True)",
        )
    table.to_table(["_rowid"], where=where, limit=1)


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
        if _is_gone_on_with(table, column, lineage, overwrite=overwrite, was_removed=removed):
            return
        mark = columns.mark_of(table.schema.field(column))
        newest, removed = columns.remove(table, column, mark)
        table.move_to(newest)
        if removed:
            _state(table, column, mark).remove()
    raise ConcurrentChangeError(
        f"other writers keep replacing column {column!r} of {redact(table.uri)}", hint="run the same command again"
    )


def _forget_other_decisions(table: Table, step: Step, column: str) -> None:
    """Remove what an interrupted job stored and did not commit, if its step had decided otherwise over whole tables."""
    decided: str | None = getattr(step, "decided", None)
    if decided is None:
        return
    state = _state(table, column, columns.mark_of(table.schema.field(column)))
    if (state.read_json(_DECIDED) or {"digest": decided})["digest"] != decided:
        state.remove("done-")
        state.remove("parts/")
    state.write_json(_DECIDED, {"digest": decided})


def _is_gone_on_with(table: Table, column: str, wanted: Lineage, *, overwrite: bool, was_removed: bool = False) -> bool:
    """Whether a column that is there is filled further; if not, it is to be removed and made anew.

    Args:
        was_removed: the column is one that came in place of the one that was to be overwritten.

    Raises:
        LineageMismatchError: it may be neither.
    """
    present = table.lineage(column)
    if present is not None and present.fingerprint == wanted.fingerprint:
        state = _state(table, column, columns.mark_of(table.schema.field(column)))
        if was_removed or not overwrite or state.read_json(_OVERWRITE) is not None:
            return True
    if was_removed or not (overwrite or _is_outdated_and_empty(table, column, present, wanted)):
        raise _mismatch(column, present, wanted, meanwhile=was_removed)
    return False


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
