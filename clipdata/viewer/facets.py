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
from clipdata.schema import is_list
from clipdata.viewer.columns import family_of
from clipdata.viewer.orders import numbers_of, require_family
from clipdata.viewer.sources.protocol import Source
from clipdata.viewer.ticks import edges_of, ticks_of

BINS = 24
TOP_VALUES = 12
FACETED = ("number", "text", "boolean", "texts", "time", "numbers", "other")
_MOST_LETTERS = 200
_MOST_LETTERS_ASKED = 1_000
_EXACT = 2**53
"""Whole numbers up to which float64 holds every one."""


@dataclass(frozen=True)
class Part:
    """Rows of some values.

    Args:
        label: the values, in words.
        count: rows; of lists, entries.
        where: filter that keeps these rows; None where it would be longer than a filter may be.
    """

    label: str
    count: int
    where: str | None


@dataclass(frozen=True)
class Facet:
    """A column's values.

    Args:
        column: of them.
        kind: "bins" of numbers or times in their order, "values", the most frequent first, or "told" of what is not
            counted.
        parts: of the values.
        num_others: rows of values that are not listed.
        num_values: distinct values; None of bins.
        missing: rows without a value, and the filter that keeps them; None where every row has one.
        low: the lowest number, or time in words.
        high: the highest.
        unordered: rows whose value is no number or infinite, which no bin holds.
        told: what the values are, in words, where that is not plain; such as lengths of lists.
    """

    column: str
    kind: str
    parts: tuple[Part, ...]
    num_others: int = 0
    num_values: int | None = None
    missing: Part | None = None
    low: float | str | None = None
    high: float | str | None = None
    unordered: tuple[Part, ...] = ()
    told: str | None = None

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
    if pa.types.is_temporal(column.type) or pa.types.is_decimal(column.type):
        return _tick_bins(name, column.drop_null(), missing)
    if family_of(column.type) == "number":
        return _bins(name, column, missing)
    if is_list(column.type) and family_of(column.type) != "texts":
        return _lengths(name, column.drop_null(), missing)
    if family_of(column.type) == "other":
        return Facet(name, "told", (), missing=missing, told=_described(name, column.type))
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
    return Part(label, count, where if len(value) <= _MOST_LETTERS_ASKED else None)


def _bins(name: str, column: pa.ChunkedArray, missing: Part | None) -> Facet:
    every_K = numbers_of(column.drop_null())
    value_K = every_K[np.isfinite(every_K)]
    unordered = _unordered(name, every_K, column.type)
    if not len(value_K):
        return Facet(name, "bins", (), missing=missing, unordered=unordered)
    if pa.types.is_integer(column.type) and np.abs(value_K).max() >= _EXACT:
        return _exact_bins(name, column.drop_null(), missing)
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
    return Facet(name, "bins", tuple(parts), missing=missing, low=low, high=high, unordered=unordered)


def _tick_bins(name: str, column: pa.ChunkedArray, missing: Part | None) -> Facet:
    """Bins of times, dates and decimals between borders that are round to people."""
    ticks = ticks_of(column)
    if ticks is None:
        return Facet(name, "told", (), missing=missing, told=f"{column.type}: too many digits to be counted")
    if not len(ticks.value_K):
        return Facet(name, "bins", (), missing=missing)
    low, high = int(ticks.value_K.min()), int(ticks.value_K.max())
    edges = edges_of(low, high, ticks.steps, BINS)
    counts = np.bincount(np.searchsorted(edges, ticks.value_K, side="right") - 1, minlength=len(edges) - 1).tolist()
    tested, parts = ticks.tested(quoted(name)), []
    for start, end, count in zip(edges, edges[1:], counts, strict=False):
        where = f"{tested} >= {ticks.literal(start)} AND {tested} < {ticks.literal(end)}"
        parts.append(Part(f"{ticks.label(start)} to {ticks.label(end)}", count, where))
    return Facet(name, "bins", tuple(parts), missing=missing, low=ticks.label(low), high=ticks.label(high))


def _lengths(name: str, column: pa.ChunkedArray, missing: Part | None) -> Facet:
    """The most frequent numbers of entries of lists; an empty list has none, which Lance says by null."""
    counted = pc.value_counts(pc.list_value_length(column))
    lengths, counts = counted.field("values").to_pylist(), counted.field("counts").to_pylist()
    order = sorted(range(len(lengths)), key=lambda place: (-counts[place], lengths[place]))[:TOP_VALUES]
    called = quoted(name)
    parts = []
    for place in order:
        num = lengths[place]
        where = f"array_length({called}) = {num}" if num else f"{called} IS NOT NULL AND array_empty({called})"
        parts.append(Part(f"{num:,} {'entry' if num == 1 else 'entries'}", counts[place], where))
    others = sum(counts) - sum(part.count for part in parts)
    return Facet(name, "values", tuple(parts), others, len(lengths), missing, told="lengths of the lists")


def _described(name: str, kind: pa.DataType) -> str:
    """What values are that nothing is counted of."""
    if not pa.types.is_struct(kind):
        return f"{kind}, which is not counted"
    fields = [f"{kind.field(place).name} ({kind.field(place).type})" for place in range(kind.num_fields)]
    example = f"; a filter asks for a field: {name}.{kind.field(0).name} IS NOT NULL" if fields else ""
    return f"a struct of {', '.join(fields) or 'nothing'}{example}"


def _unordered(name: str, every_K: np.ndarray, kind: pa.DataType) -> tuple[Part, ...]:
    num_nan, num_infinite = int(np.isnan(every_K).sum()), int(np.isinf(every_K).sum())
    called = quoted(name)
    most = float(np.finfo(kind.to_pandas_dtype()).max) if num_infinite else 0.0
    parts = (
        Part("not a number", num_nan, f"isnan({called})"),
        Part("infinite", num_infinite, f"NOT isnan({called}) AND ({called} > {most!r} OR {called} < {-most!r})"),
    )
    return tuple(part for part in parts if part.count)


def _exact_bins(name: str, column: pa.ChunkedArray, missing: Part | None) -> Facet:
    """Bins of whole numbers beyond what float64 tells apart, such as ids of 64 bits and nanoseconds."""
    ends = pc.min_max(column).as_py()
    low, high = int(ends["min"]), int(ends["max"])
    step = (high - low) // BINS + 1
    values_K = column.to_numpy()
    # Two's complement: the distance of two numbers of one type is right as uint64, whatever their signs.
    away_K = values_K.astype(np.uint64) - np.array(low, values_K.dtype).astype(np.uint64)
    counts = np.bincount((away_K // np.uint64(step)).astype(np.int64), minlength=1).tolist()
    called, parts = quoted(name), []
    for place, count in enumerate(counts):
        start, end = low + place * step, min(low + (place + 1) * step - 1, high)
        parts.append(Part(f"{start} to {end}", count, f"{called} >= {start} AND {called} <= {end}"))
    return Facet(name, "bins", tuple(parts), missing=missing, low=float(low), high=float(high))


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
