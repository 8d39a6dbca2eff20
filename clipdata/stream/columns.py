"""Arrow columns as what a model takes: tensors that own their memory, and plain lists. Knows nothing of tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from clipdata.schema import is_of


class VectorLists(list[torch.Tensor]):
    """Vectors of B rows, any number each: tensors [of the row, size].

    Args:
        rows: the tensors.
        size: of each vector, which is known where there is no row, too.
    """

    def __init__(self, rows: Iterable[torch.Tensor], size: int) -> None:
        super().__init__(rows)
        self.size = size

    def end_to_end(self) -> torch.Tensor:
        """All vectors in one tensor [of all rows, size]."""
        return torch.cat([torch.zeros(0, self.size), *self])


def is_image(kind: pa.DataType) -> bool:
    """Tell whether a column holds encoded images."""
    return is_of("bytes", kind)


def is_text(kind: pa.DataType) -> bool:
    """Tell whether a column holds one text a row."""
    return is_of("text", kind)


def is_texts(kind: pa.DataType) -> bool:
    """Tell whether a column holds a list of texts a row."""
    return is_of("texts", kind)


def is_vector(kind: pa.DataType) -> bool:
    """Tell whether a column holds one vector a row, all of the same length."""
    return pa.types.is_fixed_size_list(kind) and _is_number(kind.value_type)


def is_vectors(kind: pa.DataType) -> bool:
    """Tell whether a column holds a list of such vectors a row."""
    return (pa.types.is_list(kind) or pa.types.is_large_list(kind)) and is_vector(kind.value_type)


def describe(kind: pa.DataType) -> str:
    """Say what `to_batch` makes of a column of a type; of images, what a stream makes."""
    for family, what in ((is_image, "images"), (is_text, "texts"), (is_texts, "lists of texts")):
        if family(kind):
            return what
    if is_vectors(kind):
        return f"lists of {describe(kind.value_type)}"
    if is_vector(kind):
        return f"vectors of {kind.list_size} {kind.value_type}"
    return f"numbers of {kind}" if _is_number(kind) else f"values of {kind}"


def to_batch(column: pa.ChunkedArray) -> torch.Tensor | list[Any]:
    """Turn the rows of one column into a batch.

    Args:
        column: without nulls; of any number of rows, none included.

    Returns:
        Numbers and booleans: tensor [B]. Vectors: tensor [B, T]. Lists of vectors: `VectorLists`.
        Anything else (texts, lists of texts): a list of B.
        Tensors have the column's own number type and may be written to. Those of vectors share memory that may be
        written to, and are copies of any other; all others are copies.
    """
    kind = column.type
    if _is_number(kind):
        return torch.from_numpy(_one(column).to_numpy(zero_copy_only=False).copy())
    if is_vector(kind):
        flat = _one(column).flatten()
        values = flat.to_numpy(zero_copy_only=False)
        data = flat.buffers()[1]
        if data is None or not data.is_mutable or pa.types.is_boolean(flat.type):
            return torch.from_numpy(values.reshape(-1, kind.list_size).copy())
        values = np.frombuffer(data, values.dtype, len(flat), flat.offset * values.itemsize)
        return torch.from_numpy(values.reshape(-1, kind.list_size))
    if is_vectors(kind):
        rows = _one(column)
        of_all = to_batch(pa.chunked_array([rows.flatten()]))
        assert isinstance(of_all, torch.Tensor)
        return VectorLists(of_all.split(rows.value_lengths().to_pylist()), kind.value_type.list_size)
    return column.to_pylist()


def count_nulls(column: pa.ChunkedArray) -> int:
    """Count the rows that are null, or hold a null in their list."""
    inside = 0
    if hasattr(column.type, "value_type") and not pa.types.is_dictionary(column.type):
        inside = sum(chunk.flatten().null_count for chunk in column.chunks)
    return column.null_count or inside


def distinct_texts(rows: Sequence[Sequence[str]]) -> tuple[list[str], torch.Tensor, torch.Tensor]:
    """Find the distinct texts of a batch, so that each is encoded once.

    Args:
        rows: B lists of texts, of any lengths.

    Returns:
        The distinct texts in order of appearance; for every text its place among them, int64 [sum of lengths]; and the
        number of texts of each row, int64 [B].
    """
    place_of: dict[str, int] = {}
    index = [place_of.setdefault(text, len(place_of)) for row in rows for text in row]
    return (
        list(place_of),
        torch.tensor(index, dtype=torch.int64),
        torch.tensor([len(row) for row in rows], dtype=torch.int64),
    )


def _one(column: pa.ChunkedArray) -> pa.Array:
    """All rows of a column as one array, with the column's type when there are none."""
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
