"""Long texts: rows whose texts are so long that each copy of them on the way into a table would be felt.

Knows Arrow's types, and nothing of files.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipdata.plurals import counted
from clipdata.schema import is_text

MOST_BYTES = 16 << 20


def too_long(batch: pa.RecordBatch) -> dict[int, str]:
    """Of each row that has more than `MOST_BYTES` of text in a column, which column it is and how much there is."""
    found: dict[int, str] = {}
    if batch.get_total_buffer_size() <= MOST_BYTES:
        return found
    for name, values in zip(batch.schema.names, batch.columns, strict=True):
        lengths_N = _bytes_of(values)
        for row in np.flatnonzero(lengths_N > MOST_BYTES):
            said = f"column {name} holds {counted(int(lengths_N[row]), 'byte')} of text, at most {MOST_BYTES:,}"
            found.setdefault(int(row), said)
    return found


def _bytes_of(values: pa.Array) -> np.ndarray:
    """How many bytes of text each row has; 0 in columns of other kinds."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        indices = values.indices.fill_null(0) if len(values.dictionary) else pa.array([], pa.int32())
        lengths_K = _bytes_of(values.dictionary)
        return lengths_K[indices.to_numpy(zero_copy_only=False)] if len(indices) else np.zeros(len(values), np.int64)
    if is_text(kind):
        return pc.binary_length(values).fill_null(0).cast(pa.int64()).to_numpy(zero_copy_only=False)
    if pa.types.is_struct(kind):
        return sum((_bytes_of(field) for field in values.flatten()), np.zeros(len(values), np.int64))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        lengths_M = np.concatenate([[0], np.cumsum(_bytes_of(values.flatten()))])
        num_N = pc.list_value_length(values).fill_null(0).to_numpy(zero_copy_only=False)
        ends_N = np.cumsum(num_N)
        return lengths_M[ends_N] - lengths_M[ends_N - num_N]
    return np.zeros(len(values), np.int64)
