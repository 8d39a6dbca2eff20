"""Ticks: times, dates, durations and decimals as whole numbers of their smallest unit, and as filters write them.

Shapes: K values.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pyarrow as pa

_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_DAY_S = 86_400
_STEPS_S = (1, 5, 15, 60, 300, 900, 3_600, 6 * 3_600, _DAY_S)
_STEPS_DAYS = (1, 7, 30, 91, 365)
_MOST_DIGITS = 18  # a decimal of so many fits into 64 bits


@dataclass(frozen=True)
class Ticks:
    """Values of a column, in order.

    Args:
        value_K: int64.
        tested: what a filter compares, from the column's quoted name.
        literal: a number of ticks, as a filter writes it.
        label: the same for people.
        steps: lengths in ticks that are round to people, ascending; beyond the last its multiples are.
    """

    value_K: np.ndarray
    tested: Callable[[str], str]
    literal: Callable[[int], str]
    label: Callable[[int], str]
    steps: tuple[int, ...]


def ticks_of(column: pa.ChunkedArray) -> Ticks | None:
    """The values of a column without nulls; None where its type has no ticks that fit into 64 bits."""
    kind = column.type
    if pa.types.is_decimal(kind):
        return _decimals(column)
    if pa.types.is_date(kind):
        return _dates(column)
    if pa.types.is_timestamp(kind):
        return _timestamps(column)
    if pa.types.is_time(kind):
        per_s = _PER_SECOND[kind.unit]
        return Ticks(
            _whole(column.cast(pa.int32() if pa.types.is_time32(kind) else pa.int64())),
            lambda name: f"arrow_cast({name}, 'Int64')" if pa.types.is_time64(kind) else f"arrow_cast({name}, 'Int32')",
            str, lambda tick: _clock(tick, per_s), _steps(per_s),
        )  # fmt: skip
    if pa.types.is_duration(kind):
        per_s = _PER_SECOND[kind.unit]
        label = lambda tick: f"{tick / per_s:g} s"  # noqa: E731
        return Ticks(_whole(column.cast(pa.int64())), lambda name: f"cast({name} as bigint)", str, label, _steps(per_s))
    return None


def edges_of(low: int, high: int, steps: tuple[int, ...], most: int) -> list[int]:
    """Round borders of at most some `most` parts, the first at or below `low`, the last above `high`."""
    wanted = max(1, (high - low) // most)
    step = next((step for step in steps if step >= wanted), None)
    if step is None:
        step = steps[-1] * math.ceil(wanted / steps[-1])
    start = low // step * step
    return [start + place * step for place in range((high - start) // step + 2)]


def _decimals(column: pa.ChunkedArray) -> Ticks | None:
    kind = column.type
    if not pa.types.is_decimal128(kind) or kind.precision > _MOST_DIGITS:
        return None
    array = column.combine_chunks()
    words = np.frombuffer(array.buffers()[1], np.int64).reshape(-1, 2) if len(array) else np.empty((0, 2), np.int64)
    value_K = words[array.offset : array.offset + len(array), 0]  # the low word is all of so small a number

    def told(tick: int) -> str:
        return str(Decimal(tick).scaleb(-kind.scale))

    steps = tuple(factor * 10**power for power in range(_MOST_DIGITS) for factor in (1, 2, 5))
    literal = lambda tick: f"cast('{told(tick)}' as decimal({kind.precision}, {kind.scale}))"  # noqa: E731
    return Ticks(value_K, str, literal, told, steps)


def _dates(column: pa.ChunkedArray) -> Ticks:
    value_K = _whole(column.cast(pa.date32()).cast(pa.int32()))

    def told(tick: int) -> str:
        return str(np.datetime64(tick, "D"))

    return Ticks(value_K, str, lambda tick: f"date '{told(tick)}'", told, _STEPS_DAYS)


def _timestamps(column: pa.ChunkedArray) -> Ticks:
    unit, per_s = column.type.unit, _PER_SECOND[column.type.unit]

    def told(tick: int) -> str:
        """In UTC."""
        return str(np.datetime64(tick, unit)).replace("T", " ")

    def label(tick: int) -> str:
        short = told(tick)
        return short[:10] if tick % (_DAY_S * per_s) == 0 else short[:16] if tick % (60 * per_s) == 0 else short

    days = tuple(days * _DAY_S * per_s for days in _STEPS_DAYS[1:])
    values, steps = _whole(column.cast(pa.int64())), _steps(per_s) + days
    if column.type.tz not in (None, "UTC", "Z", "+00:00"):  # a literal would be read by the clocks of that zone
        return Ticks(values, lambda name: f"arrow_cast({name}, 'Int64')", str, lambda tick: f"{label(tick)} UTC", steps)
    return Ticks(values, str, lambda tick: f"timestamp '{told(tick)}'", label, steps)


def _steps(per_s: int) -> tuple[int, ...]:
    """Parts of a second, seconds, minutes and hours, in ticks."""
    parts = [factor * 10**power for power in range(len(str(per_s)) - 1) for factor in (1, 2, 5)]
    return tuple(parts) + tuple(step * per_s for step in _STEPS_S)


def _clock(tick: int, per_s: int) -> str:
    seconds, rest = divmod(tick, per_s)
    shown = f"{seconds // 3600:02}:{seconds // 60 % 60:02}"
    if seconds % 60 or rest:
        shown += f":{seconds % 60:02}"
    return f"{shown}.{rest:0{len(str(per_s)) - 1}}" if rest else shown


def _whole(column: pa.ChunkedArray) -> np.ndarray:
    return np.asarray(column.to_numpy(), np.int64)
