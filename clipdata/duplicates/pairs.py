"""Pairs: two places and how far apart the values there are. It knows arrays alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Pairs:
    """Pairs of near values.

    Args:
        first_P: int32, place of one value.
        second_P: int32, place of the other.
        distance_P: float32; bits for hashes, 1 - cosine for vectors.
    """

    first_P: np.ndarray
    second_P: np.ndarray
    distance_P: np.ndarray

    def __len__(self) -> int:
        return len(self.first_P)

    @classmethod
    def joined(cls, parts: Iterable[Pairs]) -> Pairs:
        """One after the other; each pair is kept once, at its least distance."""
        held = list(parts)
        if not held:
            return cls(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.float32))
        first_P = np.concatenate([part.first_P for part in held]).astype(np.int32)
        second_P = np.concatenate([part.second_P for part in held]).astype(np.int32)
        distance_P = np.concatenate([part.distance_P for part in held]).astype(np.float32)
        held.clear()
        key_P = (first_P.astype(np.int64) << 32) | second_P
        order_P = np.lexsort((distance_P, key_P))
        is_new_P = np.ones(len(key_P), bool)
        is_new_P[1:] = np.diff(key_P[order_P]) != 0
        kept = order_P[is_new_P]
        return cls(first_P[kept], second_P[kept], distance_P[kept])


class NearSearch(Protocol):
    """Finds near pairs among N values."""

    def __len__(self) -> int: ...

    def within(self, places: np.ndarray) -> Iterator[Pairs]:
        """Near pairs of two of these places, first < second; a pair may come more than once."""
        ...

    def between(self, known: np.ndarray, places: np.ndarray) -> Iterator[Pairs]:
        """Near pairs of a known place (first) and another one (second)."""
        ...
