"""Conversion: Python values as an Arrow array of a type, each exactly or with the reason why not.

Arrow cuts off what stands behind a point, makes infinity of a number that is too large, takes a text for the list of
its letters and forgets a field that a struct has not, all without a word. What a narrower float rounds is no fault. All
values are converted at once where their types say that nothing can be lost, one by one otherwise. This module must
not know steps.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping
from decimal import Decimal
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipdata.schema import is_list

_INTEGERS = {int, *(np.dtype(name).type for name in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"))}
_FLOATS = {float, np.float16, np.float32, np.float64, bool, *_INTEGERS}


def to_array(values: list[Any], kind: pa.DataType) -> tuple[pa.Array, list[str | None]]:
    """Convert values.

    Args:
        values: one a row; None is null.
        kind: of the array.

    Returns:
        The array, null where a value is not exactly of the type, and the reason there.
    """
    at_once = _at_once(values, kind)
    if at_once is not None:
        return at_once, [None] * len(values)
    found: list[Any] = []
    reasons: list[str | None] = []
    for value in values:
        try:
            exact = _exact(value, kind)
            pa.scalar(exact, kind)
        except Exception as error:  # Arrow, and each class of numbers, have many ways to say that a value does not fit
            found.append(None)
            reasons.append(f"{type(error).__name__}: {error}")
        else:
            found.append(exact)
            reasons.append(None)
    return pa.array(found, kind), reasons


def of_arrays(result: Any, kind: pa.DataType) -> tuple[pa.Array, list[str | None]]:
    """Convert what a function made of a whole batch: an array of numpy or torch, a list, or anything to loop over."""
    if isinstance(result, np.ma.MaskedArray):
        return to_array(result.tolist(), kind)
    if isinstance(result, np.ndarray) and result.ndim == 1 and not result.dtype.hasobject:
        array = pa.array(result)
        if array.type == kind:
            return array, [None] * len(array)
    if isinstance(result, str | bytes | Mapping):
        raise TypeError(f"a {type(result).__name__} is no list of values")
    return to_array(list(result), kind)


def _at_once(values: list[Any], kind: pa.DataType) -> pa.Array | None:
    """The array, where Arrow loses nothing."""
    timed = pa.types.is_temporal(kind)
    if not (timed or _loses_nothing(values, kind)):
        return None
    try:
        array = pa.array(values, kind)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return None
    if timed and set(map(type, values)) != {type(None)}:
        return array if _equal(array.to_pylist(), values) else None
    return None if _has_infinity(array) else array


def _loses_nothing(values: list[Any], kind: pa.DataType) -> bool:
    """Whether the types of values say that Arrow converts them exactly or complains."""
    types = set(map(type, values)) - {type(None)}
    if not types:
        return True
    if pa.types.is_integer(kind):
        return types <= _INTEGERS
    if pa.types.is_floating(kind):
        return types <= _FLOATS
    if pa.types.is_boolean(kind) or pa.types.is_decimal(kind):
        return True
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return types == {str}
    if is_list(kind):
        return _lists_lose_nothing(values, types, kind.value_type)
    if pa.types.is_struct(kind):
        present = [value for value in values if value is not None]
        known = types == {dict} and set(chain.from_iterable(present)) <= {field.name for field in kind}
        return known and all(_loses_nothing([row.get(f.name) for row in present], f.type) for f in kind)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _lists_lose_nothing(values: list[Any], types: set[type], kind: pa.DataType) -> bool:
    present = [value for value in values if value is not None]
    if types <= {list, tuple}:
        return _loses_nothing(list(chain.from_iterable(present)), kind)
    if types != {np.ndarray} or any(value.ndim != 1 for value in present):
        return False
    numbers_only = {value.dtype for value in present}
    return all(dtype.type in _FLOATS and _loses_nothing([dtype.type(0)], kind) for dtype in numbers_only)


def _has_infinity(array: pa.Array) -> bool:
    """Whether a float narrower than Python's holds infinity: a number may have been too large for it."""
    if pa.types.is_float32(array.type) or pa.types.is_float16(array.type):
        floats = array.cast(pa.float32())
        return bool(pc.any(pc.is_inf(floats)).as_py())
    if is_list(array.type):
        return _has_infinity(array.flatten())
    if pa.types.is_struct(array.type):
        return any(_has_infinity(part) for part in array.flatten())
    return False


def _exact(value: Any, kind: pa.DataType) -> Any:
    """A value such that Arrow converts it exactly.

    Raises:
        ValueError: there is none.
    """
    value = _plain(value)
    if value is None:
        return None
    try:
        if pa.types.is_integer(kind):
            return _integer(value)
        if pa.types.is_floating(kind):
            return _float(value, kind)
        if is_list(kind):
            return _list(value, kind.value_type)
        if pa.types.is_struct(kind):
            return _struct(value, kind)
        if pa.types.is_map(kind):
            pairs = value.items() if isinstance(value, Mapping) else value
            return [(_exact(name, kind.key_type), _exact(each, kind.item_type)) for name, each in pairs]
    except (TypeError, OverflowError):
        raise ValueError(f"{value!r:.60} is no {kind}") from None
    if pa.types.is_dictionary(kind):
        return _exact(value, kind.value_type)
    if pa.types.is_temporal(kind) and not isinstance(value, int | np.generic):
        found = pa.scalar(value, kind).as_py()
        if not _equal(found, value):
            raise ValueError(f"{value!r:.60} is no {kind}: {found!r} would be kept")
    return value


def _plain(value: Any) -> Any:
    """A number out of an array or tensor without dimensions, or out of an Arrow scalar."""
    if isinstance(value, pa.Scalar):
        return value.as_py()
    if getattr(value, "ndim", None) == 0 and not (isinstance(value, np.generic) and value.dtype.kind in "mM"):
        return value.item()
    return value


def _integer(value: Any) -> int:
    if isinstance(value, numbers.Number | Decimal) and not isinstance(value, complex):
        number: Any = value
        if number == number and int(number) == number:  # NaN is no integer
            return int(number)
    raise TypeError


def _float(value: Any, kind: pa.DataType) -> float | int:
    if isinstance(value, int):
        return value  # Arrow complains of one that the float does not hold
    if not isinstance(value, numbers.Real | Decimal):
        raise TypeError
    number = float(value)
    with np.errstate(over="ignore"):
        narrow = kind.to_pandas_dtype()(number)
    if np.isinf(narrow) and not math.isinf(value):
        raise OverflowError
    return number


def _list(value: Iterable[Any], kind: pa.DataType) -> list[Any]:
    if isinstance(value, str | Mapping):
        raise TypeError
    return [_exact(each, kind) for each in value]


def _struct(value: Any, kind: pa.StructType) -> dict[str, Any]:
    names = [field.name for field in kind]
    if not isinstance(value, Mapping):
        if not isinstance(value, tuple) or len(value) != len(names):
            raise TypeError
        value = dict(zip(names, value, strict=True))
    if unknown := [name for name in value if name not in names]:
        raise ValueError(f"{unknown[0]!r} is no field of {kind}")
    return {field.name: _exact(value.get(field.name), field.type) for field in kind}


def _equal(found: Any, value: Any) -> bool:
    try:
        return bool(found == value)
    except (TypeError, ValueError):
        return False
