"""Leaks: how many of the compared rows were trained on, by the models' own records, by a clause, or by both."""

from __future__ import annotations

import numpy as np

from clipdata.comparison.clusters import named_clusters
from clipdata.comparison.records import RECORDS, Trained
from clipdata.comparison.request import Request
from clipdata.comparison.seen_rows import Mask, SeenRows
from clipdata.statistics import IntArray

BATCH_ROWS = 65_536


def count_trained(request: Request, offset_N: IntArray, cluster_N: IntArray, seen: SeenRows) -> Trained | None:
    """Count the rows trained on. A clause that is given counts beside the records, a split column only in their stead.

    Args:
        offset_N: of the compared rows in the table.
        cluster_N: their clusters, as `cluster_codes` gives them.

    Returns:
        None when neither a record nor a clause says anything.
    """
    where = request.trained_where if request.trained_where_given or not seen.recorded else None
    if where is None and not seen.recorded:
        return None
    row_N, picture_N = seen.row_N, seen.picture_N
    if where is not None:
        clause_N, shared_N = _of_clause(request, where, offset_N, cluster_N)
        row_N, picture_N = row_N | clause_N, picture_N | clause_N
        if shared_N is not None:
            picture_N = picture_N | shared_N
    tells_pictures = bool(request.cluster) or seen.recorded
    return Trained(
        where=RECORDS if where is None or seen.has_trainings else where,
        num_rows=int(row_N.sum()),
        num_rows_of_seen_clusters=int(picture_N.sum()) if tells_pictures else None,
        num_untold=int((seen.untold_N & ~row_N).sum()),
        num_of_untold_pictures=int((seen.untold_picture_N & ~picture_N).sum()),
    )


def _of_clause(request: Request, where: str, offset_N: IntArray, cluster_N: IntArray) -> tuple[Mask, Mask | None]:
    """Which rows a clause selects, and which share a cluster with one that it selects."""
    selected_N = np.isin(offset_N, request.table.offsets(where))
    if not request.cluster:
        return selected_N, None
    codes = [
        named_clusters(request, batch)
        for batch in request.table.scan(list(request.cluster), where=where, batch_rows=BATCH_ROWS)
    ]
    return selected_N, np.isin(cluster_N, np.concatenate([np.empty(0, np.int64), *codes]))
