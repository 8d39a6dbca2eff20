"""Fields of JSON records as table columns: those that keep one type get a column, the others stay together as text.

Shards of one data set agree on most fields and drift in some. A field that drifts must neither stop a job nor lose its
value, so what does not fit a column goes, as it was, into the column `json`. Knows Arrow types; nothing of archives.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any

import pyarrow as pa

from clipdata.errors import ImageRefused
from clipdata.json_parsing import json_kind
from clipdata.json_values import dump, is_text, plain

LEFTOVER = "json"
Record = Mapping[str, Any]
_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_MISFIT = object()
_LARGE = re.compile(rb"[0-9]{300}|[eE]\+?0*[0-9]{3}")  # what may be infinite once it is a float
MAX_DEPTH = 200  # what reads and writes values goes into each level with a call of its own


@dataclass(frozen=True)
class JsonColumns:
    """Which fields become columns, and of which type.

    Args:
        names: field → column. A field whose name the row contract has taken comes back as `original_<name>`.
        types: column → type.
        taken: columns that a row has by itself; a field of that name that only repeats it is dropped.
        mixed: fields that are of several types, which become no column.
        nested: fields that hold objects, or lists that are not of one plain type, which become none either.
        empty: fields that are null in all records that were looked at, and so are nowhere.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    types: Mapping[str, pa.DataType] = field(default_factory=dict)
    taken: frozenset[str] = frozenset()
    mixed: tuple[str, ...] = ()
    nested: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()

    @classmethod
    def infer(
        cls, samples: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]], taken: frozenset[str]
    ) -> JsonColumns:
        """Choose columns by looking at some records.

        Args:
            samples: pairs of a record and the row that it belongs to.
            taken: names of the row contract.
        """
        types: dict[str, pa.DataType | None] = {}
        several: set[str] = set()
        without: dict[str, bool] = {}  # fields that were null or had no item: whether they were null alone
        for record, row in samples:
            for name, value in record.items():
                if name in taken and plain(row.get(name)) == value:
                    continue
                if value is None or value == []:
                    without[name] = without.get(name, True) and value is None
                    continue
                found = _type_of(value)
                types[name], before = found, types.get(name, found)
                if before != found:
                    types[name] = _wider(before, found)
                    several |= {name} if types[name] is None else set()
        chosen = cls.of({name: kind for name, kind in types.items() if kind is not None}, taken)
        nested = [name for name, kind in types.items() if kind is None and name not in several]
        untold = {name: is_null for name, is_null in without.items() if name not in types}
        return replace(
            chosen,
            mixed=tuple(name for name in types if name in several and types[name] is None),
            nested=(*nested, *(name for name, is_null in untold.items() if not is_null)),
            empty=tuple(name for name, is_null in untold.items() if is_null),
        )

    @classmethod
    def of(cls, types: Mapping[str, pa.DataType], taken: frozenset[str]) -> JsonColumns:
        """Choose columns from known types."""
        names = {name: f"original_{name}" if name in taken else name for name in types}
        clashing = {name for name, column in names.items() if column != name and column in types}
        names = {name: column for name, column in names.items() if name not in clashing and column != LEFTOVER}
        return cls(names, {column: types[name] for name, column in names.items()}, taken)

    def fields(self) -> list[pa.Field]:
        """The columns, and the one for what fits none."""
        return [*(pa.field(name, kind) for name, kind in self.types.items()), pa.field(LEFTOVER, pa.string())]

    def values(self, record: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
        """Values of the columns for one record; what fits none is JSON text under `json`."""
        values: dict[str, Any] = {}
        leftover: dict[str, Any] = {}
        for name, value in record.items():
            if name in self.taken and plain(row.get(name)) == value:
                continue
            column = self.names.get(name)
            fitted = _fit(value, self.types[column]) if column else _MISFIT
            if column and fitted is not _MISFIT:
                values[column] = fitted
            elif value is not None:
                leftover[name] = value
        values[LEFTOVER] = dump(leftover) if leftover else None
        return values


def load(data: bytes) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ImageRefused: the bytes are not a JSON object.
    """
    try:
        record = json.loads(data.decode("utf-8-sig"), parse_float=_finite if _LARGE.search(data) else None)
    except RecursionError as error:
        raise ImageRefused("corrupt", "the JSON is nested too deeply") from error
    except ValueError as error:
        raise ImageRefused("corrupt", f"the JSON cannot be read: {str(error)[:200]}") from error
    if not isinstance(record, dict):
        raise ImageRefused("corrupt", f"the JSON is {json_kind(record)}; expected an object")
    if b"\\u" in data and not all(map(is_text, record)):
        raise ImageRefused("corrupt", "the name of a field holds half of a surrogate pair")
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH and _is_deeper(record, MAX_DEPTH):
        raise ImageRefused("corrupt", f"the JSON is nested more than {MAX_DEPTH} levels deep")
    return record


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text[:40]} is more than a number can be here")
    return value


def _is_deeper(value: Any, most: int) -> bool:
    """Whether a value has more levels of lists and objects than so many."""
    level = [value]
    for _ in range(most + 1):
        inside = (item.values() if isinstance(item, dict) else item for item in level)
        level = [one for items in inside for one in items if isinstance(one, dict | list)]
        if not level:
            return False
    return True


def _is_string(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _type_of(value: Any) -> pa.DataType | None:
    """The column type for a JSON value; None when it needs none or has none."""
    if isinstance(value, bool):
        return pa.bool_()
    if isinstance(value, int):
        return pa.int64()
    if isinstance(value, float):
        return pa.float64()
    if isinstance(value, str):
        return pa.string()
    if isinstance(value, list) and value:
        kinds = {_type_of(item) for item in value if item is not None}
        inner = kinds.pop() if len(kinds) == 1 else (pa.float64() if kinds == {pa.int64(), pa.float64()} else None)
        return pa.list_(inner) if inner is not None and not pa.types.is_list(inner) else None
    return None


def _wider(one: pa.DataType | None, other: pa.DataType | None) -> pa.DataType | None:
    if one == other:
        return one
    for wrap in (lambda kind: kind, pa.list_):
        if {one, other} == {wrap(pa.int64()), wrap(pa.float64())}:
            return wrap(pa.float64())
    return None


def _fit(value: Any, kind: pa.DataType) -> Any:
    """The value as a column of this type takes it, or `_MISFIT`."""
    if value is None:
        return None
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _fit_list(value, kind)
    if _is_string(kind):
        return value if isinstance(value, str) and is_text(value) else _MISFIT
    if pa.types.is_boolean(kind):
        return value if isinstance(value, bool) else _MISFIT
    if pa.types.is_integer(kind):
        bits = kind.bit_width - pa.types.is_signed_integer(kind)
        low = -(2**bits) if pa.types.is_signed_integer(kind) else 0
        whole = isinstance(value, int) and not isinstance(value, bool) and low <= value < 2**bits
        return value if whole else _MISFIT
    if pa.types.is_floating(kind):
        return _fit_float(value)
    return _fit_time(value, kind)


def _fit_list(value: Any, kind: pa.DataType) -> Any:
    if not isinstance(value, list) or (pa.types.is_fixed_size_list(kind) and len(value) != kind.list_size):
        return _MISFIT
    fitted = [_fit(item, kind.value_type) for item in value]
    return _MISFIT if any(item is _MISFIT for item in fitted) else fitted


def _fit_float(value: Any) -> Any:
    if isinstance(value, str):
        return _NOT_FINITE.get(value, _MISFIT)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _MISFIT
    exact = abs(value) <= 2**53 if isinstance(value, int) else True
    return float(value) if exact else _MISFIT


def _fit_time(value: Any, kind: pa.DataType) -> Any:
    if not isinstance(value, str):
        return _MISFIT
    try:
        return date.fromisoformat(value) if pa.types.is_date(kind) else datetime.fromisoformat(value)
    except ValueError:
        return _MISFIT
