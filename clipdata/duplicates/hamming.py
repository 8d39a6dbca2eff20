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
_LOOKED_UP = 1 << 17
_CANDIDATES = 1 << 22
_SORTING, _LOOKING_UP = 40, 6  # of a hash, in comparisons with others


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
        num = len(places)
        if num < 2:
            return
        hash_M = self._variants(places)
        for one_C, other_C, distance_C in near_hashes(hash_M, self._radius, *_cut(len(hash_M), self._radius)):
            a_C, b_C = one_C % num, other_C % num
            fits_C = (a_C != b_C) & ((one_C < num) | (other_C < num))  # of second variants among themselves nothing
            first_C, second_C = places[a_C[fits_C]], places[b_C[fits_C]]
            yield _pairs(np.minimum(first_C, second_C), np.maximum(first_C, second_C), distance_C[fits_C])

    def between(self, known: np.ndarray, places: np.ndarray) -> Iterator[Pairs]:
        """All near pairs of a known place and another one."""
        if not len(known) or not len(places):
            return
        known_M, other_M = self._variants(known), self._variants(places)
        for one_C, other_C, distance_C in near_across(known_M, other_M, self._radius):
            fits_C = (one_C < len(known)) | (other_C < len(places))
            first_C, second_C = known[one_C[fits_C] % len(known)], places[other_C[fits_C] % len(places)]
            yield _pairs(first_C, second_C, distance_C[fits_C])

    def _variants(self, places: np.ndarray) -> np.ndarray:
        """All first variants, then all second ones."""
        return np.asarray(self._hash_NV[places].T.reshape(-1))


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


def near_across(
    known_M: np.ndarray, other_M: np.ndarray, radius: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Every pair of a known hash and another one that differ in at most `radius` bits: places, places, bits.

    The smaller set is sorted, and every hash of the larger one looked up in it.
    """
    if len(known_M) < len(other_M):
        for other_C, known_C, distance_C in near_across(other_M, known_M, radius):
            yield known_C, other_C, distance_C
        return
    bands, equal = _cut(len(other_M), radius, ahead=_LOOKING_UP)
    masks = _masks(bands)
    for chosen in combinations(range(bands), equal):
        mask = np.uint64(sum(int(masks[band]) for band in chosen))
        order_O = np.argsort(other_M & mask)
        sorted_O = other_M[order_O]
        key_O, own = sorted_O & mask, sum(1 << band for band in chosen)
        for start in range(0, len(known_M), _LOOKED_UP):
            hash_B = known_M[start : start + _LOOKED_UP]
            low_B = np.searchsorted(key_O, hash_B & mask)
            num_B = np.searchsorted(key_O, hash_B & mask, "right") - low_B
            for one_C, place_C in _expanded(low_B, num_B):
                differing_C = hash_B[one_C] ^ sorted_O[place_C]
                near_C = np.bitwise_count(differing_C) <= radius
                one_C, place_C, differing_C = one_C[near_C], place_C[near_C], differing_C[near_C]
                first_C = _first_choice(differing_C, masks, equal) == own
                if first_C.any():
                    distance_C = np.bitwise_count(differing_C[first_C])
                    yield start + one_C[first_C], order_O[place_C[first_C]], distance_C


def _expanded(low_B: np.ndarray, num_B: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Each row with every place from `low` on, `num` of them; not too many at a time."""
    rows = np.flatnonzero(num_B)
    total_R = np.cumsum(num_B[rows])
    start, done = 0, 0
    while start < len(rows):
        stop = max(int(np.searchsorted(total_R, done + _CANDIDATES, "right")), start + 1)
        chosen = rows[start:stop]
        num_C = num_B[chosen]
        before_C = np.concatenate([[0], np.cumsum(num_C)[:-1]])
        one_P = np.repeat(chosen, num_C)
        yield one_P, np.arange(len(one_P)) - np.repeat(before_C, num_C) + low_B[one_P]
        start, done = stop, int(total_R[stop - 1])


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


def _pairs(first_C: np.ndarray, second_C: np.ndarray, distance_C: np.ndarray) -> Pairs:
    return Pairs(first_C.astype(np.int32), second_C.astype(np.int32), distance_C.astype(np.float32))


def _cut(num: int, radius: int, ahead: float = _SORTING) -> tuple[int, int]:
    """Into how many pieces to cut, and how many of them to sort by: what costs least for so many hashes.

    Args:
        ahead: what has to be done with a hash before it is compared, in comparisons.
    """

    def cost(equal: int) -> float:
        bands = radius + equal
        expected = num * 2.0 ** -(_BITS * equal / bands)
        return float(comb(bands, equal) * (ahead + expected))

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
