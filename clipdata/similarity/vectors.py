"""Exact search: every vector of a column held against some queries, a batch of rows at a time.

It knows tables and arrays, and no model. Shapes: Q queries, N rows of a batch, D size of a vector.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from clipdata.lance_io.table import Table
from clipdata.progress import Progress
from clipdata.similarity.candidates import Best

_BATCH_BYTES = 16 << 20


def vectors_of(column: pa.Array, size: int) -> tuple[np.ndarray, np.ndarray, Counter[str]]:
    """The vectors of a batch that can be searched, of length 1.

    Args:
        column: lists of numbers, fixed in size or not.
        size: of a vector.

    Returns:
        float32 [M, D]; their places in the batch, int64 [M]; and how many rows cannot be searched, by reason: one of
        `found.UNSEARCHABLE`.
    """
    left: Counter[str] = Counter()
    valid = column.is_valid().to_numpy(zero_copy_only=False)
    if not pa.types.is_fixed_size_list(column.type):
        fits = pa.compute.fill_null(pa.compute.equal(pa.compute.list_value_length(column), size), False)
        fits = fits.to_numpy(zero_copy_only=False)
        left["length"] += int((valid & ~fits).sum())
    else:
        fits = valid
    left["empty"] += int((~valid).sum())
    place_M = np.flatnonzero(valid & fits)
    held = column if len(place_M) == len(column) else column.take(pa.array(place_M))
    flat = held.flatten().to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
    vector_MD = flat.reshape(-1, size)
    with np.errstate(over="ignore", invalid="ignore"):
        length_M = np.linalg.norm(vector_MD, axis=1)
    finite_M = np.isfinite(length_M)
    left["not_finite"] += int((~finite_M).sum())
    left["zero"] += int((length_M == 0).sum())
    good_M = finite_M & (length_M > 0)
    if not good_M.all():
        vector_MD, length_M, place_M = vector_MD[good_M], length_M[good_M], place_M[good_M]
    return vector_MD / length_M[:, None], place_M, Counter({name: count for name, count in left.items() if count})


def search_all(
    table: Table,
    column: str,
    query_QD: np.ndarray,
    best: Sequence[Best],
    *,
    where: str | None,
    distinct: str | None,
    progress: Progress,
) -> tuple[int, Counter[str]]:
    """Hold every vector against every query, and give each query's best rows to its `best`.

    Args:
        query_QD: float32, L2-normalised.
        best: one a query.
        where: SQL condition on the rows.
        distinct: column of the groups of which only the best row counts.
        progress: watches.

    Returns:
        How many vectors were searched, and how many rows cannot be, by reason.
    """
    searched, left = 0, Counter[str]()
    with progress.task("searching", table.num_rows if where is None else None, "rows") as counter:
        for batch in _batches(table, column, query_QD.shape[1], where, distinct):
            vector_MD, place_M, reasons = vectors_of(batch.column(column), query_QD.shape[1])
            left += reasons
            searched += len(place_M)
            row_M = batch.column("_rowid").to_numpy()[place_M]
            group_M = groups_of(batch.column(distinct))[place_M] if distinct is not None else None
            for kept, score_M in zip(best, np.clip(query_QD @ vector_MD.T, -1, 1), strict=True):
                kept.meet(row_M, score_M, group_M)
            counter.advance(batch.num_rows)
    return searched, left


def _batches(table: Table, column: str, size: int, where: str | None, distinct: str | None) -> Iterator[pa.RecordBatch]:
    names = list(dict.fromkeys([column, *([distinct] if distinct is not None else []), "_rowid"]))
    yield from table.scan(names, where=where, batch_rows=max(_BATCH_BYTES // (4 * size), 64))


def groups_of(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Values of a column as objects that can be told apart [N]; null is None, and every NaN its own."""
    held = np.empty(len(column), object)
    held[:] = column.to_pylist()
    return held
