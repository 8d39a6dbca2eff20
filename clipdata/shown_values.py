"""Values as people read them: texts cut, vectors by type and length, pictures by format and size.

It knows Arrow types and first bytes of pictures, and nothing of tables.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from clipdata.errors import ImageRefused
from clipdata.images import probe
from clipdata.schema import is_binary, is_list

MOST_CHARS = 200
_LISTED = 6  # entries of a list that are shown; of a longer one its type and length, and the first of them
_UNITS = ("B", "KB", "MB", "GB", "TB")


def shown_value(value: Any, kind: pa.DataType) -> str | None:
    """One value as text; None for a null."""
    if value is None:
        return None
    if is_binary(kind) or isinstance(value, bytes | bytearray | memoryview):
        return shown_picture(bytes(value))
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return _shown_list(value, kind)
    if isinstance(value, dict):
        return _cut("{" + ", ".join(f"{name}: {_entry(entry)}" for name, entry in value.items()) + "}")
    return _cut(str(value))


def plain_value(value: Any, kind: pa.DataType) -> Any:
    """One value as JSON knows it, but for bytes and long lists, of which `shown_value` says what they are."""
    if isinstance(value, bytes | bytearray | memoryview) or (isinstance(value, list) and len(value) > _LISTED):
        return shown_value(value, kind)
    return value


def shown_picture(data: bytes) -> str:
    """A picture by its header: `JPEG 640x480 82 KB`; other bytes by their number."""
    try:
        header = probe(data)
    except ImageRefused:
        return shown_bytes(len(data))
    return picture_words(header.format, header.width, header.height, len(data))


def picture_words(name: str | None, width: int | None, height: int | None, num_bytes: int | None) -> str:
    """The same of what is known of a picture without reading it."""
    size = f"{width}×{height}" if width and height else None
    known = [name.upper() if name else None, size, shown_bytes(num_bytes) if num_bytes else None]
    return " ".join(one for one in known if one) or "picture"


def shown_bytes(num_bytes: float) -> str:
    """A number of bytes in the unit that fits, of 1000 each."""
    unit = 0
    while num_bytes >= 999.5 and unit < len(_UNITS) - 1:
        num_bytes, unit = num_bytes / 1000, unit + 1
    return f"{num_bytes:.3g} {_UNITS[unit]}" if num_bytes < 99.95 else f"{num_bytes:.0f} {_UNITS[unit]}"


def _shown_list(values: list[Any], kind: pa.DataType) -> str:
    if len(values) <= _LISTED:
        return _cut("[" + ", ".join(map(_entry, values)) + "]")
    inner = kind.value_type if is_list(kind) else type(values[0]).__name__
    name = {"float": "float32", "double": "float64", "halffloat": "float16"}.get(str(inner), str(inner))
    return _cut(f"{name}[{len(values)}] " + ", ".join(map(_entry, values[:3])) + ", …")


def _entry(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, bytes):
        return shown_picture(value)
    return "null" if value is None else _cut(str(value), MOST_CHARS // 2)


def _cut(text: str, most: int = MOST_CHARS) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
