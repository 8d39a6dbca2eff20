"""The order in which a stream visits rows: arithmetic on positions, and nothing else.

Positions are 0 … num_rows-1 of the rows that passed the filter, in the table's own order. The order of an epoch is a
pure function of (num_rows, seed, epoch, shuffle, clump_rows, window_rows). It knows neither ranks nor workers nor batch
sizes, so none of them can change it; they only cut it up. This module must not know torch, Arrow or Lance.

Clump, then window: neighbouring rows form clumps, the clumps are shuffled, and rows are permuted inside windows of many
clumps. A reader that holds one window at a time makes a few large requests where a full shuffle makes one a row, and a
batch still mixes rows of about `window_rows / clump_rows` places of the table. A table no longer than a window is
shuffled in full. With shuffle="rows" every row of the table may come next to every other.

Nothing of an order is held: what stands at any place of it is computed, by `permutation`. `ORDER_VERSION` would have to
change with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from clipdata.errors import ConfigError
from clipdata.stream.permutation import Permutation

ORDER_VERSION = 2
CLUMP_ROWS = 32
WINDOW_ROWS = 4096
_BLOCK_ROWS = 4096  # places computed at a time; by then the cost of a call is that of its rows

Shuffle = bool | Literal["rows"]
"""True: clumps and windows. "rows": each row by itself, which costs a request a row. False: the table's order."""


@dataclass(frozen=True, order=True)
class Cursor:
    """A place in a run: the next global batch to be read. It holds no rank and no worker."""

    epoch: int = 0
    batch: int = 0


