"""Sets of texts, and rows by their keys, in 16 bytes a text: of each only a digest is kept, in sorted arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ingest.updating.digests import packed_digests

NOWHERE = -1


class DigestSet:
    """A set of texts of which only digests are kept, 128 bits each, in sorted arrays."""

    def __init__(self) -> None:
        self._runs: list[np.ndarray] = []  # uint64 [n, 2], sorted by the first, each at least twice as long as the next

    def __len__(self) -> int:
        return sum(len(run) for run in self._runs)

    def add(self, texts: Sequence[str]) -> None:
        """Add texts."""
        self._add(_digests(texts))

    def contains(self, texts: Sequence[str]) -> np.ndarray:
        """Tell of each text whether it was added; bool [n]."""
        return self._contains(_digests(texts)) if len(self) else np.zeros(len(texts), np.bool_)

    def add_new(self, texts: Sequence[str]) -> np.ndarray:
        """Add texts, and tell of each whether it was new: not there, and not earlier among these; bool [n]."""
        digests = _digests(texts)
        is_new = ~self._contains(digests)
        _, firsts = np.unique(digests, axis=0, return_index=True)
        is_first = np.zeros(len(texts), np.bool_)
        is_first[firsts] = True
        is_new &= is_first
        self._add(digests[is_new])
        return is_new

    def _add(self, digests: np.ndarray) -> None:
        run = digests
        while self._runs and len(self._runs[-1]) < 2 * len(run):
            run = np.concatenate([self._runs.pop(), run])
        self._runs.append(run[np.argsort(run[:, 0], kind="stable")])

    def _contains(self, digests: np.ndarray) -> np.ndarray:
        found = np.zeros(len(digests), np.bool_)
        for run in self._runs:
            if len(run):
                places = np.minimum(np.searchsorted(run[:, 0], digests[:, 0]), len(run) - 1)
                found |= (run[places] == digests).all(axis=1)
        return found


@dataclass(frozen=True)
class KnownRow:
    """What is known of rows that are there, for N keys that were asked for.

    Args:
        places: int64 [N], positions of the rows in their table; NOWHERE for a key that is not there.
        is_same: bool [N], the row has this etag, which says something, and is one of this source.
        is_foreign: bool [N], the row is one of another source.
    """

    places: np.ndarray
    is_same: np.ndarray
    is_foreign: np.ndarray


class KnownRows:
    """The rows of a table by key: where each one is, of what content, and whether it is another source's.

    Args:
        rows: keys, etags and places where the rows came from, batch by batch, in the table's order.
        is_own: whether a place is one of this source.
    """

    def __init__(
        self,
        rows: Iterable[tuple[Sequence[str], Sequence[str | None], Sequence[str | None]]] = (),
        is_own: Callable[[str | None], bool] = lambda _: True,
    ) -> None:
        keys, etags, foreign = [_digests([])], [np.empty(0, np.uint64)], [np.empty(0, np.bool_)]
        for names, versions, places in rows:
            keys.append(_digests(names))
            etags.append(_digests([etag or "" for etag in versions])[:, 0].copy())
            foreign.append(np.fromiter((not is_own(place) for place in places), np.bool_, len(names)))
        unsorted = np.concatenate(keys)
        self._order = np.argsort(unsorted[:, 0], kind="stable")
        self._keys = unsorted[self._order]
        self._etags, self._foreign = np.concatenate(etags), np.concatenate(foreign)

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, keys: Sequence[str], etags: Sequence[str]) -> KnownRow:
        """Look keys up, with the etags they have now."""
        places = self._places(keys)
        is_there = places != NOWHERE
        at = np.where(is_there, places, 0)
        if not len(self):
            return KnownRow(places, is_there, is_there)
        is_foreign = is_there & self._foreign[at]
        is_told = np.fromiter(map(bool, etags), np.bool_, len(etags))
        is_same = is_there & ~is_foreign & is_told & (self._etags[at] == _digests(etags)[:, 0])
        return KnownRow(places, is_same, is_foreign)

    def has_etag(self, place: int, etag: str) -> bool:
        """Whether the row at a place has this etag."""
        return bool(self._etags[place] == _digests([etag])[0, 0])

    def _places(self, keys: Sequence[str]) -> np.ndarray:
        found = np.full(len(keys), NOWHERE, np.int64)
        if not len(self) or not len(keys):
            return found
        wanted = _digests(keys)
        first = np.searchsorted(self._keys[:, 0], wanted[:, 0])
        for ahead in range(2):  # 64 equal bits of two keys: once in a table larger than any
            at = np.minimum(first + ahead, len(self) - 1)
            is_it = (self._keys[at] == wanted).all(axis=1)
            found[is_it] = self._order[at[is_it]]
        return found


def _digests(texts: Sequence[str]) -> np.ndarray:
    """Uint64 [n, 2]."""
    return packed_digests(texts).view(np.uint64)
