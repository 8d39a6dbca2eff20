"""The order in which a stream visits rows: arithmetic on positions, and nothing else.

Positions are 0 … num_rows-1 of the rows that passed the filter, in the table's own order. The order of an epoch is a
pure function of (num_rows, seed, epoch, clump_rows, window_rows). It knows neither ranks nor workers nor batch sizes,
so none of them can change it; they only cut it up. This module must not know torch, Arrow or Lance.

Clump, then window: neighbouring rows form clumps, the clumps are shuffled, and rows are permuted inside windows of many
clumps. A reader that holds one window at a time makes a few large requests where a full shuffle makes one a row, and a
batch still mixes rows of about `window_rows / clump_rows` places of the table. A table no longer than a window is
shuffled in full.

The order is stable: random bits come from Philox, whose output numpy freezes (unlike that of `Generator.permutation`),
keyed with SHA-256 of the seed, the epoch and what the bits are for; a permutation is a stable sort of such bits.
`ORDER_VERSION` would have to change with it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from clipdata.errors import ConfigError

ORDER_VERSION = 1
CLUMP_ROWS = 32
WINDOW_ROWS = 4096


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
        shuffle: False keeps the table's own order.
        drop_last: leave out the rows that do not fill a batch (others in every epoch, when shuffled).
        clump_rows: neighbouring rows that are moved together.
        window_rows: rows that are permuted together.

    Raises:
        ConfigError: lists everything that is wrong.
    """

    num_rows: int
    batch_size: int
    seed: int = 0
    shuffle: bool = True
    drop_last: bool = True
    clump_rows: int = CLUMP_ROWS
    window_rows: int = WINDOW_ROWS

    def __post_init__(self) -> None:
        problems = [
            f"{name} is {getattr(self, name)}; expected at least {least}"
            for name, least in (("num_rows", 0), ("batch_size", 1), ("clump_rows", 1), ("window_rows", 1))
            if getattr(self, name) < least
        ]
        if self.clump_rows > self.window_rows:
            problems.append(f"clump_rows is {self.clump_rows}; expected at most window_rows ({self.window_rows})")
        if problems:
            raise ConfigError(problems, what="stream plan")

    @property
    def num_batches(self) -> int:
        """Global batches in an epoch; the same for every epoch and every rank."""
        return self.num_rows // self.batch_size if self.drop_last else -(-self.num_rows // self.batch_size)

    def order(self, epoch: int) -> EpochOrder:
        """The order of one epoch."""
        return EpochOrder(self, epoch)

    def bounds(self, batch: int) -> tuple[int, int]:
        """First and past-the-last place of a global batch in the epoch's order."""
        return batch * self.batch_size, min((batch + 1) * self.batch_size, self.num_rows)

    def share(self, batch: int, rank: int, world_size: int) -> tuple[int, int]:
        """Places of a global batch that one rank takes: a contiguous slice, as long as every other rank's.

        Only in a short last batch (`drop_last=False`) do the slices differ, by at most one row.
        """
        start, stop = self.bounds(batch)
        size = stop - start
        return start + size * rank // world_size, start + size * (rank + 1) // world_size

    def windows(self, epoch: int, start: int, stop: int) -> np.ndarray:
        """Windows of places [start, stop) of an epoch, numbered over all epochs; rows of one are best read together.

        Returns:
            int64 [stop - start], ascending.
        """
        num_windows = -(-self.num_rows // self.window_rows)
        return epoch * num_windows + np.arange(start, stop, dtype=np.int64) // self.window_rows


class EpochOrder:
    """The order of one epoch, computed window by window, so that it takes little memory at any table size."""

    def __init__(self, plan: Plan, epoch: int) -> None:
        self.plan = plan
        self.epoch = epoch
        self._windows: dict[int, np.ndarray] = {}
        if plan.shuffle:
            num_clumps = -(-plan.num_rows // plan.clump_rows)
            self._clumps = _permutation(num_clumps, plan.seed, epoch, "clumps")
            # The last clump of the table may be short; it lands anywhere, and shifts what follows.
            self._short_rank = int(np.flatnonzero(self._clumps == num_clumps - 1)[0]) if num_clumps else 0
            self._short_by = num_clumps * plan.clump_rows - plan.num_rows

    def positions(self, start: int, stop: int) -> np.ndarray:
        """Row positions at places [start, stop) of the order.

        Returns:
            int64 [stop - start].
        """
        if not self.plan.shuffle:
            return np.arange(start, stop, dtype=np.int64)
        size = self.plan.window_rows
        parts = [
            self._window(window)[max(start - window * size, 0) : stop - window * size]
            for window in range(start // size, -(-stop // size))
        ]
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)

    def _window(self, window: int) -> np.ndarray:
        if window not in self._windows:
            first = window * self.plan.window_rows
            size = min(self.plan.window_rows, self.plan.num_rows - first)
            inside = _permutation(size, self.plan.seed, self.epoch, f"window {window}")
            while len(self._windows) >= 2:  # reading goes forward: the window at hand and the next one suffice
                self._windows.pop(min(self._windows))
            self._windows[window] = self._clumped(first + inside)
        return self._windows[window]

    def _clumped(self, places: np.ndarray) -> np.ndarray:
        """Row positions at places of the clump-shuffled order."""
        size = self.plan.clump_rows
        shifted = places + np.where(places >= (self._short_rank + 1) * size - self._short_by, self._short_by, 0)
        return self._clumps[shifted // size] * size + shifted % size


def worker_batches(first: int, stop: int, worker: int, num_workers: int) -> range:
    """Batches that one DataLoader worker reads, such that torch's round-robin gives back first, first + 1, …"""
    return range(first + worker, stop, num_workers)


def check_ranks(batch_size: int, rank: int, world_size: int) -> None:
    """Check that ranks can share a global batch evenly.

    Raises:
        ConfigError: the world size does not divide the batch size, or the rank lies outside the world.
    """
    problems = []
    if world_size < 1 or not 0 <= rank < world_size:
        problems.append(f"rank is {rank} of world size {world_size}; expected 0 <= rank < world size")
    elif batch_size % world_size:
        low = batch_size // world_size * world_size
        nearest = " or ".join(str(size) for size in (low, low + world_size) if size)
        problems.append(
            f"batch_size is {batch_size}, over all ranks, and {world_size} ranks cannot share it evenly; use {nearest}"
        )
    if problems:
        raise ConfigError(problems, what="stream")


def _permutation(size: int, seed: int, epoch: int, purpose: str) -> np.ndarray:
    """A permutation of 0 … size-1, int64, that depends on the arguments alone."""
    text = f"clipdata.stream order {ORDER_VERSION}, seed {seed}, epoch {epoch}, {purpose}"
    key = int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")
    bits = np.random.Philox(key=key).random_raw(size)
    return np.argsort(bits, kind="stable").astype(np.int64)
