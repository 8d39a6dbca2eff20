"""Which column holds pictures: what the schema declares, else the first of bytes of which most begin as pictures do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from clipdata.images import sniff_format
from clipdata.schema import is_binary, is_picture_struct, picture_column

LOOKED_AT = 16


def guess_picture_column(schema: pa.Schema, first: Callable[[str], pa.ChunkedArray]) -> str | None:
    """Name of the column of pictures, or None.

    Args:
        first: reads a few values of a column of bytes.
    """
    declared = picture_column(schema)
    if declared is not None:
        return declared
    for column in schema:
        if is_binary(column.type):
            values = [value for value in first(column.name).to_pylist() if value is not None]
            pictures = [value for value in values if sniff_format(memoryview(value)) is not None]
            if pictures and 2 * len(pictures) >= len(values):  # some may be broken
                return str(column.name)
    return None


def bytes_of(value: Any) -> bytes | None:
    """The file in a cell of such a column: bytes, or Hugging Face's struct of bytes and a path."""
    return value.get("bytes") if isinstance(value, dict) else value


def is_narrow(column: pa.Field) -> bool:
    """Whether all of a column may be read at once to sort or count: it holds no bytes and no vectors."""
    kind = column.type
    if is_binary(kind) or is_picture_struct(kind):
        return False
    return not pa.types.is_fixed_size_list(kind)
