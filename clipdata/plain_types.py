"""Plain types: the Arrow types that tables hold, and how arrays of others become them without losing a value.

Other tools write dictionaries, views, maps, intervals and extension types; some of these Lance refuses, on some it
panics, and every step would have to know them all. It knows Arrow types and arrays, and nothing of names or tables.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

_UNITS = ("s", "ms", "us", "ns")
_EXTENSIONS = {"arrow.uuid": pa.string(), "arrow.bool8": pa.bool_()}


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type that holds the same values plainly. Null stays null: nothing is known of such a column yet."""
    if isinstance(kind, pa.BaseExtensionType):
        return _EXTENSIONS.get(kind.extension_name) or plain_type(kind.storage_type)
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return plain_type(kind.value_type)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_binary_view(kind) or pa.types.is_fixed_size_binary(kind):
        return pa.binary()
    if pa.types.is_map(kind):
        return pa.list_(pa.struct([("key", plain_type(kind.key_type)), ("value", plain_type(kind.item_type))]))
    if pa.types.is_fixed_size_list(kind):
        inner = plain_type(kind.value_type)
        return pa.list_(inner, kind.list_size) if _is_vector(inner) and kind.list_size else pa.list_(inner)
    if _is_list(kind):
        return pa.list_(plain_type(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct(list(zip(_child_names(kind), map(plain_type, _child_types(kind)), strict=True))) or pa.null()
    if pa.types.is_decimal32(kind) or pa.types.is_decimal64(kind):
        return pa.decimal128(kind.precision, kind.scale)
    if pa.types.is_date64(kind):
        return pa.date32()
    return pa.string() if _is_foreign(kind) else kind


def settled(kind: pa.DataType) -> pa.DataType:
    """The type with texts in place of what nothing is known of."""
    if pa.types.is_null(kind):
        return pa.string()
    if pa.types.is_fixed_size_list(kind):
        return kind
    if pa.types.is_list(kind):
        return pa.list_(settled(kind.value_type))
    if pa.types.is_struct(kind):
        if kind.num_fields == 0:
            return pa.string()
        return pa.struct(
            [(kind.field(place).name, settled(kind.field(place).type)) for place in range(kind.num_fields)]
        )
    return kind


def wider(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """The narrowest plain type that holds the values of both; texts where the two are of different kinds.

    Returns:
        None where one is nested and the other is not, or bytes and the other is no text.
    """
    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    if _is_list(one) and _is_list(other):
        inner = wider(one.value_type, other.value_type)
        return None if inner is None else pa.list_(inner)
    if pa.types.is_struct(one) and pa.types.is_struct(other):
        return _wider_struct(one, other)
    if pa.types.is_nested(one) or pa.types.is_nested(other):
        return None
    if _is_bytes(one) or _is_bytes(other):
        kinds = {one, other}
        fits = all(_is_bytes(kind) or kind == pa.string() for kind in kinds)
        return (pa.large_binary() if pa.large_binary() in kinds else pa.binary()) if fits else None
    return _wider_number(one, other) or _wider_time(one, other) or pa.string()


def plain_array(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """The array as one of a plain type that holds its values.

    Raises:
        pa.ArrowInvalid: a value does not fit exactly.
    """
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if array.type == kind:
        return array
    found = array.type
    if isinstance(found, pa.BaseExtensionType) and found.extension_name != "arrow.uuid":
        return plain_array(array.storage, kind)
    if pa.types.is_run_end_encoded(found):
        return plain_array(pc.run_end_decode(array), kind)
    if pa.types.is_struct(found) and pa.types.is_struct(kind):
        return _plain_struct(array, kind)
    if (
        _is_list(found)
        and pa.types.is_list(kind)
        and not pa.types.is_fixed_size_list(kind)
        and _is_nested_inside(found)
    ):
        return _plain_list(array, kind)
    try:
        return array.cast(kind, safe=True) if _casts(found) else pa.array(_values(array, kind), kind)
    except pa.ArrowNotImplementedError:
        return pa.array(_values(array, kind), kind)


def one_nan(array: pa.Array) -> pa.Array:
    """Floats in which every NaN has the same bits, and so counts as above all numbers in every condition.

    Lance orders by bits: a NaN with a sign, which is what 0 / 0 is on x86, would meet `score < 0.5`.
    """
    if not pa.types.is_floating(array.type):
        return array
    is_nan = pc.is_nan(array)
    return pc.if_else(is_nan, pa.scalar(math.nan, array.type), array) if pc.any(is_nan).as_py() else array


def _casts(found: pa.DataType) -> bool:
    """Whether Arrow's own cast does it: it knows no list views, nor what a UUID is written as."""
    views = pa.types.is_list_view(found) or pa.types.is_large_list_view(found)
    return not views and not isinstance(found, pa.BaseExtensionType)


def _values(array: pa.Array, kind: pa.DataType) -> list[Any]:
    """Values of an array that no cast knows: intervals, unions, views, UUIDs."""
    values = array.to_pylist()
    return [None if value is None else str(_bare(value)) for value in values] if kind == pa.string() else values


def _bare(value: Any) -> Any:
    if isinstance(value, pa.MonthDayNano):
        return f"{value.months} months {value.days} days {value.nanoseconds} ns"
    return json.dumps(value, default=str, ensure_ascii=False) if isinstance(value, dict | list) else value


def _plain_struct(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """Fields by their new names, which may be others or fewer than those wanted."""
    names = _child_names(array.type)
    arrays = []
    for place in range(kind.num_fields):
        wanted = kind.field(place)
        missing = wanted.name not in names
        child = None if missing else array.field(names.index(wanted.name))
        arrays.append(pa.nulls(len(array), wanted.type) if child is None else plain_array(child, wanted.type))
    return pa.StructArray.from_arrays(arrays, fields=list(kind), mask=array.is_null())


def _plain_list(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """A list of what itself needs more than a cast."""
    if pa.types.is_list_view(array.type) or pa.types.is_large_list_view(array.type):
        array = array.take(pa.array(range(len(array))))  # in order, without gaps
    lengths = pc.fill_null(pc.list_value_length(array), 0)
    offsets = pa.array([0, *pc.cumulative_sum(lengths.cast(pa.int32())).to_pylist()], pa.int32())
    return pa.ListArray.from_arrays(offsets, plain_array(array.flatten(), kind.value_type), mask=array.is_null())


def _is_nested_inside(kind: pa.DataType) -> bool:
    if pa.types.is_map(kind):
        return False
    return bool(pa.types.is_nested(kind.value_type)) or isinstance(kind.value_type, pa.BaseExtensionType)


def _is_list(kind: pa.DataType) -> bool:
    tests = (
        pa.types.is_list,
        pa.types.is_large_list,
        pa.types.is_fixed_size_list,
        pa.types.is_list_view,
        pa.types.is_large_list_view,
    )
    return any(test(kind) for test in tests)


def _is_vector(kind: pa.DataType) -> bool:
    """Whether lists of it stay of one length: vectors and matrices of numbers."""
    if pa.types.is_fixed_size_list(kind):
        return _is_vector(kind.value_type)
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_foreign(kind: pa.DataType) -> bool:
    return bool(pa.types.is_interval(kind) or pa.types.is_union(kind))


def _child_types(kind: pa.DataType) -> list[pa.DataType]:
    return [kind.field(place).type for place in range(kind.num_fields)]


def _child_names(kind: pa.DataType) -> list[str]:
    """Names of a struct's fields, each once, without the dots by which paths are written."""
    names: list[str] = []
    for place in range(kind.num_fields):
        base = kind.field(place).name.replace(".", "_").replace("`", "_") or "field"
        numbers = (f"{base}_{number}" for number in range(2, kind.num_fields + 2))
        names.append(next(name for name in (base, *numbers) if name not in names))
    return names


def _wider_struct(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    types = {one.field(place).name: one.field(place).type for place in range(one.num_fields)}
    for place in range(other.num_fields):
        field = other.field(place)
        both = wider(types.get(field.name, pa.null()), field.type)
        if both is None:
            return None
        types[field.name] = both
    return pa.struct(list(types.items()))


def _wider_number(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """A number type that holds both; whole numbers beyond 2**53 among fractions are refused where they are met."""
    is_whole: Callable[[pa.DataType], bool] = pa.types.is_integer
    if is_whole(one) and is_whole(other):
        if pa.types.is_signed_integer(one) == pa.types.is_signed_integer(other):
            return max(one, other, key=lambda kind: kind.bit_width)
        signed, unsigned = (one, other) if pa.types.is_signed_integer(one) else (other, one)
        bits = max(signed.bit_width, 2 * unsigned.bit_width)
        return {16: pa.int16(), 32: pa.int32(), 64: pa.int64()}.get(bits)
    if pa.types.is_floating(one) and pa.types.is_floating(other):
        return max(one, other, key=lambda kind: kind.bit_width)
    if all(is_whole(kind) or pa.types.is_floating(kind) for kind in (one, other)):
        return pa.float64()
    if all(is_whole(kind) or pa.types.is_decimal(kind) for kind in (one, other)):
        before, after = (max(_digits(one)[place], _digits(other)[place]) for place in (0, 1))
        fits = before + after
        return pa.decimal128(fits, after) if fits <= 38 else (pa.decimal256(fits, after) if fits <= 76 else None)
    return None


def _digits(kind: pa.DataType) -> tuple[int, int]:
    """Digits before and after the point."""
    if pa.types.is_decimal(kind):
        return kind.precision - kind.scale, kind.scale
    return {8: 3, 16: 5, 32: 10, 64: 20}[kind.bit_width], 0


def _wider_time(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    if pa.types.is_date(one) and pa.types.is_timestamp(other):
        return other if other.tz is None else None
    if pa.types.is_date(other) and pa.types.is_timestamp(one):
        return one if one.tz is None else None
    for test in (pa.types.is_timestamp, pa.types.is_time, pa.types.is_duration):
        if test(one) and test(other):
            unit = max(one.unit, other.unit, key=_UNITS.index)
            if test is pa.types.is_duration:
                return pa.duration(unit)
            if test is pa.types.is_time:
                return pa.time64(unit) if unit in ("us", "ns") else pa.time32(unit)
            if one.tz == other.tz:
                return pa.timestamp(unit, one.tz)
            return pa.timestamp(unit, "UTC") if one.tz and other.tz else None  # the same moments
    return None
