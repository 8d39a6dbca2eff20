"""Groups: the rows of batches that are read together, in memory while their batches are handed out.

Nobody can tell what rows of texts or pictures weigh before they are read. So they are read piece by piece, each piece
is weighed, and what turns out too heavy is cut: the batches at the end of the group wait for the next one. Threads of a
pool read and wait for nothing but the store; whoever hands out batches of the group before says how far to go.
It knows sources; it must not know tables or torch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol

import numpy as np
import pyarrow as pa

from clipdata.stream.pieces import Source


@dataclass(frozen=True)
class Slot:
    """One rank's part of one global batch, or of several that are single rows.

    Args:
        numbers: of the global batches, counted over all epochs.
        num_rows: of the part of each.
        offsets: int64 [B], positions among the table's live rows.
        windows: int64 [B], ascending numbers, over all epochs; rows of one window share clumps, and are read together.
    """

    numbers: tuple[int, ...]
    num_rows: tuple[int, ...]
    offsets: np.ndarray
    windows: np.ndarray


@dataclass
class Waiting:
    """A slot whose rows are being read, in one group or, where a window ends in it, in several.

    Args:
        parts: what each group read, and places in the slot of the rows that are in it, int64 [n].
    """

    slot: Slot
    parts: list[tuple[Mapping[str, Source], np.ndarray]] = field(default_factory=list)


@dataclass(frozen=True)
class Part:
    """Rows of a slot that are read in one group.

    Args:
        places: int64 [n], in the slot.
        ends: whether these are the slot's last.
    """

    waiting: Waiting
    places: np.ndarray
    ends: bool

    @property
    def offsets(self) -> np.ndarray:
        """int64 [n], of the rows."""
        return self.waiting.slot.offsets[self.places]

    @property
    def window(self) -> int | None:
        """The window they lie in; None for no row."""
        return int(self.waiting.slot.windows[self.places[0]]) if len(self.places) else None


def parts_of(slot: Slot) -> list[Part]:
    """A slot window by window; a slot of no row is one part."""
    waiting = Waiting(slot)
    bounds = [0, *(np.flatnonzero(np.diff(slot.windows)) + 1).tolist(), len(slot.offsets)]
    return [Part(waiting, np.arange(start, stop), ends=stop == len(slot.offsets)) for start, stop in pairwise(bounds)]


class Sources(Protocol):
    """What is read for rows at some offsets, by name."""

    def first(self, offsets: np.ndarray) -> dict[str, Source]:
        """What can be read at once."""

    def further(self, first: Mapping[str, Source], offsets: np.ndarray) -> dict[str, Source]:
        """What can be read only when the first is there, since that says where it is."""


class Group:
    """Rows that are read together.

    Args:
        parts: of slots; some at the end are given back when they turn out too heavy.
        sources: what to read for them.
        most_bytes: to hold; a single part, and pieces that are under way, may be heavier.
        pool: where to read.
        at_once: pieces under way at the same time.
    """

    def __init__(
        self, parts: Sequence[Part], sources: Sources, *, most_bytes: int, pool: Executor, at_once: int
    ) -> None:
        self.parts = list(parts)
        self._most_bytes, self._pool, self._at_once = most_bytes, pool, at_once
        self._made = sources
        self._first: dict[str, Source] = sources.first(self._wanted())
        self._further: dict[str, Source] | None = None
        self._flight: deque[tuple[Source, np.ndarray, Future[pa.Table]]] = deque()
        self._given_back: list[Part] = []

    @property
    def sources(self) -> dict[str, Source]:
        """What has been or is being read, by name."""
        return {**self._first, **(self._further or {})}

    @property
    def num_rows(self) -> int:
        """Rows of the parts."""
        return sum(len(part.places) for part in self.parts)

    @property
    def num_bytes(self) -> int:
        """What has been read, in memory."""
        return sum(source.num_bytes for source in self.sources.values())

    def advance(self, share: float) -> None:
        """Begin to read pieces, up to a share of the group, and weigh those that are there. It waits for nothing."""
        while self._flight and self._flight[0][2].done() and self._flight[0][2].exception() is None:
            self._collect()
        if self._further is None and all(source.is_read for source in self._first.values()):
            self._further = self._made.further(self._first, self._wanted())
        while len(self._flight) < self._at_once and (source := self._following(share)) is not None:
            keys = source.begin()
            self._flight.append((source, keys, self._pool.submit(source.read, keys)))

    def finish(self) -> list[Part]:
        """Wait until all is read.

        Returns:
            Parts that are left out because the group would have become too heavy, in order.

        Raises:
            Whatever the reading raised.
        """
        self.advance(1.0)
        while self._flight:
            self._collect()
            self.advance(1.0)
        return self._given_back

    def _following(self, share: float) -> Source | None:
        """The source to read on, unless as much is begun as the share is of all that is known to be wanted."""
        total = begun = 0
        following = None
        for source in self.sources.values():
            total, begun = total + len(source.keys), begun + source.num_begun
            if following is None and source.num_begun < len(source.keys):
                following = source
        return following if begun < share * total else None

    def _collect(self) -> None:
        """Take in the oldest piece, and leave out parts at the end when the rest would be too heavy by what it says."""
        self._take_in()
        rest = sum(source.rest_bytes() for source in self.sources.values())
        if not rest or len(self.parts) == 1 or self.num_bytes + rest <= self._most_bytes:
            return
        while self._flight:
            self._take_in()
        heaviest = sum(source.heaviest_row * len(source.keys) for source in self.sources.values())
        affordable = self._most_bytes / 2 / max(heaviest / max(self.num_rows, 1), 1.0)
        ends = np.cumsum([len(part.places) for part in self.parts])
        kept = max(1, int(np.searchsorted(ends, affordable, side="right")))
        self._given_back = [*self.parts[kept:], *self._given_back]
        self.parts = self.parts[:kept]
        self._keep(self._made.first(self._wanted()), self._first)
        if self._further is not None:
            self._keep(self._made.further(self._first, self._wanted()), self._further)

    def _take_in(self) -> None:
        source, keys, future = self._flight.popleft()
        source.add(keys, future.result())

    @staticmethod
    def _keep(wanted: Mapping[str, Source], held: dict[str, Source]) -> None:
        for name, source in held.items():
            source.keep(wanted[name].keys if name in wanted else source.keys[:0])

    def _wanted(self) -> np.ndarray:
        return np.unique(np.concatenate([part.offsets for part in self.parts]))
