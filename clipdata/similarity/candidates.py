"""The best rows met so far for one query: kept in a few arrays, whatever the number of rows. It knows arrays alone.

Shapes: N rows met at once, K rows kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass
class Best:
    """The K best rows of those met, the best first; equal ones in the order in which they were met.

    Args:
        most: K.
        skips_row: Lance's number of a row that does not count, such as the one that is asked about.
        skips_group: a group whose rows do not count.
    """

    most: int
    skips_row: int | None = None
    skips_group: Any = None
    row_K: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint64))
    score_K: np.ndarray = field(default_factory=lambda: np.empty(0, np.float64))
    _group_K: np.ndarray = field(default_factory=lambda: np.empty(0, object))
    """Of each row; empty while nothing is grouped."""

    def meet(self, row_N: np.ndarray, score_N: np.ndarray, group_N: np.ndarray | None = None) -> None:
        """Take rows in that are better than the worst kept.

        Args:
            row_N: Lance's numbers of the rows, uint64.
            score_N: the higher, the better; what is not finite does not count.
            group_N: objects; of rows of one group only the best is kept, and rows without a group stand for themselves.
        """
        counts_N = np.isfinite(score_N)
        if self.skips_row is not None:
            counts_N &= row_N != np.uint64(self.skips_row)
        if group_N is not None and self.skips_group is not None:
            counts_N &= group_N != self.skips_group
        if len(self.score_K) == self.most:
            counts_N &= score_N > self.score_K[-1]
        rows, scores = row_N[counts_N], score_N[counts_N].astype(np.float64)
        if group_N is None and len(rows) > 4 * self.most:
            rows, scores = _upper(rows, scores, self.most)
        row, score = np.concatenate([self.row_K, rows]), np.concatenate([self.score_K, scores])
        order = np.argsort(-score, kind="stable")
        if group_N is not None:
            group = np.concatenate([self._group_K, group_N[counts_N]])
            order = _first_of_each(group, order, self.most)
            self._group_K = group[order[: self.most]]
        self.row_K, self.score_K = row[order[: self.most]], score[order[: self.most]]


def _upper(rows: np.ndarray, scores: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows that may be among the best, in the order met; all that equal the last of them stay."""
    least = np.partition(scores, len(scores) - most)[len(scores) - most]
    return rows[scores >= least], scores[scores >= least]


def _first_of_each(group: np.ndarray, order: np.ndarray, most: int) -> np.ndarray:
    """How an order begins, with only the first of every group; rows whose group is None all stay."""
    seen: set[Any] = set()
    kept = []
    for place in order.tolist():
        name = group[place]
        if name is None or name not in seen:
            kept.append(place)
        if len(kept) == most:
            break
        if name is not None:
            seen.add(name)
    return np.array(kept, np.int64)
