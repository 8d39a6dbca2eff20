"""What a summary found, as records, and their text: a line or two a column, with a small plot of its numbers.

Plain values; it knows no table.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from clipdata.notebook import html_table
from clipdata.plurals import counted
from clipdata.printable import printable
from clipdata.shown_values import shown_bytes

_BARS = "▁▂▃▄▅▆▇█"
_MOST_CHARS = 60
_INDENT = "    "


@dataclass(frozen=True)
class Distribution:
    """Numbers of one kind; those that are no number (NaN) or infinite are left out.

    Args:
        count: of finite numbers.
        mean, std: of them; the standard deviation is that of a sample.
        quantiles: share (0 is the smallest, 1 the largest) → number.
        edges: of the bins of the histogram, equally wide, one more than there are bins.
        counts: numbers in each bin; the largest number is in the last one.
        rank_error: by how much, as a share of all, the rank of a quantile may be off; 0 where all numbers were kept.
    """

    count: int
    mean: float
    std: float | None
    quantiles: Mapping[str, float]
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    rank_error: float = 0.0

    def __str__(self) -> str:
        quantiles = [self.quantiles[share] for share in ("0", "0.25", "0.5", "0.75", "1")]
        spread = f" ± {_number(self.std)}" if self.std is not None else ""
        about = f" (ranks within {self.rank_error:.2g})" if self.rank_error else ""
        five = " | ".join(map(_number, quantiles))
        return f"{five}   mean {_number(self.mean)}{spread}   {bars(self.counts)}{about}"


@dataclass(frozen=True)
class ColumnStats:
    """One column.

    Args:
        name: of the column.
        type: of its values.
        nulls: rows without a value; None where telling it would be reading bytes or wide vectors.
        num_bytes: on the disk, as they are compressed; None where nobody knows.
        made_by: what its lineage says, or None.
        distinct: different values; None where they are too many to be kept, or were not counted.
        at_least: of which there are so many at least.
        common: (value as text, rows) of the most common ones, the most first; each at most `common_error` too low.
        common_error: 0 where all values were counted.
        numbers: of the values, or of the entries of lists of numbers.
        lengths: characters of texts, entries of lists; for lists of texts, entries.
        characters: of the texts in lists.
        not_finite: NaN or infinite numbers among them.
        empty: texts without a letter, lists without an entry.
        earliest, latest: of times.
    """

    name: str
    type: str
    nulls: int | None = None
    num_bytes: int | None = None
    made_by: str | None = None
    distinct: int | None = None
    at_least: int = 0
    common: tuple[tuple[str, int], ...] = ()
    common_error: int = 0
    numbers: Distribution | None = None
    lengths: Distribution | None = None
    characters: Distribution | None = None
    not_finite: int = 0
    empty: int = 0
    earliest: str | None = None
    latest: str | None = None

    def lines(self) -> list[str]:
        """The column for people."""
        facts = [self.type]
        facts.append("nulls not counted" if self.nulls is None else f"{self.nulls:,} null" if self.nulls else "no null")
        if self.num_bytes:
            facts.append(shown_bytes(self.num_bytes))
        if self.distinct is not None:
            facts.append(f"{self.distinct:,} distinct")
        elif self.at_least:
            facts.append(f"more than {self.at_least:,} distinct")
        facts += [f"{self.empty:,} empty"] if self.empty else []
        facts += [f"{self.not_finite:,} not finite"] if self.not_finite else []
        lines = [f"{self.name}: {', '.join(facts)}"]
        lines += [f"{_INDENT}made by {self.made_by}"] if self.made_by else []
        lines += [f"{_INDENT}{self.earliest} … {self.latest}"] if self.earliest else []
        for name, found in (("", self.numbers), ("length ", self.lengths), ("characters ", self.characters)):
            lines += [f"{_INDENT}{name}{found}"] if found is not None else []
        about = f" (each up to {self.common_error:,} more)" if self.common_error else ""
        told = ", ".join(f"{_cut(value)} × {count:,}" for value, count in self.common)
        return [*lines, *([f"{_INDENT}most common: {told}{about}"] if told else [])]


@dataclass(frozen=True)
class Split:
    """The sides of a split, and how the classes lie on them.

    Args:
        column: of the sides.
        sides: side → rows; "" for rows without one.
        classes: column of the classes, or None.
        shares: side → class → share of the side's rows.
    """

    column: str
    sides: Mapping[str, int]
    classes: str | None = None
    shares: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """The split for people: the class that differs most between sides among them."""
        total = sum(self.sides.values())
        told = ", ".join(f"{side or 'none'} {count:,} ({count / total:.1%})" for side, count in self.sides.items())
        lines = [f"sides of {self.column}: {told or 'no rows'}"]
        names = {name for shares in self.shares.values() for name in shares}
        apart = {name: _apart([shares.get(name, 0.0) for shares in self.shares.values()]) for name in names}
        if len(self.shares) > 1 and apart:
            worst = max(sorted(apart), key=apart.__getitem__)
            sides = ", ".join(f"{side} {shares.get(worst, 0.0):.1%}" for side, shares in self.shares.items())
            lines.append(f"{_INDENT}{len(names):,} classes in {self.classes}; most apart: {_cut(worst)}: {sides}")
        return lines


@dataclass(frozen=True)
class TableStats:
    """A table.

    Args:
        table: location.
        version: of the table; None of files.
        where: SQL condition of the rows that were looked at.
        num_rows: that were looked at.
        num_bytes: of all data files; None where nobody knows.
        columns: in the order of the schema.
        splits: columns that say on which side a row is.
        aspect: width of pictures by height, where the table holds both.
        refused: reason → rows that ingest and merge refused.
        stale: columns that are not what their steps would make now.
        layout: what of the files makes work on the table slow, and what mends it; None where nothing does.
        seconds: that it took.
    """

    table: str
    version: int | None
    where: str | None
    num_rows: int
    num_bytes: int | None
    columns: tuple[ColumnStats, ...]
    splits: tuple[Split, ...] = ()
    aspect: Distribution | None = None
    refused: Mapping[str, int] = field(default_factory=dict)
    stale: tuple[str, ...] = ()
    layout: str | None = None
    seconds: float = 0.0

    def column(self, name: str) -> ColumnStats:
        """One of the columns."""
        return next(one for one in self.columns if one.name == name)

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            **asdict(self),
            "columns": [_plain(asdict(one)) for one in self.columns],
            "splits": [asdict(one) for one in self.splits],
            "stale": list(self.stale),
        }

    def _repr_html_(self) -> str:
        rows = [
            {
                "column": one.name, "type": one.type, "nulls": one.nulls, "distinct": one.distinct,
                "most common": ", ".join(_cut(value) for value, _ in one.common),
                "numbers": str(one.numbers or one.lengths or ""),
            }
            for one in self.columns
        ]  # fmt: skip
        return html_table(rows, title=f"{self.table}: {counted(self.num_rows, 'row')}")

    def __str__(self) -> str:
        version = f", version {self.version}" if self.version is not None else ""
        size = f", {shown_bytes(self.num_bytes)}" if self.num_bytes is not None else ""
        where = f" where {self.where}" if self.where else ""
        lines = [f"{self.table}: {counted(self.num_rows, 'row')}{where}{version}{size}"]
        for one in self.columns:
            lines += one.lines()
        lines += [f"aspect (width / height): {self.aspect}"] if self.aspect is not None else []
        for split in self.splits:
            lines += split.lines()
        if self.refused:
            told = ", ".join(f"{count:,} × {reason}" for reason, count in self.refused.items())
            lines.append(f"refused: {counted(sum(self.refused.values()), 'row')}: {told}")
        lines += [f"stale: {', '.join(self.stale)} (clipdata refresh says why)"] if self.stale else []
        lines += [f"layout: {self.layout}"] if self.layout else []
        return "\n".join(map(printable, lines))


def bars(counts: Sequence[int]) -> str:
    """A histogram on one line: a bar a bin; nothing for an empty bin, the lowest bar for a single number."""
    most = max(counts, default=0)
    if not most:
        return ""
    return "".join(_BARS[max(math.ceil(len(_BARS) * count / most) - 1, 0)] if count else " " for count in counts)


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) < 1e15 else f"{value:.4g}"


def _apart(shares: Sequence[float]) -> float:
    return max(shares) - min(shares)


def _cut(text: str) -> str:
    shown = repr(text) if text != text.strip() or not text else text
    return shown if len(shown) <= _MOST_CHARS else f"{shown[: _MOST_CHARS - 1]}…"


def _plain(column: dict[str, Any]) -> dict[str, Any]:
    return {**column, "common": [{"value": value, "count": count} for value, count in column["common"]]}