@dataclass(frozen=True)
class Plan:
    """How rows are ordered and cut into global batches.

    Args:
        num_rows: rows that passed the filter.
        batch_size: rows of a global batch, over all ranks.
        seed: any integer.
        shuffle: True shuffles clumps, and rows in windows of them; "rows" each row by itself; False keeps the table's
            own order.
        drop_last: leave out the rows that do not fill a batch (others in every epoch, when shuffled).
        take: batches of each epoch that are read, its first ones; None for all.
        clump_rows: neighbouring rows that are moved together.
        window_rows: rows that are permuted together.

    Raises:
        ConfigError: lists everything that is wrong.
    """

    num_rows: int
    batch_size: int
    seed: int = 0
    shuffle: Shuffle = True
    drop_last: bool = True
    clump_rows: int = CLUMP_ROWS
    window_rows: int = WINDOW_ROWS
    take: int | None = None

    def __post_init__(self) -> None:
        problems = [
            f"{name} is {getattr(self, name)}; expected at least {least}"
            for name, least in (("num_rows", 0), ("batch_size", 1), ("clump_rows", 1), ("window_rows", 1))
            if getattr(self, name) < least
        ]
        if self.shuffle not in (True, False, "rows"):
            problems.append(f"shuffle is {self.shuffle!r}; expected True, False or 'rows'")
        if self.take is not None and self.take < 1:
            problems.append(f"take is {self.take}; expected at least 1")
        if self.clump_rows > self.window_rows:
            problems.append(f"clump_rows is {self.clump_rows}; expected at most window_rows ({self.window_rows})")
        if problems:
            raise ConfigError(problems, what="stream plan")

    @property
    def num_batches(self) -> int:
        """Global batches in an epoch; the same for every epoch and every rank."""
        whole = self.num_rows // self.batch_size if self.drop_last else -(-self.num_rows // self.batch_size)
        return whole if self.take is None else min(whole, self.take)

    @property
    def num_dropped(self) -> int:
        """Rows that an epoch leaves out because they do not fill a batch; the same number in every epoch."""
        return self.num_rows % self.batch_size if self.drop_last else 0

    def order(self, epoch: int) -> EpochOrder:
        """The order of one epoch."""
        return EpochOrder(self, epoch)

    def bounds(self, batch: int) -> tuple[int, int]:
        """First and past-the-last place of a global batch in the epoch's order."""
        return batch * self.batch_size, min((batch + 1) * self.batch_size, self.num_rows)

    def share(self, batch: int, rank: int, world_size: int) -> tuple[int, int]:
        """Places of a global batch that one rank takes: a contiguous slice, as long as every other rank's.

        Where that cannot be (in a short last batch, or one that is not to be `even`) they differ by at most one row.
        """
        start, stop = self.bounds(batch)
        size = stop - start
        return start + size * rank // world_size, start + size * (rank + 1) // world_size

    @property
    def num_windows(self) -> int:
        """By how many the numbers of windows go up from an epoch to the next."""
        return -(-(self.num_rows + self.clump_rows) // self.window_rows)


class EpochOrder:
    """The order of one epoch, of which no more is held than the block of places that was asked for last.

    The last clump of the table may be short. It lands anywhere; the window that it lands in is shorter, so that all
    have whole clumps, or a reader would meet the two ends of one clump in each.

    Args:
        plan: of all epochs.
        epoch: which one.
        even: make all windows but the last equally long instead.
    """

    def __init__(self, plan: Plan, epoch: int, *, even: bool = False) -> None:
        self.plan = plan
        self.epoch = epoch
        self._blocks: dict[int, np.ndarray] = {}
        size, window_rows = plan.clump_rows, plan.window_rows
        num_clumps = -(-plan.num_rows // size)
        self._short_by = num_clumps * size - plan.num_rows
        self._gap = plan.num_rows  # the place before which rows of the short clump are lacking
        self._skipped = 0  # places that windows count and the order has not
        self._odd: dict[int, Permutation] = {}
        if plan.shuffle and plan.num_rows:
            self._rows = self._permutation(plan.num_rows, "rows")
            self._clumps = self._permutation(num_clumps, "clumps")
            self._windows = self._permutation(window_rows, "windows")
            self._gap = (self._clumps.place_of(num_clumps - 1) + 1) * size - self._short_by
            self._skipped = 0 if even or plan.num_rows <= window_rows else self._short_by
            odd = {0, self._gap // window_rows, (self._gap + self._skipped) // window_rows}
            self._odd = {
                window: self._permutation(max(self._end_of(window) - self._end_of(window - 1), 1), f"window {window}")
                for window in odd | {(plan.num_rows + self._skipped - 1) // window_rows}
            }

    def windows(self, start: int, stop: int) -> np.ndarray:
        """Windows of places [start, stop) of the order, numbered over all epochs; rows of one are best read together.

        Returns:
            int64 [stop - start], ascending.
        """
        return self.epoch * self.plan.num_windows + self._window_of(np.arange(start, stop, dtype=np.int64))

    def positions(self, start: int, stop: int) -> np.ndarray:
        """Row positions at places [start, stop) of the order.

        Returns:
            int64 [stop - start].
        """
        if not self.plan.shuffle:
            return np.arange(start, stop, dtype=np.int64)
        size = _BLOCK_ROWS
        parts = [
            self._block(block)[max(start - block * size, 0) : stop - block * size]
            for block in range(start // size, -(-stop // size))
        ]
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)

    def _block(self, block: int) -> np.ndarray:
        if block not in self._blocks:
            while len(self._blocks) >= 2:  # reading goes forward: the block at hand and the next one suffice
                self._blocks.pop(min(self._blocks))
            first = block * _BLOCK_ROWS
            places = np.arange(first, min(first + _BLOCK_ROWS, self.plan.num_rows), dtype=np.int64)
            by_rows = self.plan.shuffle == "rows"
            self._blocks[block] = self._rows.at(places) if by_rows else self._clumped(self._windowed(places))
        return self._blocks[block]

    def _window_of(self, places: np.ndarray) -> np.ndarray:
        return (places + np.where(places >= self._gap, self._skipped, 0)) // self.plan.window_rows

    def _end_of(self, window: Any) -> Any:
        """The place after a window; of many, int64 [N] of int64 [N]."""
        end = (window + 1) * self.plan.window_rows
        return np.clip(end - np.clip(end - self._gap, 0, self._skipped), 0, self.plan.num_rows)

    def _windowed(self, places: np.ndarray) -> np.ndarray:
        """Places of the clump-shuffled order at places of the order."""
        window = self._window_of(places)
        first = self._end_of(window - 1)
        inside = places - first
        odd = np.isin(window, list(self._odd))
        inside[~odd] = self._windows.at(inside[~odd], window[~odd])
        for one, permutation in self._odd.items():
            mine = window == one
            inside[mine] = permutation.at(inside[mine])
        return first + inside

    def _clumped(self, places: np.ndarray) -> np.ndarray:
        """Row positions at places of the clump-shuffled order."""
        size = self.plan.clump_rows
        clump, inside = np.divmod(places + np.where(places >= self._gap, self._short_by, 0), size)
        return self._clumps.at(clump) * size + inside

    def _permutation(self, size: int, purpose: str) -> Permutation:
        key = f"clipdata.stream order {ORDER_VERSION}, seed {self.plan.seed}, epoch {self.epoch}, {purpose}"
        return Permutation(size, key)


def worker_batches(first: int, stop: int, worker: int, num_workers: int) -> range:
    """Batches that one DataLoader worker reads, such that torch's round-robin gives back first, first + 1, …"""
    return range(first + worker, stop, num_workers)


def check_ranks(batch_size: int, rank: int, world_size: int, *, even: bool = True) -> None:
    """Check that ranks can share a global batch, evenly unless whoever asks weighs rows.

    Raises:
        ConfigError: the world size does not divide the batch size, or the rank lies outside the world.
    """
    problems = []
    if world_size < 1 or not 0 <= rank < world_size:
        problems.append(f"rank is {rank} of world size {world_size}; expected 0 <= rank < world size")
    elif even and batch_size % world_size:
        low = batch_size // world_size * world_size
        nearest = " or ".join(str(size) for size in (low, low + world_size) if size)
        problems.append(
            f"batch_size is {batch_size}, over all ranks, and {world_size} ranks cannot share it evenly; use {nearest}"
        )
    if problems:
        raise ConfigError(problems, what="stream")
