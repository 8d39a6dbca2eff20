"""Stars: clusters around a centre, each member within the threshold of it. It knows pairs, and not what lies near.

"Near" is not transitive: over a million rows, chains of near pairs join what nobody would call alike. So a member is
near to its centre itself, never only to another member. Centres are chosen in the order of how many near values they
have; so the picture that copies were made of becomes the centre rather than one of the copies. A value near to several
centres goes to the nearest.

A group of very many values near to one another has very many pairs. Such groups are found in a sample first, and taken
out whole around their centres, before the pairs of the rest are listed.

Shapes: N values, K known centres, P pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clipdata.duplicates.pairs import NearSearch, Pairs

ALONE = -1
_SAMPLE_OF = 64  # the sample is one value of so many
_LEAST_SAMPLE = 2048
_DENSE = 16  # near values in the sample that make a group too large to list its pairs


@dataclass(frozen=True)
class Stars:
    """What became of values.

    Args:
        centre_N: int32, place of each value's centre; its own where it is one, or stands alone.
        num_bridges: values near to more than one of the centres that were known before.
    """

    centre_N: np.ndarray
    num_bridges: int


def star_clusters(search: NearSearch, order_N: np.ndarray, num_known: int = 0) -> Stars:
    """Join values to centres.

    Args:
        search: finds near pairs among N values.
        order_N: uint64; of values with equally many near ones, the least becomes the centre first. It should follow
            from the value alone, so that the order of rows makes no difference.
        num_known: the first so many values are centres of earlier clusters, and stay that.
    """
    num = len(search)
    work = _Work(search, order_N, num)
    known = np.arange(num_known)
    work.centre_N[known] = known
    bridges_N = work.join(known, np.arange(num_known, num))
    left = work.left()
    sample = left[np.argsort(order_N[left], kind="stable")][: max(len(left) // _SAMPLE_OF, _LEAST_SAMPLE)]
    if len(sample) < len(left):
        work.found(sample, least_near=_DENSE)
        centres = sample[work.centre_N[sample] == sample]
        work.centre_N[sample[work.centre_N[sample] != sample]] = ALONE
        work.join(centres, work.left())
    work.found(work.left(), least_near=1)
    alone = work.left()
    work.centre_N[alone] = alone
    return Stars(work.centre_N, int(bridges_N))


class _Work:
    """The centres chosen so far; ALONE where a value has none."""

    def __init__(self, search: NearSearch, order_N: np.ndarray, num: int) -> None:
        self._search, self._order_N = search, order_N
        self.centre_N = np.full(num, ALONE, np.int32)

    def left(self) -> np.ndarray:
        return np.flatnonzero(self.centre_N == ALONE)

    def join(self, centres: np.ndarray, places: np.ndarray) -> int:
        """Give places near to a centre to the nearest one; returns how many are near to several."""
        num = len(self.centre_N)
        distance_N = np.full(num, np.inf, np.float32)
        best_N = np.full(num, ALONE, np.int32)
        several_N = np.zeros(num, bool)
        for pairs in self._search.between(centres, places):
            self._take_nearest(pairs, distance_N, best_N, several_N)
        joined = np.flatnonzero(best_N != ALONE)
        self.centre_N[joined] = best_N[joined]
        return int(several_N.sum())

    def _take_nearest(self, pairs: Pairs, distance_N: np.ndarray, best_N: np.ndarray, several_N: np.ndarray) -> None:
        # Nearest first, then by the centre's own order; of each place only the first pair of these counts.
        order_P = np.lexsort((self._order_N[pairs.first_P], pairs.distance_P, pairs.second_P))
        centre_P, place_P, distance_P = pairs.first_P[order_P], pairs.second_P[order_P], pairs.distance_P[order_P]
        place_U, start_U = np.unique(place_P, return_index=True)
        centre_U, distance_U = centre_P[start_U], distance_P[start_U]
        other_P = centre_P != np.repeat(centre_U, np.diff(np.append(start_U, len(place_P))))
        several_N[place_P[other_P]] = True
        before_U = best_N[place_U]
        several_N[place_U[(before_U != ALONE) & (before_U != centre_U)]] = True
        nearer_U = (distance_U < distance_N[place_U]) | (
            (distance_U == distance_N[place_U])
            & (before_U != ALONE)
            & (self._order_N[centre_U] < self._order_N[before_U])
        )
        best_N[place_U[nearer_U]] = centre_U[nearer_U]
        distance_N[place_U[nearer_U]] = distance_U[nearer_U]

    def found(self, places: np.ndarray, *, least_near: int) -> None:
        """Choose centres among places, those with most near ones first, and give them their near ones."""
        pairs = Pairs.joined(self._search.within(places))
        if not len(pairs):
            return
        one_E = np.concatenate([pairs.first_P, pairs.second_P])
        other_E = np.concatenate([pairs.second_P, pairs.first_P])
        distance_E = np.concatenate([pairs.distance_P, pairs.distance_P])
        num_near_N = np.bincount(one_E, minlength=len(self.centre_N))
        by_place_E = np.argsort(one_E, kind="stable")
        other_E, distance_E = other_E[by_place_E], distance_E[by_place_E]
        start_N = np.concatenate([[0], np.cumsum(num_near_N)])
        candidates = np.flatnonzero(num_near_N >= least_near)
        candidates = candidates[np.lexsort((self._order_N[candidates], -num_near_N[candidates]))]
        is_centre_N = np.zeros(len(self.centre_N), bool)
        for place in candidates.tolist():
            if self.centre_N[place] != ALONE:
                continue
            near = other_E[start_N[place] : start_N[place + 1]]
            is_centre_N[place] = True
            self.centre_N[place] = place
            free = near[self.centre_N[near] == ALONE]
            self.centre_N[free] = place
        self._move_to_nearest(one_E[by_place_E], other_E, distance_E, is_centre_N)

    def _move_to_nearest(
        self, one_E: np.ndarray, other_E: np.ndarray, distance_E: np.ndarray, is_centre_N: np.ndarray
    ) -> None:
        to_centre_E = is_centre_N[other_E] & ~is_centre_N[one_E]
        distance_N = np.full(len(self.centre_N), np.inf, np.float32)
        several_N = np.zeros(len(self.centre_N), bool)
        best_N = np.full(len(self.centre_N), ALONE, np.int32)
        pairs = Pairs(other_E[to_centre_E], one_E[to_centre_E], distance_E[to_centre_E])
        self._take_nearest(pairs, distance_N, best_N, several_N)
        moved = np.flatnonzero(best_N != ALONE)
        self.centre_N[moved] = best_N[moved]
