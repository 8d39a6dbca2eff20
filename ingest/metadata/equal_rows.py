"""Equal rows of a file told apart by numbers, in memory that grows by 16 bytes a distinct row."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Sequence

import numpy as np

_DIGEST = "S16"


class EqualRows:
    """The digests that a file has had so far."""

    def __init__(self) -> None:
        self._runs: list[np.ndarray] = []  # sorted, each at least twice as long as the next
        self._repeats: Tally[str] = Tally()

    def numbered(self, digests: Sequence[str]) -> list[str]:
        """Digests in which the second of two equal ones bears a number, the third another, and so on.

        Args:
            digests: of the rows that follow, 32 hexadecimal digits each.
        """
        is_new = self._add(np.frombuffer(bytes.fromhex("".join(digests)), _DIGEST))
        if is_new.all():
            return list(digests)
        return [
            digest if new else f"{digest}-{self._next(digest)}" for digest, new in zip(digests, is_new, strict=True)
        ]

    def _add(self, digests: np.ndarray) -> np.ndarray:
        """Keep digests, and tell of each whether it is the first of its kind; bool [N]."""
        _, firsts = np.unique(digests, return_index=True)
        is_new = np.zeros(len(digests), np.bool_)
        is_new[firsts] = True
        for run in self._runs:
            places = np.minimum(np.searchsorted(run, digests), len(run) - 1)
            is_new &= run[places] != digests
        if is_new.any():
            fresh = digests[is_new]
            while self._runs and len(self._runs[-1]) < 2 * len(fresh):
                fresh = np.concatenate([self._runs.pop(), fresh])
            self._runs.append(np.sort(fresh))
        return is_new

    def _next(self, digest: str) -> int:
        self._repeats[digest] += 1
        return self._repeats[digest]
