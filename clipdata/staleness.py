"""Staleness: which columns that steps made are not what the steps would make now, and why; as `make` tells targets.

It reads lineages and counts nulls; no model is loaded and nothing is computed. It must not know how a column is made
again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from clipdata.errors import SchemaError
from clipdata.lance_io import columns
from clipdata.lance_io.filling import Filling
from clipdata.lance_io.history import last_map_of
from clipdata.lance_io.presence import is_missing_told
from clipdata.lance_io.state import map_folder
from clipdata.lance_io.table import Table
from clipdata.lineage import Lineage
from clipdata.origin import changed_inputs, lineage_of
from clipdata.plurals import counted
from clipdata.printable import printable
from clipdata.step_protocol import Step
from clipdata.steps.rebuilding import newer_code


@dataclass(frozen=True)
class ColumnState:
    """What a column lacks to be what its step would make now.

    Args:
        column: made by a step.
        step: as the lineage describes it.
        model_name: what the person called the model, if there is one.
        anew: why all of its values have to be made anew; empty where they have not.
        pending: rows that have no value yet and can be computed.
        waiting: rows that have no value because an input of theirs is null.
        waits_for: stale inputs of the rows that wait.
        failed: rows on which the step failed; tried again only on request, so they make no column stale.
        missing: inputs that the table does not have any more.
        where: condition of the last map of the column: other rows were left out on purpose, and are not pending.
    """

    column: str
    step: str
    model_name: str | None = None
    anew: tuple[str, ...] = ()
    pending: int = 0
    waiting: int = 0
    waits_for: tuple[str, ...] = ()
    failed: int = 0
    missing: tuple[str, ...] = ()
    where: str | None = None

    @property
    def stale(self) -> bool:
        """Whether the step would change something."""
        return bool(self.anew or self.pending or (self.waiting and self.waits_for))

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it is stale, a line each."""
        lines = list(self.anew)
        if self.pending:
            lines.append(f"{counted(self.pending, 'row has', 'rows have')} no value yet")
        if self.waiting and self.waits_for:
            lines.append(f"{counted(self.waiting, 'row waits', 'rows wait')} for {', '.join(self.waits_for)}")
        return tuple(map(printable, lines))

    def to_dict(self) -> dict[str, Any]:
        """JSON values, with whether it is stale and the reasons spelled out."""
        return {**asdict(self), "stale": self.stale, "reasons": list(self.reasons)}


def column_states(
    table: Table, wanted: Sequence[str] | None = None, own: Sequence[Step] = (), *, cheap: bool = False
) -> list[ColumnState]:
    """State of every column that a step made, or of some and all that they are made of, inputs before what reads them.

    Args:
        table: at the version to look at.
        wanted: columns.
        own: steps that are functions, whose code is looked at too.
        cheap: count no rows where vectors would have to be read for it.
    """
    lineages = {name: made for name in table.schema.names if (made := table.lineage(name)) is not None}
    states: dict[str, ColumnState] = {}
    for name in _in_order(lineages, list(lineages) if wanted is None else wanted):
        states[name] = _state_of(table, name, lineages[name], states, own, cheap=cheap)
    return list(states.values())


def column_state(table: Table, column: str, own: Sequence[Step] = ()) -> ColumnState:
    """State of one column that a step made, whatever the state of its inputs."""
    lineage = table.lineage(column)
    assert lineage is not None, "no step made this column"
    return _state_of(table, column, lineage, {}, own)


def state_for(table: Table, step: Step, column: str) -> ColumnState:
    """State of a column that a given step is to have made.

    Args:
        table: at the version to look at.
        step: that would be mapped.
        column: of any origin, or one that is not there.
    """
    wanted = lineage_of(table, step)
    found = table.lineage(column) if column in table.schema.names else None
    named = ColumnState(column, wanted.describe(), wanted.model_name)
    if column not in table.schema.names:
        anew: tuple[str, ...] = ("there is no such column",)
    elif found is None:
        anew = ("it came with the data, and no step made it",)
    else:
        anew = tuple(found.differences(wanted))
    if anew:
        return ColumnState(column, named.step, named.model_name, anew)
    return _counted(table, column, wanted, anew, ())


def _in_order(lineages: Mapping[str, Lineage], wanted: Sequence[str]) -> list[str]:
    """Columns with those they are made of, each after its inputs."""
    ordered: dict[str, None] = {}

    def add(name: str, above: tuple[str, ...]) -> None:
        if name in ordered or name in above or name not in lineages:
            return
        for source in lineages[name].inputs:
            add(source, (*above, name))
        ordered[name] = None

    for name in wanted:
        add(name, ())
    return list(ordered)


def _state_of(
    table: Table,
    name: str,
    lineage: Lineage,
    before: Mapping[str, ColumnState],
    own: Sequence[Step],
    *,
    cheap: bool = False,
) -> ColumnState:
    missing = tuple(source for source in lineage.inputs if source not in table.schema.names)
    if missing:
        return ColumnState(
            name,
            lineage.describe(),
            lineage.model_name,
            anew=(f"column {', '.join(missing)} that it reads is gone",),
            missing=missing,
        )
    anew = changed_inputs(table, lineage)
    anew += [f"column {source!r} that it reads is stale" for source in lineage.inputs if _is_anew(before.get(source))]
    if newer := newer_code(table, name, own):
        anew.append(newer)
    waits_for = tuple(source for source in lineage.inputs if source in before and before[source].stale)
    if cheap and not is_missing_told(table, name):
        return ColumnState(name, lineage.describe(), lineage.model_name, anew=tuple(anew))
    return _counted(table, name, lineage, tuple(anew), waits_for)


def _is_anew(state: ColumnState | None) -> bool:
    return state is not None and bool(state.anew)


def _counted(
    table: Table, name: str, lineage: Lineage, anew: tuple[str, ...], waits_for: tuple[str, ...]
) -> ColumnState:
    state = map_folder(name, columns.mark_of(table.schema.field(name)))
    filling = Filling(table.pinned(), name, lineage.inputs, state)
    filled, unexplained = filling.tally()
    where = _where_of_last(table, name) if anew or unexplained else None
    pending = sum(num_rows for _, num_rows in filling.pending()) if unexplained else 0
    waiting = max(unexplained - pending, 0)
    if where is not None and pending:
        pending = sum(num_rows for _, num_rows in replace(filling, where=where).pending())
    return ColumnState(
        name,
        lineage.describe(),
        lineage.model_name,
        anew=anew,
        pending=pending,
        waiting=waiting,
        waits_for=waits_for,
        failed=max(table.num_rows - filled - unexplained, 0),
        where=where,
    )


def _where_of_last(table: Table, name: str) -> str | None:
    """The condition of the last map of a column, if it had one that can be asked still."""
    made = table.lineage(name)
    said = last_map_of(table, name, after=made.table_version or 0) if made is not None else None
    where = said.parameters.get("where") if said is not None else None
    if where is None:
        return None
    try:
        table.count_rows(where)
    except SchemaError:  # a column that it names is gone
        return None
    return str(where)
