"""What a check of a split found, as a value, as text and as JSON. It knows no table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from clipdata.errors import GateFailedError
from clipdata.plurals import counted
from clipdata.printable import printable

_SHOWN_CLASSES, _SHOWN_EVEN = 10, 3
_SHOWN_VALUE = 60


@dataclass(frozen=True)
class Side:
    """One side of a split.

    Args:
        name: as the column says it.
        num_rows: rows of it.
        share: of the rows that have a side.
        share_interval: 95 % (Wilson), as if the rows had been drawn for sides one by one.
        resolution: half the width of the 95 % interval of an accuracy near one half that is measured on this side.
        rows_shared: rows that share evidence with another side.
        rows_of_trained: rows that share evidence with the side that is trained on; 0 for that side itself.
    """

    name: str
    num_rows: int
    share: float
    share_interval: tuple[float, float]
    resolution: float
    rows_shared: int
    rows_of_trained: int


@dataclass(frozen=True)
class Example:
    """One value that lies on several sides.

    Args:
        value: as the column holds it.
        rows: side → keys of rows there, or their places in the table; a few of each.
    """

    value: str
    rows: Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Evidence:
    """What a column says of the sides.

    Args:
        column: its name.
        kind: "equal bytes", "equal pixels", "near duplicates", "equal captions" or "equal values".
        num_values: distinct values.
        num_shared: of these, values that lie on several sides.
        rows_by_side: rows of each side that share a value with another side.
        rows_of_trained: rows of the other sides that share a value with the side that is trained on.
        rows_without: rows of any side that have no value, so that the column says nothing of them.
        few_kinds: the values are of few kinds, as names of classes are, so that sharing one says nothing; the rows do
            not count as leaks.
        examples: a few of the shared values.
    """

    column: str
    kind: str
    num_values: int
    num_shared: int
    rows_by_side: Mapping[str, int]
    rows_of_trained: int
    rows_without: int
    few_kinds: bool
    examples: Sequence[Example]

    @property
    def counts(self) -> bool:
        """Whether there are values, and sharing one is a leak."""
        return not self.few_kinds and self.num_values > 0


@dataclass(frozen=True)
class ClassShare:
    """How a class lies on the sides.

    Args:
        name: of the class.
        num_rows: rows of it on each side.
        share: of each side's rows that are of this class.
        interval: 95 % interval of each share (Wilson).
    """

    name: str
    num_rows: Mapping[str, int]
    share: Mapping[str, float]
    interval: Mapping[str, tuple[float, float]]

    def differs(self, trained: str) -> bool:
        """Whether the interval of another side does not meet that of the side that is trained on."""
        low, high = self.interval[trained]
        return any(end < low or start > high for side, (start, end) in self.interval.items() if side != trained)


@dataclass(frozen=True)
class SplitCheck:
    """What the sides of a split share.

    Args:
        table: location, without secrets.
        version: of the table.
        column: that says the sides.
        where: condition of the rows that were looked at, or None.
        trained: the side that is trained on.
        sides: the largest first.
        num_without_side: rows that the column says nothing of.
        evidence: a column each.
        class_column: column of classes, or None.
        classes: the most frequent ones.
        num_classes: in all.
        classes_untrained: classes that are on another side and not on the one that is trained on.
        classes_unmeasured: classes that are trained on, and on no other side.
    """

    table: str
    version: int
    column: str
    where: str | None
    trained: str
    sides: Sequence[Side]
    num_without_side: int
    evidence: Sequence[Evidence]
    class_column: str | None
    classes: Sequence[ClassShare]
    num_classes: int
    classes_untrained: int
    classes_unmeasured: int

    @property
    def num_held_out(self) -> int:
        """Rows of the sides that are not trained on."""
        return sum(side.num_rows for side in self.sides if side.name != self.trained)

    @property
    def num_leaked(self) -> int:
        """Rows held out that share evidence with rows that are trained on."""
        return sum(side.rows_of_trained for side in self.sides)

    @property
    def num_crossing(self) -> int:
        """Rows of any side that share evidence with another side."""
        return sum(side.rows_shared for side in self.sides)

    def gate(self, *, fail_if_leaks: bool = True) -> SplitCheck:
        """Hold the split to sharing nothing; returns itself when it does.

        Raises:
            GateFailedError: rows of one side share evidence with another, or there is no evidence to tell it.
        """
        if fail_if_leaks and not any(one.counts for one in self.evidence):
            raise GateFailedError(
                f"nothing tells what the sides of {self.column!r} share: no column is evidence",
                hint="map TABLE picture-digest sha256 makes one; or name columns: --by COLUMN,… (by=[…])",
            )
        if fail_if_leaks and self.num_crossing:
            shared = ", ".join(f"{one.column} ({one.kind})" for one in self.evidence if one.num_shared and one.counts)
            raise GateFailedError(
                f"{self.num_crossing:,} rows share {shared} with another side; {self.num_leaked:,} of the "
                f"{counted(self.num_held_out, 'row held out shares', 'rows held out share')} it with {self.trained!r}",
                hint=f"split anew: clipdata map TABLE leak-proof-split {self.column}_anew "
                f"-p by={','.join(one.column for one in self.evidence if one.counts)}",
            )
        return self

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        counted = ("num_held_out", "num_leaked", "num_crossing")
        return {**asdict(self), **{name: getattr(self, name) for name in counted}}

    def __str__(self) -> str:
        among = f" where {self.where}" if self.where else ""
        lines = [f"{self.column} of {self.table}, version {self.version}{among}"]
        lines += [f"  {_of_side(side)}" for side in self.sides]
        if self.num_without_side:
            lines.append(f"  {counted(self.num_without_side, 'row has', 'rows have')} no side")
        lines += [line for one in self.evidence for line in _of_evidence(one, self.trained)]
        columns = ", ".join(one.column for one in self.evidence if one.counts)
        if not columns:
            lines.append("  nothing tells what rows share: name columns, or map picture-digest and near-duplicates")
        else:
            lines.append(
                f"  leaks: {self.num_leaked:,} of {self.num_held_out:,} rows held out share something with "
                f"{self.trained!r}"
                if self.num_crossing
                else f"  no leak: the sides share nothing of {columns}"
            )
        return "\n".join(printable(line) for line in [*lines, *self._of_classes()])

    def _of_classes(self) -> list[str]:
        if self.class_column is None:
            return []
        missing = [
            f"{number:,} {what}"
            for number, what in (
                (self.classes_untrained, f"not in {self.trained!r}"),
                (self.classes_unmeasured, f"in {self.trained!r} alone"),
            )
            if number
        ]
        uneven = [one for one in self.classes if one.differs(self.trained)][:_SHOWN_CLASSES]
        said = [f"{self.num_classes:,}", *missing, *([] if uneven or missing else ["none lies unevenly"])]
        lines = [f"  classes ({self.class_column}): {', '.join(said)}"]
        for one in uneven or self.classes[:_SHOWN_EVEN]:
            shares = ", ".join(f"{side} {share:.1%}" for side, share in one.share.items())
            lines.append(f"    {one.name}{' lies unevenly' if uneven else ''}: {shares}")
        return lines


def _of_side(side: Side) -> str:
    low, high = side.share_interval
    return (
        f"{side.name}: {counted(side.num_rows, 'row')}, {side.share:.1%} ({low:.1%} to {high:.1%}); "
        f"an accuracy on it is known to ±{100 * side.resolution:.1f} points"
    )


def _of_evidence(one: Evidence, trained: str) -> list[str]:
    said = f"  {one.column} ({one.kind}): {one.num_shared:,} of {one.num_values:,} values on several sides"
    if not one.num_values:
        return [f"  {one.column} ({one.kind}): no row has a value, so it counts for nothing"]
    missing = f"; {counted(one.rows_without, 'row has', 'rows have')} no value" if one.rows_without else ""
    if one.few_kinds:
        return [f"{said}; they are of few kinds, and count for nothing"]
    if not one.num_shared:
        return [f"{said}{missing}"]
    rows = ", ".join(f"{counted(count, 'row')} of {side}" for side, count in one.rows_by_side.items() if count)
    held_out = counted(one.rows_of_trained, "row held out shares", "rows held out share")
    lines = [f"{said}: {rows}; {held_out} one with {trained!r}{missing}"]
    for example in one.examples:
        value = example.value if len(example.value) <= _SHOWN_VALUE else f"{example.value[:_SHOWN_VALUE]}…"
        where = "; ".join(f"{side} {', '.join(keys)}" for side, keys in example.rows.items())
        lines.append(f"    {value}: {where}")
    return lines
