"""The rows that a person wants to look at: those that lost or gained most, with what tells them apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from clipdata.comparison.pairs import Pairs
from clipdata.comparison.records import Row
from clipdata.comparison.request import Request
from clipdata.schema import is_text
from clipdata.statistics import FloatArray, IntArray

TIE = 1e-6
_NOTHING = 1e-3
_SHOWN_COLUMNS = ("filename", "caption", "label")
_SHOWN_CHARACTERS = 200


def tie_of(pairs: Pairs) -> float:
    """The most that a row may move and count as unmoved: what float32 blurs, of numbers below 1 in their proportion."""
    sides = (pairs.before_N, pairs.after_N)
    largest = max(max(float(values_N.max()), -float(values_N.min())) for values_N in sides)
    return TIE * min(1.0, largest)


def extreme_rows(request: Request, pairs: Pairs, rank_by_N: FloatArray, count: int) -> tuple[Row, ...]:
    """The `count` rows with the most negative `rank_by_N`, the first of equals first.

    Rows that moved by less than a thousandth of what the row did that moved most are none of them.
    """
    return described_rows(request, pairs, extreme_places(pairs, rank_by_N, count))


def extreme_places(pairs: Pairs, rank_by_N: FloatArray, count: int) -> IntArray:
    """Places of these rows among the compared ones."""
    least = max(tie_of(pairs), _NOTHING * max(-float(rank_by_N.min()), float(rank_by_N.max())))
    count = min(count, int((rank_by_N < -least).sum()))
    if count == 0:
        return np.empty(0, np.int64)
    nearest = np.argpartition(rank_by_N, count - 1)[:count]
    threshold = rank_by_N[nearest].max()
    candidates = np.flatnonzero(rank_by_N <= threshold)
    return candidates[np.argsort(rank_by_N[candidates], kind="stable")][:count]


def described_rows(request: Request, pairs: Pairs, chosen: IntArray) -> tuple[Row, ...]:
    """Compared rows with what tells a person which they are."""
    if not len(chosen):
        return ()
    table = request.table
    key = request.key if request.key and _is_literal(table.schema, request.key) else None
    named = [name for name in (*_SHOWN_COLUMNS, request.by) if name and name != key]
    shown = [name for name in dict.fromkeys(named) if _is_text(table.schema, name)]
    columns = ([key] if key else []) + shown
    records = table.take(pairs.offset_N[chosen], columns).to_pylist() if columns else [{}] * len(chosen)
    return tuple(_row(pairs, int(n), record, key, shown) for n, record in zip(chosen, records, strict=True))


def _row(pairs: Pairs, n: int, record: dict[str, Any], key: str | None, shown: list[str]) -> Row:
    before, after = float(pairs.before_N[n]), float(pairs.after_N[n])
    value = record[key] if key else int(pairs.offset_N[n])
    name = _quoted(key) if key else "_rowoffset"
    literal = "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value)
    texts = {column: record[column][:_SHOWN_CHARACTERS] for column in shown if record[column]}
    return Row(str(value), f"{name} = {literal}", before, after, after - before, texts)


def _is_text(schema: pa.Schema, column: str) -> bool:
    return column in schema.names and is_text(schema.field(column).type)


def _is_literal(schema: pa.Schema, column: str) -> bool:
    """Whether a clause can name a value of the column as it is printed."""
    if column not in schema.names:
        return False
    kind = schema.field(column).type
    return is_text(kind) or bool(pa.types.is_integer(kind))


def _quoted(column: str) -> str:
    return column if column.isidentifier() and column == column.lower() else f"`{column}`"
