"""Which column holds pictures: what the schema declares, else the first of bytes of which most begin as pictures do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from clipdata.images.formats import sniff_format
from clipdata.schema import is_binary, picture_column

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
