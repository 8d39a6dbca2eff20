"""Blobs: columns whose bytes Lance keeps apart, read as the bytes they are. Tables of other tools have them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from clipdata.schema import is_blob

if TYPE_CHECKING:
    import lance


def take(dataset: lance.LanceDataset, offsets: np.ndarray, columns: Sequence[str]) -> pa.Table:
    """Rows at positions among the live rows, in the order given, with the bytes of blobs.

    Args:
        offsets: int64 [B], checked.
        columns: names.
    """
    rows = dataset.take(offsets, columns=list(columns))
    for place, name in enumerate(columns):
        if len(offsets) and name in dataset.schema.names and is_blob(dataset.schema.field(name)):
            found = dataset.read_blobs(name, indices=offsets.tolist(), preserve_order=True)
            rows = rows.set_column(place, name, pa.array([data for _, data in found], pa.large_binary()))
    return rows
