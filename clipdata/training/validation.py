"""Rows to choose by, split off those to train on: whole pictures with all that share a text with them.

The same rows with the same seed give the same split, in any version of a table. It knows rows and objectives, and
nothing of models.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipdata.lance_io.table import Table
from clipdata.schema import is_of
from clipdata.trained_rows import digests, digests_or_0
from clipdata.training.objectives import Choice, Objective
from clipdata.training.usable_rows import ChosenRows

LEAST_GROUPS = 40
"""Of fewer, what could be split off says too little to choose by, and is missed in training."""


def split_off(table: Table, rows: ChosenRows, objective: Objective, *, share: float, seed: int) -> np.ndarray:
    """Offsets of about a share of the rows, int64 ascending; none where the rows are too few to be split.

    Rows that share a picture, or a text that is right for them, stay together; texts that are too few to tell rows
    apart, as the names of classes are, do not count.

    Args:
        table: that the rows are of.
        rows: to split.
        objective: names the texts.
        share: of the rows.
        seed: another one draws others.
    """
    group_N = _groups(rows, _texts(table, rows, objective))
    if int(group_N.max()) + 1 < LEAST_GROUPS:
        group_N = _groups(rows, ())
    num_groups = int(group_N.max()) + 1
    if num_groups < LEAST_GROUPS or share <= 0:
        return rows.offsets[:0]
    size_G = np.bincount(group_N)
    wanted, taken = share * len(rows.offsets), np.zeros(num_groups, bool)
    total = 0
    for group in _drawn(rows, group_N, num_groups, seed):
        if total + size_G[group] <= wanted:
            taken[group] = True
            total += int(size_G[group])
    return rows.offsets[taken[group_N]]


def _drawn(rows: ChosenRows, group_N: np.ndarray, num_groups: int, seed: int) -> np.ndarray:
    """Groups in an order of chance, by the digests of their rows' keys alone."""
    named_N = rows.keys_N if len(rows.keys_N) else rows.offsets.astype(np.uint64)
    least_G = np.full(num_groups, np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(least_G, group_N, named_N)
    drawn = digests(pc.binary_join_element_wise(pa.scalar(f"validation {seed}"), pa.array(least_G).cast("string"), " "))
    return np.argsort(drawn, kind="stable")


def _groups(rows: ChosenRows, texts: Iterable[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Group of each row, from 0: int64 [N]."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    num_rows = len(rows.offsets)
    known_K = np.flatnonzero(rows.pictures_N)
    parts = [(known_K, rows.pictures_N[known_K]), *texts]
    row_E = np.concatenate([row for row, _ in parts])
    _, shared_E = np.unique(np.concatenate([value for _, value in parts]), return_inverse=True)
    num_nodes = num_rows + (int(shared_E.max()) + 1 if len(shared_E) else 0)
    edges = coo_array((np.ones(len(row_E), np.int8), (row_E, num_rows + shared_E)), shape=(num_nodes, num_nodes))
    _, component = connected_components(edges, directed=False)
    _, group_N = np.unique(component[:num_rows], return_inverse=True)
    return group_N


def _texts(table: Table, rows: ChosenRows, objective: Objective) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Places of rows among all, and digests of texts that are right for them; a row may come several times."""
    column = objective.texts
    if column is None:
        return
    label = objective.label if isinstance(objective, Choice) else None
    at = 0
    for batch in table.take(rows.offsets, [column, *([label] if label else [])]).to_batches():
        texts = batch.column(column)
        place_B = np.arange(at, at + batch.num_rows)
        at += batch.num_rows
        if not is_of("text", texts.type):
            counts_B = pc.list_value_length(texts).to_numpy(zero_copy_only=False).astype(np.int64)
            start_B = np.cumsum(counts_B) - counts_B
            texts = texts.flatten()
            if label is not None:
                texts = texts.take(pa.array(start_B + batch.column(label).to_numpy(zero_copy_only=False)))
            else:
                place_B = np.repeat(place_B, counts_B)
        yield place_B, digests_or_0(texts, len(texts))
