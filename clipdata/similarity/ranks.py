"""Rows in the order in which they answer a query: filled up where some do not count, and orders fused into one.

It knows arrays alone. Shapes: K rows, the best first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

FUSED_FROM = 60
MOST_CANDIDATES = 1 << 15


@dataclass(frozen=True)
class Ranked:
    """Rows, the best first.

    Args:
        row_K: Lance's numbers of them, uint64.
        score_K: float64; the higher, the better.
    """

    row_K: np.ndarray
    score_K: np.ndarray

    def __len__(self) -> int:
        return len(self.row_K)

    def kept(self, place_K: np.ndarray) -> Ranked:
        """The rows at some places, or under a mask."""
        return Ranked(self.row_K[place_K], self.score_K[place_K])


def filled(
    rank: Callable[[int], Ranked],
    keep: Callable[[Ranked], Ranked],
    most: int,
    *,
    spare: int = 0,
    limit: int = MOST_CANDIDATES,
) -> tuple[Ranked, bool]:
    """Rows that count, as many as are wanted, by asking for more candidates until they are enough.

    Args:
        rank: gives the best so many candidates, or fewer when there are no more.
        keep: leaves out those that do not count.
        most: rows wanted.
        spare: candidates to ask for beyond them at first.
        limit: candidates to ask for at most.

    Returns:
        The rows, and whether nothing beyond the limit can be missing.
    """
    wanted = most + spare
    while True:
        found = rank(wanted)
        kept = keep(found)
        exhausted = len(found) < wanted
        if len(kept) >= most or exhausted or wanted >= limit:
            return kept.kept(np.arange(min(most, len(kept)))), exhausted or len(kept) >= most
        wanted = min(max(4 * wanted, 64), max(limit, most))


def fused(orders: Sequence[np.ndarray], most: int) -> Ranked:
    """One order of several by reciprocal rank fusion: a row's score is the sum of 1 / (60 + its rank) over the orders.

    Args:
        orders: of each, Lance's numbers of its rows, uint64, the best first.
        most: rows to keep.

    Source: Cormack, Clarke and Büttcher, Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning
        Methods, SIGIR 2009, whose constant is 60.
    """
    scores: dict[int, float] = {}
    for order in orders:
        for rank, row in enumerate(order.tolist(), start=1):
            scores[row] = scores.get(row, 0.0) + 1.0 / (FUSED_FROM + rank)
    best = sorted(scores, key=lambda row: -scores[row])[:most]
    return Ranked(np.array(best, np.uint64), np.array([scores[row] for row in best], np.float64))
