"""Hamming search: all pairs of 64-bit hashes that differ in at most so many bits. It knows numpy alone.

The 64 bits are cut into `bands` pieces. Two hashes that differ in `radius` bits at most are equal in `bands - radius`
pieces at least; so for every choice of `equal` pieces the hashes are sorted by those, and compared where they are equal
there. No pair is missed. More pieces mean more choices to sort by and fewer to compare.

Source: Manku, Jain, Das Sarma: Detecting near-duplicates for web crawling (WWW 2007), section 3.
Shapes: N hashes, V variants of each (as the hash of the mirrored picture), C candidate pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise
from math import comb

import numpy as np

from clipdata.duplicates.pairs import Pairs

MAX_RADIUS = 16
_BITS = 64
_MOST_EQUAL = 5
_STEPS = 64  # comparisons along the sorted hashes before what is left of a run is compared in blocks
_BLOCK = 2048


class HammingSearch:
    """Near pairs among hashes.

    Args:
        hash_NV: uint64 [N, V] (or [N]). Two values are as far apart as the first variant of one and the nearest variant
            of the other, whichever way round is nearer.
        radius: most bits that may differ, 0 to 16.
    """

    def __init__(self, hash_NV: np.ndarray, radius: int) -> None:
        assert 0 <= radius <= MAX_RADIUS
        self._hash_NV = hash_NV.astype(np.uint64).reshape(len(hash_NV), -1)
        self._radius = radius

    def __len__(self) -> int:
        return len(self._hash_NV)

    def within(self, places: np.ndarray) -> Iterator[Pairs]:
        """All near pairs of two of these places, first < second."""
        yield from self._near(places, None)

    def between(self, known: np.ndarray, places: np.ndarray) -> Iterator[Pairs]:
        """All near pairs of a known place and another one."""
        yield from self._near(np.concatenate([known, places]), len(known))

    def _near(self, places: np.ndarray, num_known: int | None) -> Iterator[Pairs]:
        """Near pairs of places; of the first `num_known` and one behind them, where that is given."""
        num, variants = len(places), self._hash_NV.shape[1]
        if num < 2 or num_known in (0, num):
            return
        hash_M = self._hash_NV[places].T.reshape(-1)  # all first variants, then all second ones
        bands, equal = _cut(len(hash_M), self._radius)
        for one_C, other_C, distance_C in near_hashes(hash_M, self._radius, bands, equal):
            a_C, b_C = one_C % num, other_C % num
            fits_C = (a_C != b_C) if variants == 1 else (a_C != b_C) & ((one_C < num) | (other_C < num))
            low_C, high_C = np.minimum(a_C, b_C), np.maximum(a_C, b_C)
            if num_known is not None:
                fits_C &= (low_C < num_known) & (high_C >= num_known)
            first_C, second_C = places[low_C[fits_C]], places[high_C[fits_C]]
            if num_known is None:
                first_C, second_C = np.minimum(first_C, second_C), np.maximum(first_C, second_C)
            yield Pairs(first_C.astype(np.int32), second_C.astype(np.int32), distance_C[fits_C].astype(np.float32))


def near_hashes(
    hash_M: np.ndarray, radius: int, bands: int, equal: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Every pair of places whose hashes differ in at most `radius` bits, once: places, places, bits.

    Args:
        hash_M: uint64.
        bands: pieces of the 64 bits; at least `radius + equal`.
        equal: pieces to sort by at a time.
    """
    assert bands >= radius + equal
    masks = _masks(bands)
    for chosen in combinations(range(bands), equal):
        mask = np.uint64(sum(int(masks[band]) for band in chosen))
        order_M = np.argsort(hash_M & mask)
        sorted_M = hash_M[order_M]
        own = sum(1 << band for band in chosen)
        for one_C, other_C in _near_in_runs(sorted_M, mask, radius):
            differing_C = sorted_M[one_C] ^ sorted_M[other_C]
            # The same pair is found under every choice of its equal pieces, and counts under the first.
            first_C = _first_choice(differing_C, masks, equal) == own
            if first_C.any():
                one_C, other_C = order_M[one_C[first_C]], order_M[other_C[first_C]]
                yield one_C, other_C, np.bitwise_count(differing_C[first_C])


def _near_in_runs(sorted_M: np.ndarray, mask: np.uint64, radius: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Places of near hashes that are equal under a mask, where the hashes are sorted by it."""
    key_M = sorted_M & mask
    edge_R = np.flatnonzero(np.concatenate([[True], key_M[1:] != key_M[:-1], [True]]))
    length_R = np.diff(edge_R)
    active = np.flatnonzero(key_M[1:] == key_M[:-1])
    is_long_R = length_R > _STEPS
    if is_long_R.any():
        for start, length in zip(edge_R[:-1][is_long_R].tolist(), length_R[is_long_R].tolist(), strict=True):
            yield from _near_in_run(sorted_M, start, start + length, radius)
        active = active[~np.repeat(is_long_R, length_R)[active]]
    stop = edge_R[1:].repeat(length_R)[active] if len(active) else active
    step = 1
    while len(active):
        near_C = np.bitwise_count(sorted_M[active] ^ sorted_M[active + step]) <= radius
        found = active[near_C]
        yield found, found + step
        step += 1
        goes_on = active + step < stop
        active, stop = active[goes_on], stop[goes_on]


def _near_in_run(sorted_M: np.ndarray, start: int, stop: int, radius: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Places of near hashes in one long run, a block of it with another block at a time."""
    for row in range(start, stop, _BLOCK):
        rows_B = sorted_M[row : min(row + _BLOCK, stop)]
        for column in range(row, stop, _BLOCK):
            columns_B = sorted_M[column : min(column + _BLOCK, stop)]
            near_BB = np.bitwise_count(rows_B[:, None] ^ columns_B) <= radius
            one_C, other_C = np.divmod(np.flatnonzero(near_BB), len(columns_B))
            later_C = row + one_C < column + other_C
            yield row + one_C[later_C], column + other_C[later_C]


def _cut(num: int, radius: int) -> tuple[int, int]:
    """Into how many pieces to cut, and how many of them to sort by: what costs least for so many hashes.

    Sorting a hash costs about as much as comparing it with forty others.
    """

    def cost(equal: int) -> float:
        bands = radius + equal
        expected = num * 2.0 ** -(_BITS * equal / bands)
        return float(comb(bands, equal) * (40 + expected))

    equal = min(range(1, _MOST_EQUAL + 1), key=cost) if radius else 1
    return radius + equal, equal


def _masks(bands: int) -> list[np.uint64]:
    """The bits of each piece."""
    edges = [_BITS * band // bands for band in range(bands + 1)]
    return [np.uint64((1 << stop) - (1 << start)) for start, stop in pairwise(edges)]


def _first_choice(differing_C: np.ndarray, masks: list[np.uint64], equal: int) -> np.ndarray:
    """The first `equal` pieces without a differing bit, as bits of an integer."""
    chosen_C = np.zeros(len(differing_C), np.int64)
    num_C = np.zeros(len(differing_C), np.int64)
    for band, mask in enumerate(masks):
        takes_C = ((differing_C & mask) == 0) & (num_C < equal)
        chosen_C[takes_C] |= 1 << band
        num_C += takes_C
    return chosen_C
