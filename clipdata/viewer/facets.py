"""Facets: how the values of a column are spread over the rows of a view, each part with the filter that it stands for.

It knows sources and SQL conditions, not the page.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipdata.column_names import quoted
from clipdata.viewer.columns import family_of
from clipdata.viewer.orders import numbers_of, require_family
from clipdata.viewer.sources.protocol import Source

BINS = 24
TOP_VALUES = 12
FACETED = ("number", "text", "boolean", "texts")
_MOST_LETTERS = 200


@dataclass(frozen=True)
class Part:
    """Rows of some values.

    Args:
        label: the values, in words.
        count: rows; of lists, entries.
        where: filter that keeps these rows.
    """

    label: str
    count: int
    where: str


@dataclass(frozen=True)
class Facet:
    """A column's values.

    Args:
        column: of them.
        kind: "bins" of numbers in their order, or "values", the most frequent first.
        parts: of the values.
        num_others: rows of values that are not listed.
        num_values: distinct values; None of bins.
        missing: rows without a value, and the filter that keeps them; None where every row has one.
        low: the lowest number.
        high: the highest.
    """

    column: str
    kind: str
    parts: tuple[Part, ...]
    num_others: int = 0
    num_values: int | None = None
    missing: Part | None = None
    low: float | None = None
    high: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


def facet_of(source: Source, positions: np.ndarray, name: str) -> Facet:
    """How a column's values are spread over rows.

    Args:
        positions: of the rows, uint32 [K].

    Raises:
        SchemaError: there is no such column, or nothing is counted of its type.
    """
    require_family(source, name, FACETED)
    column = source.read([name]).column(0)
    if len(positions) != source.num_rows:
        column = column.take(pa.array(positions))
    num_null = column.null_count
    missing = Part("no value", num_null, f"{quoted(name)} IS NULL") if num_null else None
    if family_of(column.type) == "number":
        return _bins(name, column, missing)
    is_listed = family_of(column.type) == "texts"
    values = pc.list_flatten(column) if is_listed else column
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    counted = pc.value_counts(values.drop_null())
    found, counts = counted.field("values"), counted.field("counts").to_numpy()
    order = np.argsort(-counts, kind="stable")[:TOP_VALUES]
    parts = tuple(_value(name, found[int(place)].as_py(), int(counts[place]), is_listed) for place in order)
    return Facet(name, "values", parts, int(counts.sum() - counts[order].sum()), len(counts), missing)


def _value(name: str, value: Any, count: int, is_listed: bool) -> Part:
    if isinstance(value, bool):
        return Part("true" if value else "false", count, f"{quoted(name)} = {str(value).lower()}")
    literal = "'{}'".format(str(value).replace("'", "''"))
    label = value if len(value) <= _MOST_LETTERS else f"{value[:_MOST_LETTERS]}…"
    where = f"array_contains({quoted(name)}, {literal})" if is_listed else f"{quoted(name)} = {literal}"
    return Part(label, count, where)


def _bins(name: str, column: pa.ChunkedArray, missing: Part | None) -> Facet:
    value_K = numbers_of(column.drop_null())
    value_K = value_K[np.isfinite(value_K)]
    if not len(value_K):
        return Facet(name, "bins", (), missing=missing)
    low, high = float(value_K.min()), float(value_K.max())
    edges = _edges(low, high, whole=pa.types.is_integer(column.type))
    compared = _as_compared(edges, column.type)
    place_K = np.clip(np.searchsorted(compared, value_K, side="right") - 1, 0, len(edges) - 2)
    counts = np.bincount(place_K, minlength=len(edges) - 1)
    called, parts = quoted(name), []
    for place, count in enumerate(counts.tolist()):
        start, end = _told(edges[place]), _told(edges[place + 1])
        last = place == len(counts) - 1
        where = f"{called} >= {start} AND {called} {'<=' if last else '<'} {end}"
        parts.append(Part(f"{start} to {end}", count, where))
    return Facet(name, "bins", tuple(parts), missing=missing, low=low, high=high)


def _edges(low: float, high: float, *, whole: bool) -> np.ndarray:
    """Round borders of at most some `BINS` parts from below the lowest to above the highest."""
    if low == high:
        return np.array([low, high])
    step = (high - low) / BINS
    power = 10.0 ** math.floor(math.log10(step))
    step = power * next(factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= step * 0.999)
    if whole:
        step = max(1.0, math.ceil(step))
    start = math.floor(low / step)
    return step * np.arange(start, math.floor(high / step) + 2)


def _as_compared(edges: np.ndarray, kind: pa.DataType) -> np.ndarray:
    """Borders as a filter compares them: rounded to the column's own type."""
    if not pa.types.is_floating(kind) or pa.types.is_float64(kind):
        return edges
    own = np.float32 if pa.types.is_float32(kind) else np.float16
    told = np.array([float(_told(edge)) for edge in edges])
    return told.astype(own).astype(np.float64)


def _told(number: float) -> str:
    """A border, as it is written in a filter."""
    rounded = float(f"{number:.12g}")
    return str(int(rounded)) if rounded.is_integer() and abs(rounded) < 2**53 else repr(rounded)
