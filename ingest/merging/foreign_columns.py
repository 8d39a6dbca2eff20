"""Columns of tables that others made: bytes in a layout of Lance's own, dictionaries, Hugging Face's image structs.

What a merged table holds is plain: these functions say as what a column is kept, and read it so.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipdata.lance_io.table import Table
from ingest.merging.join_keys import is_bytes

_BLOB = "lance-encoding:blob"


def is_blob(column: pa.Field) -> bool:
    """Tell whether Lance keeps a column's bytes apart from its rows, and gives descriptions of them when asked."""
    name = getattr(column.type, "extension_name", "")
    return name.startswith("lance.blob") or (column.metadata or {}).get(_BLOB.encode()) == b"true"


def is_image_struct(kind: pa.DataType) -> bool:
    """Tell whether a column holds images as Hugging Face's datasets do: bytes and a path."""
    return pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0 and is_bytes(kind.field("bytes").type)


def is_image_like(column: pa.Field) -> bool:
    """Tell whether a column may hold images."""
    return is_blob(column) or is_bytes(column.type) or is_image_struct(column.type)


def kept_type(column: pa.Field) -> pa.DataType:
    """The type in which a merged table keeps a column."""
    if is_blob(column):
        return pa.large_binary()
    if pa.types.is_dictionary(column.type):
        return column.type.value_type
    if pa.types.is_binary_view(column.type):
        return pa.large_binary()
    return pa.string() if pa.types.is_string_view(column.type) else column.type


def image_bytes(values: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray | pa.Array:
    """The bytes of a column of images, whatever it holds them in."""
    plain = pc.struct_field(values, "bytes") if is_image_struct(values.type) else values
    return plain.cast(pa.large_binary())


def take(table: Table, places: np.ndarray, columns: Sequence[str]) -> pa.Table:
    """Read rows at positions, in the order given, with bytes and not descriptions of them.

    Args:
        places: int64 [B].
    """
    apart = [name for name in columns if is_blob(table.schema.field(name))]
    plain = [name for name in columns if name not in apart]
    read = _take_plain(table, places, plain)
    for name in apart:
        read[name] = pa.array(_blobs(table, places, name), pa.large_binary())
    return pa.table([read[name] for name in columns], names=list(columns))


def _take_plain(table: Table, places: np.ndarray, columns: Sequence[str]) -> dict[str, pa.ChunkedArray]:
    if not columns:
        return {}
    rows = table.take(places, columns)
    return dict(zip(rows.schema.names, rows.columns, strict=True))


def _blobs(table: Table, places: np.ndarray, column: str) -> list[bytes | None]:
    """Bytes that Lance keeps apart: each once."""
    distinct, which = np.unique(places, return_inverse=True)
    found = table.dataset.read_blobs(column, indices=distinct.tolist(), preserve_order=True)
    values = [data for _, data in found]
    return [values[place] for place in which]
