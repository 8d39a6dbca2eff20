"""The rows of a column nearest to some queries: by Lance's index where one helps, by reading every vector otherwise.

It knows tables and arrays, and no model. Shapes: Q queries, D size of a vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from clipdata.lance_io.indices import Index, index_of, nearest
from clipdata.lance_io.presence import count_missing
from clipdata.lance_io.table import Table
from clipdata.lineage import Lineage
from clipdata.progress import Progress
from clipdata.similarity.candidates import Best
from clipdata.similarity.found import Way
from clipdata.similarity.ranks import Ranked, filled
from clipdata.similarity.vectors import groups_of, search_all, vectors_of

EXACT_ROWS = 20_000
"""Up to so many rows, reading every vector is as fast as an index, and exact."""
PROBES = 20
REFINE, LEAST = 10, 100
"""Partitions of an index that are looked into; times as many rows as are wanted whose vectors are then read, and how
many of them at the least."""


@dataclass(frozen=True)
class Asked:
    """A query as a vector.

    Args:
        vector_D: float32, L2-normalised.
        skips_row: Lance's number of a row that does not count.
        skips_group: a value of `distinct` whose rows do not count.
    """

    vector_D: np.ndarray
    skips_row: int | None = None
    skips_group: object = None


def nearby(
    table: Table,
    column: str,
    asked: Sequence[Asked],
    most: int,
    *,
    where: str | None,
    distinct: str | None,
    exact: bool,
    progress: Progress,
) -> tuple[list[Ranked], Way]:
    """The rows nearest to each query, with cosines as scores, and how they were looked for.

    Args:
        most: rows of each query.
        where: SQL condition, which holds before anything is searched.
        distinct: column of whose rows of equal values only the nearest counts.
        exact: read every vector, also where there is an index.
    """
    index = index_of(table, column, "vectors")
    why = _why_not(table, index, where, exact)
    if index is not None and why is None:
        found = [_counting(table, column, one, most, where, distinct) for one in asked]
        left = _without_vector(table, column) if where is None else 0
        told = {"empty": left} if left else {}
        return found, Way(column, index.kind, index.covered + index.outside - left, index.outside, told)
    best = [Best(most, one.skips_row, one.skips_group) for one in asked]
    query_QD = np.stack([one.vector_D for one in asked])
    searched, reasons = search_all(table, column, query_QD, best, where=where, distinct=distinct, progress=progress)
    return [Ranked(one.row_K, one.score_K) for one in best], Way(column, None, searched, 0, dict(reasons), why)


def _why_not(table: Table, index: Index | None, where: str | None, exact: bool) -> str | None:
    """Why an index that is there is not used; None where it is, or there is none."""
    if index is None:
        return None
    if exact:
        return f"as was asked; there is an index {index.kind}"
    if index.metric != "cosine":
        return f"its index {index.kind} answers for {index.metric}, not for cosine"
    if index.covered == 0:
        return f"its index {index.kind} covers no row any more"
    num_rows = table.count_rows(where) if where is not None else table.num_rows
    if num_rows <= EXACT_ROWS and where is not None:
        return f"few enough rows to read; there is an index {index.kind}"
    return None


def by_index(table: Table, column: str, query_D: np.ndarray, most: int, where: str | None) -> Ranked:
    """The rows nearest to a vector by the index, with their cosines.

    Args:
        query_D: float32, L2-normalised.
    """
    row_K = nearest(table, column, query_D, max(REFINE * most, LEAST), PROBES, where)
    if not len(row_K):
        return Ranked(row_K, np.empty(0))
    held = table.take_ids(row_K, [column]).column(column)
    vector_KD, place_K, _ = vectors_of(pa.concat_arrays(held.chunks), len(query_D))
    ranked = Ranked(row_K[place_K], np.clip(vector_KD @ query_D, -1, 1).astype(np.float64))
    return ranked.kept(np.argsort(-ranked.score_K, kind="stable")[:most])


def _counting(table: Table, column: str, asked: Asked, most: int, where: str | None, distinct: str | None) -> Ranked:
    def rank(wanted: int) -> Ranked:
        return by_index(table, column, asked.vector_D, wanted, where)

    def keep(found: Ranked) -> Ranked:
        best = Best(max(len(found), 1), asked.skips_row, asked.skips_group)
        group_K = groups_of(table.take_ids(found.row_K, [distinct]).column(distinct)) if distinct is not None else None
        best.meet(found.row_K, found.score_K, group_K)
        return Ranked(best.row_K, best.score_K)

    return filled(rank, keep, most, spare=int(asked.skips_row is not None))[0]


def _without_vector(table: Table, column: str) -> int:
    """Rows without a vector, where that is known without reading the vectors."""
    field = table.schema.field(column)
    if Lineage.of(field) is None or not pa.types.is_fixed_size_list(field.type):
        return 0
    return sum(count_missing(table, fragment, column) for fragment in table.dataset.get_fragments())
