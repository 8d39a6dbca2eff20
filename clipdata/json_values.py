"""JSON out of values that a column holds: equal values give equal text, and no reader stumbles over it.

JSON knows neither NaN nor infinities nor times: they are texts (`"NaN"`, ISO 8601). Floats are written so that they
come back bit for bit. It knows Arrow's types and Python's values, and nothing of files.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any

import pyarrow as pa

# Ends of lines to some readers, and to none in JSON.
_LINE_ENDS = re.compile("[\x85\u2028\u2029]")
_LINE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def dump(record: Mapping[str, Any], *, sort: bool = True) -> str:
    """Write a record as one line of JSON: the same record gives the same text.

    Args:
        record: values by name; those of `is_writable` types come back equal.
        sort: by name; otherwise they stay in their order.
    """
    return dump_value({name: plain(value) for name, value in record.items()}, sort=sort)


def dump_value(value: Any, *, sort: bool = False) -> str:
    """Write one value that `plain` has been through."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=sort, separators=(",", ":"), allow_nan=False)
    if not is_text(text):
        text = json.dumps(value, sort_keys=sort, separators=(",", ":"), allow_nan=False)
    return _LINE_ENDS.sub(_escaped, text)


def dump_lines(records: Iterable[Mapping[str, Any]]) -> bytes:
    """Write records whose values `plain` has been through, one a line, in UTF-8, in their own order.

    Args:
        records: of texts that can be written, as those of Arrow can.
    """
    text = "".join(f"{_LINE.encode(record)}\n" for record in records)
    return _LINE_ENDS.sub(_escaped, text).encode()


def plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return str(value)  # a decimal, a time of day, a span of time


def is_plain(kind: pa.DataType) -> bool:
    """Whether `plain` leaves values of a type as they are, but for numbers that JSON has not."""
    tests = (
        pa.types.is_integer,
        pa.types.is_floating,
        pa.types.is_boolean,
        pa.types.is_string,
        pa.types.is_large_string,
    )
    return any(test(kind) for test in tests)


def is_writable(kind: pa.DataType) -> bool:
    """Whether values of a type go through JSON and come back equal."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return is_writable(kind.value_type)
    if pa.types.is_timestamp(kind):
        # Python's own times end at microseconds, and ISO 8601 knows offsets, not the names of zones.
        return kind.unit != "ns" and kind.tz in (None, "UTC")
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_date32)
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or any(test(kind) for test in tests)


def is_text(text: str) -> bool:
    """Whether a text can be written at all; half a surrogate pair cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _escaped(found: re.Match[str]) -> str:
    return f"\\u{ord(found.group()):04x}"
