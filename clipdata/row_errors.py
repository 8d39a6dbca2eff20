"""Row errors: which rows steps failed on and which rows were refused, by reason with examples, in one view.

A column's failures stand in `<column>__error`, refusals in the table of rejects beside the table. In memory there are
counts and examples. It computes nothing; `refreshing.py` tries rows again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from clipdata.arguments import check_count
from clipdata.column_names import quoted
from clipdata.engines.fill import kind_of
from clipdata.lance_io.columns import reasons_of
from clipdata.lance_io.refused import refusals
from clipdata.lance_io.table import AnyTable, Table, as_table
from clipdata.plurals import counted
from clipdata.printable import printable
from clipdata.storage import Storage, redact

_SCAN_ROWS = 65_536
_MOST_KINDS = 10_000  # a step of somebody's own may give every row a reason of its own
_OTHER = "other reasons"


@dataclass(frozen=True)
class Failures:
    """Rows on which one thing went wrong.

    Args:
        column: whose step failed; None for rows that ingest or merge refused.
        reason: what stands before the first colon of it.
        count: rows.
        examples: (key or number of the row, the whole reason) of the first few.
    """

    column: str | None
    reason: str
    count: int
    examples: tuple[tuple[str, str], ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        examples = [{"row": row, "reason": reason} for row, reason in self.examples]
        return {"column": self.column, "reason": self.reason, "count": self.count, "examples": examples}


@dataclass(frozen=True)
class RowErrors:
    """All that went wrong with rows of a table.

    Args:
        table: location.
        version: of the table.
        failures: by column, those of most rows first; refusals last.
    """

    table: str
    version: int
    failures: tuple[Failures, ...]

    @property
    def num_failed(self) -> int:
        """Cells without a value because a step failed."""
        return sum(one.count for one in self.failures if one.column is not None)

    @property
    def num_refused(self) -> int:
        """Rows that are not in the table because they were refused."""
        return sum(one.count for one in self.failures if one.column is None)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns whose step failed on a row."""
        return tuple(dict.fromkeys(one.column for one in self.failures if one.column is not None))

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "table": self.table,
            "version": self.version,
            "num_failed": self.num_failed,
            "num_refused": self.num_refused,
            "failures": [one.to_dict() for one in self.failures],
        }

    def __str__(self) -> str:
        if not self.failures:
            return f"no step failed on a row, and none was refused (version {self.version})"
        lines: list[str] = []
        for column in dict.fromkeys(one.column for one in self.failures):
            of_it = [one for one in self.failures if one.column == column]
            rows = counted(sum(one.count for one in of_it), "row")
            what = f"{column}: {rows} without a value" if column is not None else f"refused: {rows}"
            lines.append(what)
            for one in of_it:
                lines.append(f"  {one.count:,} × {one.reason}")
                lines += [f"      {row}: {reason}" for row, reason in one.examples]
        return "\n".join(map(printable, lines))


def list_errors(
    table: AnyTable,
    columns: Sequence[str] | None = None,
    *,
    examples: int = 3,
    storage: Storage | None = None,
) -> RowErrors:
    """List which rows steps failed on, by column and reason, and which rows ingest and merge refused.

    Args:
        table: at the version that it is opened at; or the location of one. Refusals are those of now.
        columns: failures of these only, and no refusals; all by default.
        examples: rows to name of each reason.
        storage: how to reach the location.

    Raises:
        SchemaError: there is no such column.
    """
    check_count(examples, "errors: examples")
    opened = as_table(table, storage=storage)
    opened.require(columns or (), verb="errors")
    found: list[Failures] = []
    for name in opened.schema.names if columns is None else columns:
        if reasons := reasons_of(opened.schema, name):
            found += _failures(opened, name, reasons, examples)
    if columns is None:
        found += _refusals(opened, examples)
    return RowErrors(redact(opened.uri), opened.version, tuple(found))


class _Kinds:
    """Counts reasons by their kind, with the first few rows of each."""

    def __init__(self, most_examples: int) -> None:
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, list[tuple[str, str]]] = {}
        self._most = most_examples

    def add(self, row: Any, kind: str, reason: str) -> None:
        if kind not in self._counts and len(self._counts) >= _MOST_KINDS:
            kind = _OTHER
        self._counts[kind] += 1
        shown = self._examples.setdefault(kind, [])
        if len(shown) < self._most:
            shown.append((str(row), reason))

    def failures(self, column: str | None) -> list[Failures]:
        return [
            Failures(column, kind, count, tuple(self._examples[kind])) for kind, count in self._counts.most_common()
        ]


def _failures(table: Table, column: str, reasons: str, examples: int) -> list[Failures]:
    kinds = _Kinds(examples)
    named = table.key or "_rowoffset"
    for batch in table.scan([named, reasons], where=f"{quoted(reasons)} IS NOT NULL", batch_rows=_SCAN_ROWS):
        for row, reason in zip(batch.column(named).to_pylist(), batch.column(reasons).to_pylist(), strict=True):
            kinds.add(row, kind_of(reason), reason)
    return kinds.failures(column)


def _refusals(table: Table, examples: int) -> list[Failures]:
    kinds = _Kinds(examples)
    for path, reason, detail in refusals(table):
        kinds.add(path, reason, f"{reason}: {detail}" if detail else reason)
    return kinds.failures(None)
