"""A filter and what a list of them keeps, as a value, as text and as JSON. Knows no table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from clipdata.errors import UsageError
from clipdata.notebook import html_table
from clipdata.plurals import counted
from clipdata.printable import printable

_LONGEST_NAME = 48


@dataclass(frozen=True)
class Filter:
    """A named condition on the rows of a table.

    Args:
        name: as a person calls it.
        condition: SQL, for any `where=` and `--where`.
        source: the paper or page that it is from.
        note: what a person has to know before they trust it.
        figures: what was found while it was made, such as the threshold behind a share.

    Raises:
        UsageError: the name or the condition says nothing.
    """

    name: str
    condition: str
    source: str = ""
    note: str = ""
    figures: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for argument in ("name", "condition"):
            found = getattr(self, argument)
            if not isinstance(found, str) or not found.strip():
                raise UsageError(
                    f"a filter's {argument} is {found!r:.80}; expected a text",
                    hint='Filter("sharp", "quality.sharpness >= 100")',
                )

    def __str__(self) -> str:
        told = [f"{name} {value:,}" if isinstance(value, int) else f"{name} {value}" for name, value in self._told()]
        more = [part for part in (", ".join(told), self.note, self.source and f"Source: {self.source}") if part]
        return printable("\n  ".join([f"{self.name}: {self.condition}", *more]), keep="\n")

    def _told(self) -> list[tuple[str, Any]]:
        return [(name.replace("_", " "), value) for name, value in self.figures.items()]

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {**asdict(self), "figures": dict(self.figures)}


def all_of(filters: Sequence[Filter | str]) -> str:
    """One condition that holds where all of them do.

    Raises:
        UsageError: there is none.
    """
    conditions = [entry.condition if isinstance(entry, Filter) else entry for entry in filters]
    if not conditions:
        raise UsageError("no filter was given", hint='filters.all_of([filters.at_least(table, "clip_score", 0.28)])')
    return conditions[0] if len(conditions) == 1 else " AND ".join(f"({condition})" for condition in conditions)


@dataclass(frozen=True)
class Kept:
    """What one filter keeps.

    Args:
        filter: judged.
        alone: rows that it keeps by itself.
        after: rows that are left once it and all before it have been applied.
        unjudged: rows of which it cannot say whether they are kept, because a value is null or NaN; they are not.
        kept_nan: rows that it keeps though a figure is NaN, which SQL takes for the greatest number.
    """

    filter: Filter
    alone: int
    after: int
    unjudged: int = 0
    kept_nan: int = 0

    @property
    def notes(self) -> list[str]:
        """What a person has to know of rows that could not be judged, a line each."""
        name, lines = self.filter.name, []
        if self.unjudged:
            one, several = "row has no value to judge, and is", "rows have no value to judge, and are"
            lines.append(f"{name}: {counted(self.unjudged, one, several)} not kept")
        if self.kept_nan and "isnan" not in self.filter.condition.casefold():
            lines.append(
                f"{name}: {counted(self.kept_nan, 'row is', 'rows are')} kept whose figure is NaN, which SQL takes for "
                "the greatest number; at_least(COLUMN, NUMBER), or AND NOT isnan(COLUMN), leaves them out"
            )
        return lines

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {**asdict(self), "filter": self.filter.to_dict()}


@dataclass(frozen=True)
class Funnel:
    """How many rows of a table a list of filters keeps.

    Args:
        table: where it is.
        version: that was counted.
        rows: there are, of those that were looked at.
        stages: filter after filter.
        where: condition of the rows that were looked at; all by default.
    """

    table: str
    version: int
    rows: int
    stages: tuple[Kept, ...]
    where: str | None = None

    @property
    def kept(self) -> int:
        """Rows that all filters keep."""
        return self.stages[-1].after if self.stages else self.rows

    @property
    def condition(self) -> str:
        """One SQL condition for the rows that are kept."""
        looked_at = [self.where] if self.where is not None else []
        return all_of([*looked_at, *(stage.filter for stage in self.stages)])

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "table": self.table,
            "version": self.version,
            "rows": self.rows,
            "kept": self.kept,
            "where": self.where,
            "condition": self.condition,
            "stages": [stage.to_dict() for stage in self.stages],
        }

    def _repr_html_(self) -> str:
        names = ["filter", "keeps alone", "left after it"]
        rows = [dict(zip(names, line, strict=True)) for line in self._cells()]
        return html_table(rows, title=f"{self.kept:,} of {self.rows:,} rows are kept", names=names)

    def __str__(self) -> str:
        cells = [["", "keeps alone", "left after it"], *self._cells()]
        widths = [max(len(line[place]) for line in cells) for place in range(3)]
        lines = [f"{line[0]:<{widths[0]}}  {line[1]:>{widths[1]}}  {line[2]:>{widths[2]}}" for line in cells]
        notes = [line for stage in self.stages for line in stage.notes]
        head = f"{counted(self.rows, 'row')} of version {self.version}" + (f" where {self.where}" if self.where else "")
        last = f"{self.kept:,} of {self.rows:,} rows are kept ({self._share(self.kept)})"
        return "\n".join(printable(line) for line in [head, *(line.rstrip() for line in lines), *notes, last])

    def _cells(self) -> list[list[str]]:
        return [
            [_short(stage.filter.name), *(f"{n:,} ({self._share(n)})" for n in (stage.alone, stage.after))]
            for stage in self.stages
        ]

    def _share(self, num: int) -> str:
        return f"{num / self.rows:.1%}" if self.rows else "–"


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 1]}…"
