"""Planning: which of the items that a source lists are to be read, in memory that hardly grows with their number.

Of every item listed and every row known there are 16 bytes in memory; what is to be read waits on disk once it is much.
Nothing here knows tables or what an item is of.
"""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import IO

import numpy as np

from clipdata.storage import redact
from ingest.updating.digests import digest_bytes
from ingest.updating.source import Item, Refuse, Reject

_ITEMS_AT_ONCE = 4096
# Some hundred bytes each.
ITEMS_IN_MEMORY = 65_536


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
        return self._contains(_digests(texts))

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


class Spool:
    """Items in the order in which they came; those that are too many for memory are in a temporary file."""

    def __init__(self) -> None:
        self._chunks: list[list[Item] | int] = []  # in memory, or where in the file
        self._last: list[Item] = []
        self._num = 0
        self._file: IO[bytes] | None = None

    def __len__(self) -> int:
        return self._num

    def append(self, item: Item) -> None:
        """Put an item at the end."""
        self._last.append(item)
        self._num += 1
        if len(self._last) == _ITEMS_AT_ONCE:
            self._chunks.append(self._last if self._num <= ITEMS_IN_MEMORY else self._put(self._last))
            self._last = []

    def __iter__(self) -> Iterator[Item]:
        for chunk in self._chunks:
            yield from self._get(chunk) if isinstance(chunk, int) else chunk
        yield from self._last

    def _put(self, items: list[Item]) -> list[Item] | int:
        try:
            packed = pickle.dumps(items, pickle.HIGHEST_PROTOCOL)
        except (pickle.PicklingError, TypeError, AttributeError):
            return items  # they hold something alive, such as the files of a DataChain chain
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="clipdata-")  # noqa: SIM115 - it goes with the spool
        place = self._file.seek(0, 2)
        self._file.write(packed)
        return place

    def _get(self, place: int) -> list[Item]:
        assert self._file is not None, "a place is of the file"
        self._file.seek(place)
        items: list[Item] = pickle.load(self._file)  # noqa: S301 - of our own temporary file
        return items


@dataclass
class Plan:
    """What is to be read, and what is not.

    Args:
        todo: items to read.
        listed: items the source listed.
        unchanged: items whose etag is known.
        refused_before: items that were refused with the same etag.
        vanished: keys that the source no longer lists.
        keys: of all that was listed.
    """

    todo: Spool = field(default_factory=Spool)
    listed: int = 0
    unchanged: int = 0
    refused_before: int = 0
    vanished: list[str] = field(default_factory=list)
    keys: DigestSet = field(default_factory=DigestSet)


def plan_rows(
    items: Iterable[Item],
    known: Iterable[tuple[Sequence[str], Sequence[str]]],
    refused: Mapping[str, str],
    refuse: Refuse,
) -> Plan:
    """Compare a listing with the rows there are: key and etag decide.

    Args:
        items: one a row.
        known: keys and etags of the rows, batch by batch.
        refused: key → etag of what was refused before.
        refuse: told of items that are listed twice.
    """
    contents = DigestSet()
    for keys, etags in known:
        contents.add(list(map(_content, keys, etags)))
    plan, listing = Plan(), iter(items)
    while chunk := list(islice(listing, _ITEMS_AT_ONCE)):
        is_new = plan.keys.add_new([item.key for item in chunk])
        is_known = contents.contains([_content(item.key, item.etag) for item in chunk])
        for item, new, unchanged in zip(chunk, is_new, is_known, strict=True):
            plan.listed += 1
            if not new:
                refuse(Reject(item.key, item.etag, "duplicate_key", f"listed twice: {redact(item.where)}"))
            elif unchanged:
                plan.unchanged += 1
            elif refused.get(item.key) == item.etag:
                plan.refused_before += 1
            else:
                plan.todo.append(item)
    return plan


def missing(
    keys: Iterable[tuple[Sequence[str], Sequence[str | None]]], listed: DigestSet, is_own: Callable[[str | None], bool]
) -> list[str]:
    """Keys of rows that the source once gave and does not list any more.

    Args:
        keys: of the rows, and where each came from, batch by batch.
        listed: keys that the source lists.
        is_own: whether a place is the source's.
    """
    gone: list[str] = []
    for names, places in keys:
        is_listed = listed.contains(names)
        rows = zip(names, places, is_listed, strict=True)
        gone += [name for name, place, present in rows if not present and is_own(place)]
    return gone


def _content(key: str, etag: str | None) -> str:
    return f"{key}\x00{etag}"


def _digests(texts: Sequence[str]) -> np.ndarray:
    """Uint64 [n, 2]."""
    packed = b"".join(map(digest_bytes, texts))
    return np.frombuffer(packed, np.uint64).reshape(-1, 2) if texts else np.empty((0, 2), np.uint64)
