"""Recomputing: one cell made again from its lineage's inputs and weights, and held against what the table holds.

It goes the way of a map: the row's inputs are read with their pictures, the very step is rebuilt from the lineage, and
its value is compared. Nothing is written.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from clipdata.engines.fill import compute_part
from clipdata.errors import (
    GateFailedError,
    LineageMismatchError,
    NotFoundError,
    UsageError,
)
from clipdata.lance_io.columns import reasons_of
from clipdata.lance_io.table import AnyTable, Table, as_table
from clipdata.lineage import Lineage
from clipdata.named_rows import named_row
from clipdata.objects.references import References, columns_needed
from clipdata.origin import changed_inputs
from clipdata.printable import printable
from clipdata.shown_values import shown_value
from clipdata.step_protocol import Step
from clipdata.steps.rebuilding import Models, newer_code, rebuild
from clipdata.storage import Storage, redact

if TYPE_CHECKING:
    from clipdata.encoder.model import Encoder

TOLERANCE = 1e-4
"""Of floats, relative to the larger one but absolute below 1: another batch size or CPU rounds otherwise."""

EQUAL, STALE, DIFFERENT, UNTOLD = "equal", "stale", "different", "untold"


@dataclass(frozen=True)
class Why:
    """What became of one cell when it was computed again.

    Args:
        table: location.
        version: of the table that holds the cell.
        row: key, or number, of the row.
        column: of the cell.
        verdict: "equal"; "stale", where an input or the code changed since; "different"; or "untold", where it cannot
            be told.
        reasons: for the verdict, a line each.
        value: of the cell, as people read it; None where there is none.
        recomputed: what the step makes now, as people read it; None where it makes nothing.
        difference: largest between two numbers, relative to the larger one but absolute below 1; None for what is no
            number, or not as long.
        inputs: column → what was read of the row, as people read it.
        lineage: of the column.
    """

    table: str
    version: int
    row: str
    column: str
    verdict: str
    reasons: tuple[str, ...]
    value: str | None = None
    recomputed: str | None = None
    difference: float | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    lineage: Lineage | None = None

    def hold(self) -> Why:
        """Returns itself when the cell is what its lineage says.

        Raises:
            GateFailedError: it is stale or different.
            LineageMismatchError: it cannot be told.
        """
        if self.verdict == UNTOLD:
            raise LineageMismatchError(f"{self.column} of row {self.row} cannot be told: {'; '.join(self.reasons)}")
        if self.verdict != EQUAL:
            raise GateFailedError(
                f"{self.column} of row {self.row} is {self.verdict}", hint="clipdata refresh TABLE makes columns again"
            )
        return self

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            **{name: getattr(self, name) for name in ("table", "version", "row", "column", "verdict")},
            "reasons": list(self.reasons),
            "value": self.value,
            "recomputed": self.recomputed,
            "difference": self.difference,
            "tolerance": TOLERANCE,
            "inputs": dict(self.inputs),
            "lineage": self.lineage.to_dict() if self.lineage is not None else None,
        }

    def __str__(self) -> str:
        lines = [f"{self.column} of row {self.row} at version {self.version}: {self.verdict}"]
        lines += [f"  {reason}" for reason in self.reasons]
        lines.append(f"  in the table  {self.value if self.value is not None else 'no value'}")
        if self.verdict != UNTOLD or self.recomputed is not None:
            lines.append(f"  computed now  {self.recomputed if self.recomputed is not None else 'no value'}")
        if self.lineage is not None:
            name = f"{self.lineage.model_name}: " if self.lineage.model_name else ""
            when = f", at version {self.lineage.table_version}, {self.lineage.made_at}"
            lines.append(f"  made by       {name}{self.lineage.describe()}{when}")
        lines += [f"  from          {name} = {value}" for name, value in self.inputs.items()]
        return "\n".join(map(printable, lines))


def why(
    table: AnyTable,
    row: str | int,
    column: str,
    *,
    models: Sequence[Encoder] = (),
    steps: Sequence[Step] = (),
    device: str | None = None,
    storage: Storage | None = None,
) -> Why:
    """Compute one cell again from its lineage's inputs and weights, and say whether it is what the table holds.

    Args:
        table: at the version that it is opened at; or the location of one.
        row: its key, the name of its picture where no other row shows it, or "#12", its number from 0; in a table
            without a key a bare number will do.
        column: made by a step.
        models: encoders to look among before the lineage's own name of its model is used; told apart by identity.
        steps: functions that made columns, of which a lineage holds the name alone.
        device: where the model runs.
        storage: how to reach the location.

    Raises:
        NotFoundError: there is no such row.
        SchemaError: there is no such column.
    """
    opened = as_table(table, storage=storage)
    opened.require([column], verb="why")
    place = _place_of(opened, row)
    lineage = opened.lineage(column)
    cell = opened.take(place, [column]).column(column).combine_chunks()
    said = Why(redact(opened.uri), opened.version, str(row), column, UNTOLD, (), value=_shown(cell), lineage=lineage)
    if lineage is None:
        return _told(said, UNTOLD, ["no step made this column: it came with the data"])
    if missing := [name for name in lineage.inputs if name not in opened.schema.names]:
        return _told(said, UNTOLD, [f"column {', '.join(missing)} that it was made of is gone"])
    inputs, unread = _inputs_of(opened, place, lineage.inputs)
    said = _told(said, UNTOLD, [], inputs={name: _shown(inputs.column(name)) or "no value" for name in lineage.inputs})
    try:
        step = rebuild(opened, column, Models(models, device), steps)
        part = compute_part(step, np.zeros(1, np.int64), inputs, step.prepare(inputs), unread)
    except (LineageMismatchError, NotFoundError, UsageError) as error:
        return _told(said, UNTOLD, [*error.message.splitlines(), *([error.hint] if error.hint else [])])
    changed = changed_inputs(opened, lineage) + [newer for newer in [newer_code(opened, column, steps)] if newer]
    return _judged(opened, place, said, cell, (part.values, part.reasons[0].as_py()), changed)


def _judged(
    table: Table, place: np.ndarray, said: Why, cell: pa.Array, now: tuple[pa.Array, str | None], changed: list[str]
) -> Why:
    """The verdict on a cell.

    Args:
        now: value [1] that was computed, and why there is none.
        changed: what else than the row's own inputs changed since.
    """
    value, reason = now
    lineage = said.lineage
    assert lineage is not None
    difference, alike = difference_of(cell, value)
    facts = {"recomputed": _shown(value), "difference": difference}
    if changed:
        return _told(said, STALE, [*changed, "the value would stay" if alike else "the value would change"], **facts)
    before = _reason_of(table, place, said.column)
    if not cell[0].is_valid and before is None and value[0].is_valid:
        return _told(said, STALE, ["it was not computed yet"], **facts)
    if not cell[0].is_valid and before is None:
        return _told(said, EQUAL, [f"it was not computed yet, and would have no value: {reason}"], **facts)
    if alike:
        equal = f"within {TOLERANCE:g}: they differ by {difference:.2g}" if difference else "exactly"
        return _told(said, EQUAL, [equal if cell[0].is_valid else f"the step gives no value: {reason}"], **facts)
    if lineage.tables:
        whole = (
            f"{lineage.step} reads tables as a whole, and they may have changed since version {lineage.table_version}"
        )
        return _told(said, UNTOLD, [whole], **facts)
    return _told(said, DIFFERENT, _differing(cell, before, reason, difference), **facts)


def _differing(cell: pa.Array, before: str | None, reason: str | None, difference: float | None) -> list[str]:
    if not cell[0].is_valid:
        lines = [f"the step failed on it before: {before}"]
    elif reason is not None:
        lines = [f"the step gives no value now: {reason}"]
    elif difference is None:
        lines = ["it is another value"]
    else:
        lines = [f"it differs by {difference:.4g}, of which {TOLERANCE:g} is rounding"]
    return [*lines, "an input was changed by another tool since, or the libraries or this machine compute otherwise"]


def difference_of(one: pa.Array, other: pa.Array) -> tuple[float | None, bool]:
    """Largest difference of the numbers of two values, and whether they are alike within the tolerance.

    Args:
        one, other: of length 1, of one type.
    """
    largest = 0.0
    for mine, its in _numbers(one[0].as_py(), other[0].as_py()):
        if not (isinstance(mine, float) and isinstance(its, float)):
            if mine != its:
                return None, False
            continue
        if mine == its or (math.isnan(mine) and math.isnan(its)):
            continue
        apart = abs(mine - its) / max(1.0, abs(mine), abs(its))
        largest = max(largest, apart if math.isfinite(apart) else math.inf)
    return largest, largest <= TOLERANCE


def _numbers(mine: Any, its: Any) -> list[tuple[Any, Any]]:
    """Pairs of what stands at one place in both; lists of other lengths are one pair."""
    if isinstance(mine, list) and isinstance(its, list) and len(mine) == len(its):
        return [pair for one, other in zip(mine, its, strict=True) for pair in _numbers(one, other)]
    if isinstance(mine, dict) and isinstance(its, dict) and mine.keys() == its.keys():
        return [pair for name in mine for pair in _numbers(mine[name], its[name])]
    return [(mine, its)]


def _place_of(table: Table, row: str | int) -> np.ndarray:
    """Position of a row among the live ones, int64 [1].

    Raises:
        NotFoundError: there is none.
        UsageError: several rows have that name.
    """
    text = str(row)
    is_number = table.key is None and text.isascii() and text.isdecimal()
    found = named_row(table, f"#{text}" if is_number else text, [])
    return table.offsets(f"_rowid = {found.id}")


def _inputs_of(table: Table, place: np.ndarray, inputs: Sequence[str]) -> tuple[pa.RecordBatch, dict[int, str]]:
    """A row's inputs with its picture, and why the picture could not be read (by place 0)."""
    names = list(dict.fromkeys(inputs))
    rows = table.take(place, [*names, *columns_needed(table.schema, names)])
    references = References(table.storage)
    unread: dict[int, str] = {}
    for _, filled in references.filled([(None, rows)]):
        unread = dict(enumerate(map(str, references.unread.values())))
        rows = filled
    return rows.select(names).combine_chunks().to_batches()[0], unread


def _reason_of(table: Table, place: np.ndarray, column: str) -> str | None:
    name = reasons_of(table.schema, column)
    found: str | None = table.take(place, [name]).column(name)[0].as_py() if name else None
    return found


def _shown(value: pa.Array) -> str | None:
    return shown_value(value[0].as_py(), value.type) if value[0].is_valid else None


def _told(said: Why, verdict: str, reasons: Sequence[str], **facts: Any) -> Why:
    return replace(said, verdict=verdict, reasons=tuple(reasons), **facts)
