"""Digest of rows: tells whether two versions of a table hold the same rows in the columns that matter.

Equal for equal rows, however they are cut into batches and fragments. It knows Arrow, and nothing of tables.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from clipdata.trained_rows import picture_texts


class RowsDigest:
    """Digest of columns, batch by batch."""

    def __init__(self) -> None:
        self._parts: dict[str, hashlib._Hash] = {}
        self._notes: list[str] = []

    def add(self, columns: Sequence[pa.Array]) -> None:
        """Take in the next rows: always the same columns in the same order."""
        for number, column in enumerate(columns):
            for name, part in _streams(column, str(number)):
                self._parts.setdefault(name, hashlib.sha256()).update(part)

    def note(self, text: str) -> None:
        """Take in what is true of all rows."""
        self._notes.append(text)

    def hex(self) -> str:
        """The digest of all that was taken in."""
        whole = hashlib.sha256()
        for name, part in sorted(self._parts.items()):
            whole.update(f"{name} {part.hexdigest()}\n".encode())
        whole.update("\n".join(self._notes).encode())
        return whole.hexdigest()


def content_texts(pictures: Mapping[str, pa.Array], num_rows: int) -> pa.Array:
    """What changes when a row's picture does: its sha256, else its etag with its location; null where there is neither.

    Args:
        pictures: columns that `clipdata.trained_rows.picture_columns` names.
        num_rows: of the batch.
    """
    # A location alone tells pictures apart, but does not change with them.
    telling = pictures if "etag" in pictures else {n: column for n, column in pictures.items() if n != "uri"}
    return picture_texts(telling) if telling else pa.nulls(num_rows, pa.large_string())


def _streams(column: pa.Array, name: str) -> Iterator[tuple[str, bytes]]:
    """Byte streams that, each concatenated over the batches, tell the values of a column."""
    kind = column.type
    yield f"{name} present", column.is_valid().to_numpy(zero_copy_only=False).tobytes()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        yield f"{name} lengths", _int64(pc.list_value_length(column))
        yield from _streams(column.flatten(), f"{name} items")
    elif pa.types.is_fixed_size_list(kind):
        yield from _streams(column.flatten(), f"{name} items")  # those of a null row are left out
    elif pa.types.is_floating(kind):
        yield f"{name} values", column.to_numpy(zero_copy_only=False).tobytes()
    elif pa.types.is_integer(kind):
        yield f"{name} values", _int64(column)
    else:
        texts = column.cast(pa.large_string()).fill_null("")
        yield f"{name} lengths", _int64(pc.binary_length(texts))
        yield f"{name} values", "".join(texts.to_pylist()).encode()


def _int64(column: pa.Array) -> bytes:
    return column.cast(pa.int64(), safe=False).fill_null(0).to_numpy(zero_copy_only=False).astype("<i8").tobytes()
