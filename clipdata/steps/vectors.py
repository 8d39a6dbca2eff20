"""Vectors: a column of lists of numbers as one array, and why a row has no vector.

It knows Arrow, and nothing of what the numbers mean.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipdata.errors import SchemaError
from clipdata.schema import is_list


def vectors_of(column: pa.Array, size: int) -> tuple[np.ndarray, list[str | None]]:
    """The vectors of a batch.

    Args:
        column: lists of numbers [B], of whatever kind of list.
        size: numbers of each.

    Returns:
        float32 [B, size], zeros where there is none, and the reason for each of those [B].
    """
    lengths = pc.fill_null(pc.list_value_length(column), -1).to_numpy(zero_copy_only=False)
    fits = lengths == size
    rows_BD = np.zeros((len(column), size), np.float32)
    flat = column.filter(pa.array(fits)).flatten().cast(pa.float32(), safe=False)
    rows_BD[fits] = pc.fill_null(flat, float("nan")).to_numpy(zero_copy_only=False).reshape(-1, size)
    finite = np.isfinite(rows_BD).all(axis=1)
    rows_BD[~finite] = 0
    reasons = [
        None if good else "no vector" if length == -1 else "NaN or infinity" if length == size
        else f"a vector of another length: {length} instead of {size}"
        for good, length in zip(fits & finite, lengths.tolist(), strict=True)
    ]  # fmt: skip
    return rows_BD, reasons


def padded(column: pa.Array, least: int, beyond: float) -> tuple[np.ndarray, np.ndarray]:
    """Lists of any length as one array.

    Args:
        column: lists of numbers [B].
        least: numbers of a row of the array; more where a list has more.
        beyond: what stands where a list has ended.

    Returns:
        float64 [B, C], NaN for a null; and int64 [B], the length of each list, 0 for none.
    """
    length_B = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    rows_BC = np.full((len(column), max(int(length_B.max(initial=0)), least)), beyond)
    flat = pc.fill_null(column.drop_null().flatten().cast(pa.float64()), float("nan"))
    rows_BC[np.arange(rows_BC.shape[1]) < length_B[:, None]] = flat.to_numpy(zero_copy_only=False)
    return rows_BC, length_B


def size_of(schema: pa.Schema, column: str, *, asker: str) -> int:
    """How many numbers the vectors of a column have, which must be of a fixed size.

    Raises:
        SchemaError: they are not.
    """
    kind = schema.field(column).type
    if not is_list(kind) or not pa.types.is_fixed_size_list(kind):
        raise SchemaError(
            f"{asker}: column {column!r} holds {kind}; expected vectors of one size",
            hint=f"clipdata map TABLE image-embedding {column} --model MODEL makes such a column",
        )
    return int(kind.list_size)
