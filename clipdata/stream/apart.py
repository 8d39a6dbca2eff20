"""Apart: rows that share an id, kept out of each other's batches by exchanging rows inside a window.

In a contrastive batch each other row counts as a wrong answer, which a row of the same picture is not. The rows of a
window stay in it, so that reading stays in windows, and every row still comes once an epoch. Which batch a row goes to
depends on the plan, the epoch and the ids, and neither on ranks nor on workers.

Of each streamed row four bytes are held: the low half of its id's hash. Two ids with one half are kept apart
needlessly, one pair in 2^32. It knows ids and places; it must not know what else a batch holds.
"""

from __future__ import annotations

from collections.abc import Iterable
from multiprocessing.context import get_spawning_popen
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from clipdata.errors import UsageError
from clipdata.stream.permutation import words
from clipdata.stream.plan import ORDER_VERSION, EpochOrder, Plan, Shuffle
from clipdata.value_hashes import hashes_of

LEAST_BATCHES = 16  # of a window, or there is no batch to move a row to


class Apart:
    """The ids of a stream's rows.

    Args:
        column: that holds them.
        ids: int32 [rows], in the order of the plan's positions.
    """

    def __init__(self, column: str, ids: torch.Tensor) -> None:
        self.column = column
        self._ids = ids

    def __getstate__(self) -> dict[str, Any]:
        if get_spawning_popen() is not None:  # on the way to a worker
            self._ids.share_memory_()
        return dict(self.__dict__)

    @classmethod
    def read(cls, column: str, values: Iterable[pa.Array | pa.ChunkedArray], num_rows: int) -> Apart:
        """Take in the ids of all rows; a row without one shares it with no other."""
        ids = np.empty(num_rows, np.uint32)
        filled = 0
        for part in values:
            stop = filled + len(part)
            own = hashes_of(pa.array(np.arange(filled, stop)))
            missing = part.is_null().to_numpy(zero_copy_only=False)
            ids[filled:stop] = np.where(missing, own, hashes_of(part)).astype(np.uint32)
            filled = stop
        return cls(column, torch.from_numpy(ids.view(np.int32)))

    def order(self, plan: Plan, epoch: int) -> ApartOrder:
        """The order of one epoch."""
        return ApartOrder(plan, epoch, self._ids.numpy())


