"""Semantic deduplication: which vectors add something to those before them in their cell. It knows numpy alone.

Vectors are put into cells (k-means). Within a cell they stand in an order, and one is left out when its cosine with any
vector before it, left out or not, reaches a threshold. Vectors of different cells are never compared.

Source: Abbas, Tirumala, Simig, Ganguli, Morcos: SemDeDup (arXiv 2303.09540), section 3: within a cell the order is by
the cosine with the centroid, the least first ("hard" examples are kept), or the highest first.
Shapes: N vectors, D dimensions, K cells, M vectors of one cell.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from clipdata.duplicates.cosine import centroids, nearest_cells

Keep = Literal["hard", "easy"]
_BLOCK = 2048
_SAMPLE_PER_CELL = 64
_LEAST_SAMPLE = 16_384
_ROUNDS = 5
_ROUNDING = 1e-6


def novel(
    vector_ND: np.ndarray, least_cosine: float, *, num_cells: int, keep: Keep, order_N: np.ndarray, num_known: int = 0
) -> np.ndarray:
    """Tell which vectors add something: bool [N].

    Args:
        vector_ND: float16 or float32, L2-normalised.
        least_cosine: from which on two say the same.
        num_cells: cells to put vectors into.
        keep: of vectors that say the same, the one least like its centroid ("hard") or most like it ("easy").
        order_N: uint64; draws the centroids, and decides between equals. It should follow from the row alone.
        num_known: the first so many vectors were decided earlier, and come before all others.
    """
    num = len(vector_ND)
    is_novel_N = np.ones(num, bool)
    if not num:
        return is_novel_N
    drawn = np.argsort(order_N, kind="stable")
    num_cells = min(num_cells, num)
    sample = vector_ND[drawn[: max(_SAMPLE_PER_CELL * num_cells, _LEAST_SAMPLE)]].astype(np.float32)
    centroid_KD = centroids(sample, num_cells, np.random.default_rng(0), _ROUNDS)
    cell_N, likeness_N = np.empty(num, np.int32), np.empty(num, np.float32)
    for start in range(0, num, _BLOCK):
        block_BD = vector_ND[start : start + _BLOCK].astype(np.float32)
        cell_B = nearest_cells(block_BD, centroid_KD, 1)[:, 0]
        cell_N[start : start + _BLOCK] = cell_B
        likeness_N[start : start + _BLOCK] = np.einsum("bd,bd->b", block_BD, centroid_KD[cell_B])
    rank_N = likeness_N if keep == "hard" else -likeness_N
    is_new_N = np.arange(num) >= num_known
    by_cell = np.lexsort((order_N, rank_N, is_new_N, cell_N))
    edge_U = np.flatnonzero(np.diff(cell_N[by_cell], prepend=-1, append=num_cells + 1))
    for start, stop in zip(edge_U[:-1].tolist(), edge_U[1:].tolist(), strict=True):
        members = by_cell[start:stop]
        is_novel_N[members] = _novel_in_cell(vector_ND, members, least_cosine - _ROUNDING, int(is_new_N[members].sum()))
    return is_novel_N


def _novel_in_cell(vector_ND: np.ndarray, members: np.ndarray, least: float, num_new: int) -> np.ndarray:
    """Bool [M], of the members of a cell in their order; only the last `num_new` are asked about."""
    is_novel_M = np.ones(len(members), bool)
    first_new = len(members) - num_new
    for start in range(first_new, len(members), _BLOCK):
        rows_BD = vector_ND[members[start : start + _BLOCK]].astype(np.float32)
        for earlier in range(0, start + len(rows_BD), _BLOCK):
            columns_BD = vector_ND[members[earlier : earlier + _BLOCK]].astype(np.float32)
            near_BB = rows_BD @ columns_BD.T >= least
            place_B1 = np.arange(start, start + len(rows_BD))[:, None]
            is_before_BB = np.arange(earlier, earlier + len(columns_BD)) < place_B1
            is_novel_M[start : start + len(rows_BD)] &= ~(near_BB & is_before_BB).any(axis=1)
    return is_novel_M
