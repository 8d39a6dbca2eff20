"""JSONL out: an object a row, in UTF-8. Floats come back bit for bit; JSON has no word for NaN, so it is null and said.

`values_of` is also what the image folder's `metadata.jsonl` is made of.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from clipdata.exports.formats import About, Notes, holds_bytes
from clipdata.exports.places import Place
from clipdata.json_values import dump_lines, is_plain, plain
from clipdata.schema import is_list

NOT_FINITE = "numbers that are NaN or infinite, written as null"


class JsonLines:
    """One file of JSON lines."""

    name, is_folder, needs_picture = "jsonl", False, False

    def why_not(self, column: pa.Field) -> str | None:
        """It holds no bytes."""
        return "holds bytes" if holds_bytes(column) else None

    def check(self, schema: pa.Schema, columns: Sequence[str]) -> None:
        """Any columns will do."""

    def write(self, batches: Iterator[pa.RecordBatch], place: Place, about: About) -> Notes:
        """Write the lines."""
        num_not_finite = 0
        with place.open() as stream:
            for batch in batches:
                records, num_odd = values_of(batch)
                num_not_finite += num_odd
                stream.write(dump_lines(records))
        return {NOT_FINITE: num_not_finite} if num_not_finite else {}


def values_of(batch: pa.RecordBatch) -> tuple[list[dict[str, Any]], int]:
    """The rows as JSON values in the columns' order, and how many numbers became null because JSON has none such."""
    columns, num_odd = [], 0
    for values in batch.columns:
        exact, num = _finite(_told_exactly(values))
        found = exact.to_pylist()
        columns.append(found if is_plain(exact.type) else [plain(value) for value in found])
        num_odd += num
    names = batch.schema.names
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)], num_odd


def _told_exactly(values: pa.Array) -> pa.Array:
    """Times finer than Python's own as texts."""
    kind = values.type
    is_fine = getattr(kind, "unit", "") == "ns"
    return values.cast(pa.string()) if is_fine and not pa.types.is_duration(kind) else values


def _finite(values: pa.Array) -> tuple[pa.Array, int]:
    """Numbers that JSON has, the others null, also inside lists; and how many those are."""
    kind = values.type
    if pa.types.is_float16(kind):
        return _finite(values.cast(pa.float32()))
    if pa.types.is_floating(kind):
        odd = pc.fill_null(pc.invert(pc.is_finite(values)), False)
        num = pc.sum(odd).as_py() or 0
        return (pc.if_else(odd, pa.scalar(None, kind), values), num) if num else (values, 0)
    if is_list(kind) and pa.types.is_floating(kind.value_type):
        whole = pc.list_flatten(values)
        num = pc.sum(pc.invert(pc.is_finite(whole.cast(pa.float64())))).as_py() or 0
        if num:
            lists = [None if row is None else [_or_null(item) for item in row] for row in values.to_pylist()]
            return pa.array(lists, pa.list_(kind.value_type)), num
    return values, 0


def _or_null(number: float | None) -> float | None:
    return number if number is not None and abs(number) < float("inf") else None
