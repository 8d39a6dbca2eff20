"""Refreshing: columns made again that are not what their steps would make now, inputs before what reads them.

What is stale, `staleness.py` says; how a step is had again, `steps/rebuilding.py`; a column is made by `map_column`
alone, so that all that holds of a map holds here.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from clipdata.errors import GateFailedError, LineageMismatchError, NotFoundError, UsageError
from clipdata.lance_io.table import AnyTable, Table, as_table
from clipdata.mapped import Mapped
from clipdata.mapping import map_column
from clipdata.plurals import counted
from clipdata.printable import printable
from clipdata.progress import Progress, Silent
from clipdata.staleness import ColumnState, column_state, column_states, state_for
from clipdata.step_protocol import Step, require_arguments
from clipdata.steps.rebuilding import Models, rebuild
from clipdata.storage import Storage, redact

if TYPE_CHECKING:
    from clipdata.encoder.model import Encoder


@dataclass(frozen=True)
class Refreshed:
    """What a refresh found stale, and what it made again.

    Args:
        table: location.
        version: of the table afterwards.
        dry_run: whether nothing was made.
        states: of the columns that steps made, as they were found, inputs first.
        made: what each map did.
        skipped: stale column → why it could not be made again.
    """

    table: str
    version: int
    dry_run: bool
    states: tuple[ColumnState, ...]
    made: tuple[Mapped, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()

    @property
    def stale(self) -> tuple[ColumnState, ...]:
        """Columns that were found stale."""
        return tuple(state for state in self.states if state.stale)

    @property
    def overwrites(self) -> tuple[str, ...]:
        """Columns all of whose values are, or would be, made anew."""
        return tuple(state.column for state in self.stale if state.anew)

    def hold(self) -> Refreshed:
        """Returns itself when no column is stale any more.

        Raises:
            GateFailedError: one is.
        """
        left = [state.column for state in self.stale] if self.dry_run else [column for column, _ in self.skipped]
        if left:
            what = "are stale" if self.dry_run else "could not be made again"
            hint = "clipdata refresh TABLE makes them" if self.dry_run else "--model and --step give what is gone"
            raise GateFailedError(f"{len(left)} of {len(self.states)} columns {what}: {', '.join(left)}", hint=hint)
        return self

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "table": self.table,
            "version": self.version,
            "dry_run": self.dry_run,
            "columns": [state.to_dict() for state in self.states],
            "made": [done.to_dict() for done in self.made],
            "skipped": dict(self.skipped),
        }

    def __str__(self) -> str:
        lines = []
        for state in self.states:
            if state.stale:
                lines += [f"{state.column}: stale", *(f"  {reason}" for reason in state.reasons)]
            if state.failed:
                also = "  also " if state.stale else f"{state.column}: "
                lines.append(f"{also}{counted(state.failed, 'row')} failed before")
        fresh = len(self.states) - len(self.stale)
        lines.append(f"{fresh} of {len(self.states)} columns that steps made are up to date (version {self.version})")
        lines += [str(done) for done in self.made]
        lines += [f"{column}: not made again: {why}" for column, why in self.skipped]
        return "\n".join(printable(line, keep="\n") for line in lines)


def refresh(
    table: AnyTable,
    columns: Sequence[str] | None = None,
    *,
    dry_run: bool = False,
    retry_failed: bool = False,
    models: Sequence[Encoder] = (),
    steps: Sequence[Step] = (),
    device: str | None = None,
    storage: Storage | None = None,
    progress: Progress | None = None,
) -> Refreshed:
    """Make every column again that is not what its step would make now.

    A column is stale where rows have no value that could have one, where a column that it reads was made anew, in
    another way, or where its step's code is newer. Values that are missing are filled in; a column whose values are all
    in question is made anew, and its old version stays readable.

    Args:
        table: its newest version; or the location of one.
        columns: these only, and what they are made of; all by default.
        dry_run: say what is stale and why, and make nothing.
        retry_failed: compute also the rows on which a step failed before.
        models: encoders to look among before a lineage's own name of its model is used; told apart by identity.
        steps: functions that made columns, of which a lineage holds the name alone.
        device: where models run.
        storage: how to reach the location.
        progress: watches the rows go by.

    Raises:
        SchemaError: the table has no such column.
        UsageError: no step made a column that is named.
    """
    opened = as_table(table, storage=storage)
    opened.move_to(opened.latest())
    _check_wanted(opened, columns)
    states = tuple(column_states(opened, columns, steps))
    if dry_run:
        return Refreshed(redact(opened.uri), opened.version, dry_run, states)
    again = _Again(opened, Models(models, device, (progress or Silent()).say), steps, retry_failed, progress)
    for state in states:
        again.make(state)
    return Refreshed(
        redact(opened.uri), opened.version, dry_run, states, tuple(again.made), tuple(again.skipped.items())
    )


def retry_errors(
    table: AnyTable,
    columns: Sequence[str],
    *,
    models: Sequence[Encoder] = (),
    steps: Sequence[Step] = (),
    device: str | None = None,
    storage: Storage | None = None,
    progress: Progress | None = None,
) -> Refreshed:
    """Compute the rows again on which the steps of some columns failed; nothing that has a value is computed anew.

    Args:
        table: its newest version; or the location of one.
        columns: made by steps; one that is stale because its inputs or its code changed is skipped: `refresh` makes it.
        models, steps, device, storage, progress: as of `refresh`.

    Raises:
        SchemaError: the table has no such column.
        UsageError: no step made a column that is named.
    """
    opened = as_table(table, storage=storage)
    opened.move_to(opened.latest())
    _check_wanted(opened, columns)
    again = _Again(opened, Models(models, device, (progress or Silent()).say), steps, True, progress)
    states = tuple(column_state(opened, name, steps) for name in columns)
    for state in states:
        if state.anew:
            again.skipped[state.column] = f"{'; '.join(state.reasons)}: clipdata refresh makes it anew"
        elif state.failed:
            again.make(state)
    return Refreshed(redact(opened.uri), opened.version, False, states, tuple(again.made), tuple(again.skipped.items()))


@dataclass
class _Again:
    """Makes columns again, one after the other, and keeps what came of each."""

    table: Table
    models: Models
    steps: Sequence[Step]
    retry_failed: bool
    progress: Progress | None
    made: list[Mapped] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)

    def make(self, found: ColumnState) -> None:
        """Make a column again if it is stale still, now that its inputs are made."""
        lineage = self.table.lineage(found.column)
        assert lineage is not None, "only columns that a step made are looked at"
        broken = [source for source in lineage.inputs if source in self.skipped]
        now = column_state(self.table, found.column, self.steps)
        if broken and (now.anew or (found.anew and not now.pending)):
            self.skipped[found.column] = f"column {', '.join(broken)} that it reads could not be made again"
        elif now.missing:
            self.skipped[found.column] = now.anew[0]
        elif now.stale or (self.retry_failed and now.failed):
            self._map(now)

    def _map(self, now: ColumnState) -> None:
        anew, retry = bool(now.anew), self.retry_failed
        try:
            step = rebuild(self.table, now.column, self.models, self.steps)
            done = map_column(
                self.table,
                step,
                now.column,
                overwrite=anew,
                retry_failed=retry,
                where=now.where,
                progress=self.progress,
            )
        except (LineageMismatchError, NotFoundError, UsageError) as error:
            self.skipped[now.column] = str(error)
            return
        self.made.append(done)


def _check_wanted(table: Table, columns: Sequence[str] | None) -> None:
    table.require(columns or (), verb="refresh")
    for name in columns or ():
        if table.lineage(name) is None:
            raise UsageError(
                f"refresh: no step made column {name!r}: it came with the data",
                hint="clipdata show TABLE says what made each column",
            )


@dataclass(frozen=True)
class Checked(Mapped):
    """What a map would do, told without computing a row.

    Args:
        reasons: why the column is not what the step would make; empty where it is.
    """

    reasons: tuple[str, ...] = ()

    def hold(self, *, max_failed: int | float | None = None) -> Checked:
        """Returns itself when the column is up to date.

        Raises:
            GateFailedError: it is stale.
        """
        if self.reasons:
            raise GateFailedError(f"{self.column} is stale", hint="the same command without --check makes it")
        return self

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {**super().to_dict(), "stale": bool(self.reasons), "reasons": list(self.reasons)}

    def __str__(self) -> str:
        lines = [f"{self.column}: {'stale' if self.reasons else 'up to date'} (version {self.version})"]
        return "\n".join([*lines, *(f"  {printable(reason)}" for reason in self.reasons)])


def check_column(table: AnyTable, step: Step, column: str) -> Checked:
    """Say whether a column is what a step would make of the table now; nothing is computed or written.

    Args:
        table: its newest version; or the location of one.
        step: that would be mapped.
        column: of any origin, or one that is not there yet.

    Raises:
        SchemaError: the table lacks a column that the step reads.
    """
    started_s = time.monotonic()
    require_arguments(step, None, None, None)
    opened = as_table(table)
    opened.move_to(opened.latest())
    opened.require(step.reads, verb=f"map {step.name}")
    state = state_for(opened, step, column)
    num_empty = state.pending + state.waiting + state.failed
    return Checked(
        column=column,
        computed=0,
        failed={},
        kept=0 if state.anew else opened.num_rows - num_empty,
        waiting=state.waiting,
        version=opened.version,
        seconds=time.monotonic() - started_s,
        failed_before=state.failed,
        pending=opened.num_rows if state.anew else state.pending,
        dry_run=True,
        reasons=state.reasons,
    )