def window_for(batch_size: int, window_rows: int) -> int:
    """Rows of the window to use: a whole number of batches, and enough of them to exchange rows among."""
    return batch_size * max(-(-window_rows // batch_size), LEAST_BATCHES)


def check_apart(column: str, *, shuffle: Shuffle, batch_size: int | None) -> None:
    """Check that rows may be moved between batches.

    Raises:
        UsageError: they may not, or there are no batches.
    """
    if not shuffle:
        raise UsageError(
            f"apart={column!r} moves rows, and shuffle=False keeps them in the table's order; expected one of the two"
        )
    if batch_size is None:
        raise UsageError(f"apart={column!r} is about the rows of a batch, and batch_size=None gives single rows")


class ApartOrder:
    """The order of one epoch, with ids apart, computed window by window.

    Args:
        plan: whose windows are whole batches.
        ids: int32 [plan.num_rows], by position.
    """

    def __init__(self, plan: Plan, epoch: int, ids: np.ndarray) -> None:
        self.plan = plan
        self.epoch = epoch
        self._order = EpochOrder(plan, epoch, even=True)
        self._ids = ids
        self._windows: dict[int, np.ndarray] = {}
        # Rows that fill no batch stay where they are.
        self._stop = plan.num_rows - plan.num_dropped

    def positions(self, start: int, stop: int) -> np.ndarray:
        """Row positions at places [start, stop) of the order.

        Returns:
            int64 [stop - start].
        """
        size = self.plan.window_rows
        parts = [
            self._window(window)[max(start - window * size, 0) : stop - window * size]
            for window in range(start // size, -(-stop // size))
        ]
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)

    def windows(self, start: int, stop: int) -> np.ndarray:
        """Windows of places [start, stop) of the order, numbered over all epochs, int64 [stop - start]."""
        return self._order.windows(start, stop)

    def num_together(self, batch: int) -> int:
        """Rows of a global batch that share their id with an earlier row of it."""
        ids = self._ids[self.positions(*self.plan.bounds(batch))]
        return len(ids) - len(np.unique(ids))

    def _window(self, window: int) -> np.ndarray:
        if window not in self._windows:
            while len(self._windows) >= 2:  # reading goes forward: the window at hand and the next one suffice
                self._windows.pop(min(self._windows))
            first = window * self.plan.window_rows
            positions = self._order.positions(first, min(first + self.plan.window_rows, self.plan.num_rows))
            key = f"clipdata.stream order {ORDER_VERSION}, seed {self.plan.seed}, epoch {self.epoch}, apart {window}"
            moved = positions[: max(self._stop - first, 0)]
            place_R = places_apart(self._ids[moved], self.plan.batch_size, key)
            positions[: len(moved)] = moved[np.argsort(place_R, kind="stable")]
            self._windows[window] = positions
        return self._windows[window]


def places_apart(id_R: np.ndarray, batch_size: int, key: str) -> np.ndarray:
    """Deal the rows of a window to its batches so that the rows of each id go to different ones, where they can.

    Ids of several rows are dealt first, those of the most rows at the beginning, each to the batches with the most room
    left, chosen by chance among equals; all others fill what remains. That keeps every id apart whenever any way of
    dealing does: it is the construction of a table of zeros and ones from the sums of its lines.
    Source: Gale, "A theorem on flows in networks", Pacific J. Math. 7 (1957); Ryser, Canad. J. Math. 9 (1957).

    Args:
        id_R: of the rows, in the order in which they come.
        batch_size: of the batches; the last one holds what is left.
        key: of the chance.

    Returns:
        int64 [R], numbers that sort the rows into their batches, and in each as they came.
    """
    num_rows = len(id_R)
    num_batches = -(-num_rows // batch_size)
    room_B = np.full(num_batches, batch_size, np.int64)
    room_B[num_batches - 1 :] = num_rows - (num_batches - 1) * batch_size
    batch_R = np.full(num_rows, -1, np.int64)
    groups = _groups(id_R, num_batches)
    chance_GB = words(key, len(groups) * num_batches).reshape(len(groups), num_batches) >> np.uint64(32)
    for row_C, chance_B in zip(groups, chance_GB, strict=True):
        chosen = np.argsort((batch_size - room_B).astype(np.uint64) << np.uint64(32) | chance_B)[: len(row_C)]
        chosen = chosen[room_B[chosen] > 0]
        batch_R[row_C[: len(chosen)]] = chosen
        room_B[chosen] -= 1
    batch_R[batch_R < 0] = np.repeat(np.arange(num_batches), room_B)
    return batch_R * num_rows + np.arange(num_rows)


def _groups(id_R: np.ndarray, most: int) -> list[np.ndarray]:
    """Rows that share an id, for every id of several, as they are to be dealt.

    An id of more rows than there are batches makes several groups, and those after its first come after all others.
    """
    by_id_R = np.argsort(id_R, kind="stable")
    start_G = np.flatnonzero(np.diff(id_R[by_id_R], prepend=id_R[by_id_R[:1]] - 1))
    size_G = np.diff(start_G, append=len(id_R))
    parts = [
        (layer, -min(size - layer * most, most), by_id_R[start + layer * most : start + min((layer + 1) * most, size)])
        for start, size in zip(start_G[size_G > 1].tolist(), size_G[size_G > 1].tolist(), strict=True)
        for layer in range(-(-size // most))
    ]
    return [rows for _, _, rows in sorted(parts, key=lambda part: (part[0], part[1], part[2][0]))]
