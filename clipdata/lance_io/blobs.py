"""Blobs: columns whose bytes Lance keeps apart, read as the bytes they are. Tables of other tools have them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

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
    return _with_bytes(dataset, dataset.take(offsets, columns=list(columns)), columns, indices=offsets.tolist())


def take_ids(dataset: lance.LanceDataset, ids: np.ndarray, columns: Sequence[str]) -> pa.Table:
    """The same for rows by Lance's own numbers of them, uint64 [B]; those that are gone are left out."""
    rows = dataset._take_rows(ids.tolist(), columns=list(columns))
    return _with_bytes(dataset, rows, columns, ids=ids.tolist()) if rows.num_rows == len(ids) else rows


def _with_bytes(dataset: lance.LanceDataset, rows: pa.Table, columns: Sequence[str], **which: Any) -> pa.Table:
    for place, name in enumerate(columns):
        if rows.num_rows and name in dataset.schema.names and is_blob(dataset.schema.field(name)):
            found = dataset.read_blobs(name, preserve_order=True, **which)
            rows = rows.set_column(place, name, pa.array([data for _, data in found], pa.large_binary()))
    return rows
