"""Sampling: the first items of a source, or some of them that are the same ones every time."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pyarrow as pa

from clipdata.arguments import check_count
from clipdata.errors import UsageError
from ingest.updating.digests import digest_bytes
from ingest.updating.source import FileSource, Item


@dataclass(frozen=True)
class Sampling:
    """Which part of a source is taken in.

    Args:
        limit: the first so many rows; None for all.
        sample: so many rows, chosen by a digest of their keys; None for all.
        seed: another seed chooses others.

    Raises:
        UsageError: a number is none, or both are given.
    """

    limit: int | None = None
    sample: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("limit", "sample"):
            if getattr(self, name) is not None:
                check_count(getattr(self, name), name, least=1)
        if self.limit is not None and self.sample is not None:
            raise UsageError("limit and sample are both given; expected one of them")

    @property
    def is_whole(self) -> bool:
        """Whether everything is taken in."""
        return self.limit is None and self.sample is None

    def of_items(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items that are taken in, in their order."""
        if self.sample is None:
            return islice(items, self.limit)
        chosen = heapq.nsmallest(self.sample, enumerate(items), key=lambda one: self._rank(one[1].key))
        return iter([item for _, item in sorted(chosen, key=lambda one: one[0])])

    def of_files(self, source: FileSource, items: Iterable[Item], key: str) -> set[bytes] | None:
        """Ranks of the rows that are taken in, after reading the files once; None when it goes by number alone.

        Args:
            key: column of the rows' keys.
        """
        if self.sample is None:
            return None
        ranks = (
            self._rank(name)
            for item in items
            for batch in source.read_file(item, lambda _: None)
            for name in batch.column(key).to_pylist()
        )
        return set(heapq.nsmallest(self.sample, ranks))

    def cut(self, batch: pa.RecordBatch, key: str, ranks: set[bytes] | None, num_before: int) -> pa.RecordBatch:
        """The rows of a batch that are taken in."""
        if ranks is not None:
            return batch.filter(pa.array([self._rank(name) in ranks for name in batch.column(key).to_pylist()]))
        return batch if self.limit is None else batch.slice(0, max(self.limit - num_before, 0))

    def of_places(self, places: np.ndarray, keys: Callable[[], Sequence[str]]) -> np.ndarray:
        """Which of some rows are taken in, as int64 positions among them, ascending.

        Args:
            places: int [N], in which order they are counted.
            keys: gives their keys, where it goes by these.
        """
        if self.sample is None:
            return np.sort(np.argsort(places, kind="stable")[: self.limit])
        chosen = heapq.nsmallest(self.sample, enumerate(keys()), key=lambda one: self._rank(one[1]))
        return np.array(sorted(place for place, _ in chosen), np.int64)

    def _rank(self, key: str) -> bytes:
        return digest_bytes(str(self.seed), key)
