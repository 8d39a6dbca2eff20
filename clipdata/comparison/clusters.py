"""Clusters: which rows are resampled together, as whole numbers. Knows a request and Arrow; reads no table."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from clipdata.comparison.codes import hashes
from clipdata.comparison.request import Request
from clipdata.statistics import IntArray

_KNUTH = np.uint64(0x9E3779B97F4A7C15)


def cluster_codes(request: Request, batch: pa.RecordBatch, start: int) -> IntArray:
    """Codes of the clusters of a batch: equal for equal values; a row without a value is a cluster of its own.

    Args:
        start: place of the batch's first row among the rows that the request selects.
    """
    code_N, named_N = _named(request, batch)
    if named_N is True:
        return code_N
    row_N = np.arange(start, start + batch.num_rows, dtype=np.uint64)
    own_N = (row_N * _KNUTH + np.uint64(1)).view(np.int64)
    return np.where(named_N, code_N, own_N) if request.cluster else own_N


def named_clusters(request: Request, batch: pa.RecordBatch) -> IntArray:
    """Distinct codes of the clusters of a batch that have a value, which alone are clusters of other rows too."""
    code_N, named_N = _named(request, batch)
    return np.unique(code_N if named_N is True else code_N[named_N])


def _named(request: Request, batch: pa.RecordBatch) -> tuple[IntArray, np.ndarray | bool]:
    """Hashes of the first column that has a value, and which rows have one; True for all of them."""
    code_N = np.zeros(batch.num_rows, np.int64)
    named_N = np.zeros(batch.num_rows, np.bool_)
    for name in request.cluster:
        values = batch.column(name)
        if values.null_count == 0 and not named_N.any():
            return hashes(values), True
        fresh_N = values.is_valid().to_numpy(zero_copy_only=False) & ~named_N
        code_N[fresh_N] = hashes(values)[fresh_N]
        named_N |= fresh_N
    return code_N, named_N
