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
    return _with_bytes(dataset, dataset.take(offsets, columns=list(columns)), indices=offsets.tolist())


def take_ids(dataset: lance.LanceDataset, ids: np.ndarray, columns: Sequence[str]) -> pa.Table:
    """Rows by Lance's own numbers of them, in the order given, with the bytes of blobs; those that are gone left out.

    Args:
        ids: uint64 [B].
        columns: names.
    """
    rows = dataset._take_rows(ids.tolist(), columns=list(columns))
    return _with_bytes(dataset, rows, ids=ids.tolist()) if rows.num_rows == len(ids) else rows


def _with_bytes(
    dataset: lance.LanceDataset, rows: pa.Table, *, ids: list[int] | None = None, indices: list[int] | None = None
) -> pa.Table:
    """The rows with the bytes of blobs in place of what says where they are.

    Args:
        ids: the rows again by their numbers, or their positions as `indices`.
    """
    for place, name in enumerate(rows.schema.names):
        if rows.num_rows and name in dataset.schema.names and is_blob(dataset.schema.field(name)):
            found = dataset.read_blobs(name, ids=ids, indices=indices, preserve_order=True)
            rows = rows.set_column(place, name, pa.array([data for _, data in found], pa.large_binary()))
    return rows
