"""Gathering: what is kept of a column while its rows go by, by the kind of its values.

It knows Arrow arrays and the sketches, and neither tables nor how rows are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipdata.progress import Progress
from clipdata.schema import is_binary, is_list, is_text
from clipdata.summary.records import ColumnStats, Distribution
from clipdata.summary.sketches import Numbers, Values

MOST_COMMON = 5
WIDE_VECTOR = 64  # entries of a vector that nobody reads number by number
_FEW = 4096  # different numbers that are worth counting one by one


def is_read(column: pa.Field) -> bool:
    """Whether a column's values are read at all: bytes and wide vectors are not."""
    return not is_binary(column.type) and not _is_wide(column.type)


def _is_wide(kind: pa.DataType) -> bool:
    return bool(pa.types.is_fixed_size_list(kind) and kind.list_size > WIDE_VECTOR)


def _is_counted(kind: pa.DataType) -> bool:
    """Whether different values are told apart: a float is hardly ever the same twice, and of a list it is its texts."""
    if pa.types.is_dictionary(kind):
        return _is_counted(kind.value_type)
    if is_list(kind):
        return is_text(kind.value_type)
    return is_text(kind) or any(fits(kind) for fits in (pa.types.is_boolean, pa.types.is_integer, pa.types.is_decimal))


def _plain(found: pa.Array) -> pa.Array:
    """Values as Arrow computes with them: it knows few functions of dictionaries, and fewer of views."""
    if pa.types.is_dictionary(found.type):
        found = found.cast(found.type.value_type)
    return found.cast(pa.large_string()) if pa.types.is_string_view(found.type) else found


class Gatherer:
    """Keeps what is told of one column.

    Args:
        column: name and type.
        is_key: all values are different, and need not be counted.
    """

    def __init__(self, column: pa.Field, *, is_key: bool = False) -> None:
        self.column = column
        self._is_key = is_key
        self.rows = self.nulls = self.empty = 0
        self._numbers, self._lengths, self._characters = Numbers(), Numbers(), Numbers()
        self._values: Values | None = Values() if not is_key and _is_counted(column.type) else None
        self._span: list[Any] = []

    def add(self, found: pa.Array) -> None:
        """Take in a batch of the column."""
        self.rows += len(found)
        self.nulls += found.null_count
        found = _plain(found).drop_null()
        if not len(found):
            return
        kind = found.type
        if is_text(kind):
            self._add_texts(found, self._lengths)
        elif is_list(kind):
            self._add_lists(found)
        elif pa.types.is_boolean(kind):
            self._count(found)
        elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            self._add_numbers(found)
        elif pa.types.is_temporal(kind) and not pa.types.is_duration(kind):
            ends = pc.min_max(found)
            self._span = [
                pc.min(pa.array([*(one for one in self._span[:1]), ends["min"].as_py()], kind)).as_py(),
                pc.max(pa.array([*(one for one in self._span[1:]), ends["max"].as_py()], kind)).as_py(),
            ]

    def _add_texts(self, found: pa.Array, lengths: Numbers) -> None:
        characters = pc.utf8_length(found)
        self.empty += int(pc.sum(pc.equal(characters, 0)).as_py() or 0)
        lengths.add(_floats(characters))
        self._count(found)

    def _add_lists(self, found: pa.Array) -> None:
        if pa.types.is_fixed_size_list(found.type):
            entries = found.flatten()
        else:
            lengths = pc.list_value_length(found)
            self.empty += int(pc.sum(pc.equal(lengths, 0)).as_py() or 0)
            self._lengths.add(_floats(lengths))
            entries = found.flatten()
        entries = _plain(entries).drop_null()
        if is_text(entries.type):
            self._characters.add(_floats(pc.utf8_length(entries)))
            self._count(entries)
        elif pa.types.is_integer(entries.type) or pa.types.is_floating(entries.type):
            self._numbers.add(_floats(entries))

    def _add_numbers(self, found: pa.Array) -> None:
        self._numbers.add(_floats(found))
        if self._values is None:
            return
        self._count(found)
        if (self._values.distinct or _FEW + 1) > _FEW:
            self._values = None

    def _count(self, found: pa.Array) -> None:
        if self._values is not None:
            self._values.add(found)

    def result(self, **known: Any) -> ColumnStats:
        """What was found, with what is known from elsewhere."""
        values = self._values
        common = values.common(MOST_COMMON) if values is not None else []
        told = tuple((_told(value), count) for value, count in common if count > 1 or len(common) < MOST_COMMON)
        distinct = self.rows - self.nulls if self._is_key else values.distinct if values is not None else None
        facts = {
            "nulls": self.nulls,
            "distinct": distinct,
            "at_least": values.at_least if values is not None else 0,
            "common": told,
            "common_error": values.error if values is not None and told else 0,
            "numbers": self._numbers.distribution(),
            "lengths": self._lengths.distribution(),
            "characters": self._characters.distribution(),
            "not_finite": self._numbers.not_finite,
            "empty": self.empty,
            "earliest": str(self._span[0]) if self._span else None,
            "latest": str(self._span[1]) if self._span else None,
        }
        return ColumnStats(self.column.name, str(self.column.type), **{**facts, **known})


def gather(
    schema: pa.Schema,
    key: str | None,
    read: Sequence[str],
    batches: Iterable[pa.RecordBatch],
    num_rows: int | None,
    progress: Progress,
) -> tuple[dict[str, Gatherer], Distribution | None, int]:
    """Let the rows of some columns go by once.

    Args:
        schema: of the columns.
        key: column whose values are all different.
        read: columns that the batches hold.
        batches: rows.
        num_rows: how many there are to come, if that is known.
        progress: watches them go by.

    Returns:
        what was gathered by column, the aspect of pictures where there are columns `width` and `height`, and how many
        rows there were.
    """
    gathered = {name: Gatherer(schema.field(name), is_key=name == key) for name in read}
    aspect, num_seen = Numbers(), 0
    if not read:
        return gathered, None, num_seen
    has_sizes = {"width", "height"} <= set(read) and all(_is_number(schema, name) for name in ("width", "height"))
    with progress.task("stats", num_rows) as counter:
        for batch in batches:
            for name, gatherer in gathered.items():
                gatherer.add(batch.column(name))
            if has_sizes:
                aspect.add(_aspect_of(batch))
            num_seen += batch.num_rows
            counter.advance(batch.num_rows)
    return gathered, aspect.distribution(), num_seen


def _is_number(schema: pa.Schema, name: str) -> bool:
    kind = schema.field(name).type
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _aspect_of(batch: pa.RecordBatch) -> np.ndarray:
    """Width of pictures by their height: float64 [n], of the rows that have both."""
    width_N, height_N = (_floats(batch.column(name).fill_null(0)) for name in ("width", "height"))
    known = (width_N > 0) & (height_N > 0)
    return np.asarray(width_N[known] / height_N[known])


def _told(value: Any) -> str:
    return str(value)


def _floats(found: pa.Array) -> Any:
    if pa.types.is_decimal(found.type) or pa.types.is_float16(found.type):
        found = found.cast(pa.float64(), safe=False)
    return found.to_numpy(zero_copy_only=False).astype(np.float64)
