"""Cosine search: pairs of vectors whose cosine reaches a threshold. It knows numpy alone.

Few vectors are compared each with each, which misses no pair. Many are first put into cells around centroids
(k-means); each vector is then compared with the vectors at home in the cells nearest to it. A pair is missed only if
neither vector has the other's home among its `probes` nearest cells; `benchmarks/deduplicate.py` prints how many are.

Source: k-means on the sphere: Dhillon, Modha: Concept decompositions for large sparse text data (Machine Learning 42,
2001). Cells with probes: Sivic, Zisserman: Video Google (ICCV 2003), as every inverted-file index has them.
Shapes: N vectors, D dimensions, K cells, M vectors in question, B of them at a time.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from clipdata.duplicates.pairs import Pairs

EXACT = 8192  # vectors that are compared each with each
PROBES = 3
_BLOCK = 4096
_SAMPLE_PER_CELL = 24
_MOST_CELLS = 4096
_ROUNDS = 3
_ROUNDING = 1e-6  # a vector and itself have a cosine a little below 1


class CosineSearch:
    """Near pairs among vectors.

    Args:
        vector_ND: float16 or float32, L2-normalised; half the memory holds them as float16, to about 1e-4.
        least_cosine: from which on a pair is near, above -1 to 1.
        probes: cells that each vector is looked for in.
        seed: of the centroids.
    """

    def __init__(self, vector_ND: np.ndarray, least_cosine: float, *, probes: int = PROBES, seed: int = 0) -> None:
        self._vector_ND, self._least = vector_ND, least_cosine - _ROUNDING
        self._probes, self._seed = probes, seed

    def __len__(self) -> int:
        return len(self._vector_ND)

    def within(self, places: np.ndarray) -> Iterator[Pairs]:
        """Near pairs of two of these places, first < second."""
        if len(places) <= EXACT:
            for start in range(0, len(places), _BLOCK):
                block = places[start : start + _BLOCK]
                for pairs in self._compared(block, places[start:]):
                    yield _ordered(pairs)
            return
        cell_MP = self._cells(places, len(places))
        for home, visiting in _by_cell(cell_MP):
            for pairs in self._compared(places[home], places[visiting]):
                yield _ordered(pairs)

    def between(self, known: np.ndarray, places: np.ndarray) -> Iterator[Pairs]:
        """Near pairs of a known place (first) and another one (second)."""
        if not len(known) or not len(places):
            return
        if len(known) * len(places) <= EXACT * EXACT:
            yield from self._compared(known, places)
            return
        both = np.concatenate([known, places])
        for home, visiting in _by_cell(self._cells(both, min(len(known), len(places)))):
            is_known_H, is_known_V = home < len(known), visiting < len(known)
            yield from self._compared(both[home[is_known_H]], both[visiting[~is_known_V]])
            for pairs in self._compared(both[home[~is_known_H]], both[visiting[is_known_V]]):
                yield Pairs(pairs.second_P, pairs.first_P, pairs.distance_P)

    def _compared(self, one: np.ndarray, other: np.ndarray) -> Iterator[Pairs]:
        """Near pairs of a place of one set and a place of the other, by blocks of both."""
        for start in range(0, len(one), _BLOCK):
            rows = one[start : start + _BLOCK]
            row_BD = self._single(rows)
            for later in range(0, len(other), _BLOCK):
                columns = other[later : later + _BLOCK]
                cosine_BB = row_BD @ self._single(columns).T
                row_P, column_P = np.divmod(np.flatnonzero(cosine_BB >= self._least), len(columns))
                if len(row_P):
                    distance_P = np.maximum(1 - cosine_BB[row_P, column_P], 0)
                    yield Pairs(rows[row_P].astype(np.int32), columns[column_P].astype(np.int32), distance_P)

    def _single(self, places: np.ndarray) -> np.ndarray:
        return np.asarray(self._vector_ND[places], np.float32)

    def _cells(self, places: np.ndarray, num_looked_for: int) -> np.ndarray:
        """int32 [M, probes], the nearest cells of each place, the nearest first.

        There are so many cells that finding them costs as much as comparing the vectors in them.

        Args:
            num_looked_for: of the places, those that are compared with all.
        """
        rng = np.random.default_rng(self._seed)
        num_cells = int(np.clip(np.sqrt(self._probes * num_looked_for), 16, min(_MOST_CELLS, len(places))))
        sample = places[rng.choice(len(places), min(len(places), _SAMPLE_PER_CELL * num_cells), replace=False)]
        centroid_KD = centroids(self._single(sample), num_cells, rng)
        cell_MP = np.empty((len(places), min(self._probes, num_cells)), np.int32)
        for start in range(0, len(places), _BLOCK):
            cell_MP[start : start + _BLOCK] = nearest_cells(
                self._single(places[start : start + _BLOCK]), centroid_KD, cell_MP.shape[1]
            )
        return cell_MP


def centroids(vector_MD: np.ndarray, num_cells: int, rng: np.random.Generator, rounds: int = _ROUNDS) -> np.ndarray:
    """Centroids of k-means on the sphere: float32 [K, D], L2-normalised.

    Args:
        vector_MD: float32, L2-normalised; K of them at least.
        rng: draws the vectors to begin with.
    """
    centroid_KD = vector_MD[rng.choice(len(vector_MD), num_cells, replace=False)].copy()
    for _ in range(rounds):
        sum_KD = np.zeros_like(centroid_KD)
        for start in range(0, len(vector_MD), _BLOCK):
            block_BD = vector_MD[start : start + _BLOCK]
            cell_B = nearest_cells(block_BD, centroid_KD, 1)[:, 0]
            order_B = np.argsort(cell_B, kind="stable")
            cell_U, start_U = np.unique(cell_B[order_B], return_index=True)
            sum_KD[cell_U] += np.add.reduceat(block_BD[order_B], start_U, axis=0)
        norm_K1 = np.linalg.norm(sum_KD, axis=1, keepdims=True)
        centroid_KD = np.where(norm_K1 > 0, sum_KD / np.maximum(norm_K1, 1e-12), centroid_KD)
    return centroid_KD


def nearest_cells(vector_BD: np.ndarray, centroid_KD: np.ndarray, num: int) -> np.ndarray:
    """int32 [B, num], the nearest centroids of each vector, the nearest first."""
    cosine_BK = vector_BD @ centroid_KD.T
    rows_B = np.arange(len(vector_BD))
    cell_BP = np.empty((len(vector_BD), num), np.int32)
    for probe in range(num):
        cell_BP[:, probe] = cosine_BK.argmax(axis=1)
        cosine_BK[rows_B, cell_BP[:, probe]] = -np.inf
    return cell_BP


def _by_cell(cell_MP: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Of each cell: the places among M that are at home there, and those that look into it (these included)."""
    num, probes = cell_MP.shape
    visit_V = np.argsort(cell_MP.reshape(-1), kind="stable")
    _cell_V, start_U = np.unique(cell_MP.reshape(-1)[visit_V], return_index=True)
    stop_U = np.append(start_U, num * probes)[1:]
    for start, stop in zip(start_U.tolist(), stop_U.tolist(), strict=True):
        place, probe = np.divmod(visit_V[start:stop], probes)
        yield place[probe == 0], place


def _ordered(pairs: Pairs) -> Pairs:
    """First < second; a value beside itself is no pair."""
    apart_P = pairs.first_P != pairs.second_P
    first_P, second_P = pairs.first_P[apart_P], pairs.second_P[apart_P]
    return Pairs(np.minimum(first_P, second_P), np.maximum(first_P, second_P), pairs.distance_P[apart_P])
