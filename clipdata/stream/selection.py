"""Selection: which rows of a table a stream visits, in few bytes, shared by the workers that read it.

All rows take none. Rows that a filter found take a bit for each row of the table and a count every 512 of them, or four
bytes each where that is less (eight in tables of more than 2^31 rows). Rows given in another order than the table's
take four (or eight) bytes each. It knows positions, and neither conditions nor tables.

Source: counts and bits as in Jacobson, "Space-efficient static trees and graphs", FOCS 1989 (rank and select).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from functools import cached_property
from multiprocessing.context import get_spawning_popen
from typing import Any

import numpy as np
import torch

from clipdata.errors import UsageError

BLOCK_ROWS = 512  # of the table, between two counts
_AT_ONCE = 2**20  # offsets
_ONES = np.array([byte.bit_count() for byte in range(256)], np.uint8)


class Selection:
    """Some rows of a table, by their place among them.

    Args:
        num_rows: how many.
        bits: uint8 [blocks * 64], a bit for each row of the table, the lowest first; None for rows that are listed.
        before: int32 or int64 [blocks + 1], selected rows before each block; goes with `bits`.
        listed: int32 or int64 [num_rows], offsets in the order in which they are visited.
            With neither bits nor a list, a row's place is its offset.
    """

    def __init__(
        self,
        num_rows: int,
        *,
        bits: torch.Tensor | None = None,
        before: torch.Tensor | None = None,
        listed: torch.Tensor | None = None,
    ) -> None:
        self.num_rows = num_rows
        self._bits, self._before, self._listed = bits, before, listed

    def __len__(self) -> int:
        return self.num_rows

    def __getstate__(self) -> dict[str, Any]:
        if get_spawning_popen() is not None:  # on the way to a worker
            for held in (self._bits, self._before, self._listed):
                if held is not None:
                    held.share_memory_()
        return dict(self.__dict__)

    @classmethod
    def found(cls, batches: Iterable[np.ndarray], table_rows: int) -> Selection:
        """The rows that a filter found, each once, in the table's order.

        Args:
            batches: int64 [any] offsets each, in any order.
            table_rows: of the whole table.
        """
        bits = _marked(batches, table_rows)
        counts = _ONES[bits].reshape(-1, BLOCK_ROWS // 8).sum(axis=1, dtype=np.int64)
        num_rows, kind = int(counts.sum()), _kind(table_rows)
        before: np.ndarray = np.concatenate([[0], np.cumsum(counts)]).astype(kind)
        if num_rows * before.itemsize < bits.nbytes + before.nbytes:
            return cls(num_rows, listed=torch.from_numpy(_listed(bits, num_rows, kind)))
        return cls(num_rows, bits=torch.from_numpy(bits), before=torch.from_numpy(before))

    @classmethod
    def given(cls, offsets: np.ndarray, table_rows: int) -> Selection:
        """Rows that somebody named, in the order given.

        Args:
            offsets: int64 [any], each in the table.

        Raises:
            UsageError: one comes twice.
        """
        found = cls.found((offsets[start : start + _AT_ONCE] for start in range(0, len(offsets), _AT_ONCE)), table_rows)
        if len(found) < len(offsets):
            raise UsageError("rows holds an offset twice; expected each once", hint="rows=numpy.unique(rows)")
        if np.all(offsets[1:] > offsets[:-1]):
            return found
        return cls(len(offsets), listed=torch.from_numpy(offsets.astype(_kind(table_rows))))

    @property
    def num_bytes(self) -> int:
        """Memory that it holds, one time for all workers."""
        held = (self._bits, self._before, self._listed)
        return sum(some.element_size() * some.numel() for some in held if some is not None)

    def at(self, places: np.ndarray) -> np.ndarray:
        """Offsets of rows in the table.

        Args:
            places: int64 [B], among the selected rows.

        Returns:
            int64 [B].
        """
        if self._listed is not None:
            return self._listed.numpy()[places].astype(np.int64)
        if self._bits is None or self._before is None:
            return places
        before = self._before.numpy()
        block_B = np.searchsorted(before, places.astype(before.dtype), side="right") - 1
        bits_BY = self._bits.numpy().reshape(-1, BLOCK_ROWS // 8)[block_B]
        byte_B, left_B = _reached(_ONES[bits_BY], places - before[block_B])
        byte_BY = np.take_along_axis(bits_BY, byte_B[:, None], axis=1)
        bit_B, _ = _reached(np.unpackbits(byte_BY, axis=1, bitorder="little"), left_B)
        return block_B * BLOCK_ROWS + byte_B * 8 + bit_B

    def between(self, start: int, stop: int) -> np.ndarray:
        """Offsets of the rows that lie at some offsets of the table.

        Args:
            start, stop: offsets, of which the last is left out; `stop` may lie behind the table.

        Returns:
            int64 [any], ascending.
        """
        if self._listed is not None:
            ascending = self._ascending
            first, last = np.searchsorted(ascending, [start, stop])
            return ascending[first:last].astype(np.int64)
        if self._bits is None:
            return np.arange(start, min(stop, self.num_rows), dtype=np.int64)
        first = start // 8
        found = np.flatnonzero(np.unpackbits(self._bits.numpy()[first : -(-stop // 8)], bitorder="little")) + first * 8
        return found[(found >= start) & (found < stop)]

    @cached_property
    def _ascending(self) -> np.ndarray:
        assert self._listed is not None, "of listed rows"
        listed: np.ndarray = self._listed.numpy()
        return listed if np.all(listed[1:] > listed[:-1]) else np.sort(listed)

    def batches(self, num_rows: int = 65_536) -> Iterator[np.ndarray]:
        """Yield the offsets of all rows, int64, so many at a time."""
        for start in range(0, self.num_rows, num_rows):
            yield self.at(np.arange(start, min(start + num_rows, self.num_rows), dtype=np.int64))

    def digest(self) -> str:
        """What tells these rows in this order from others."""
        whole = hashlib.sha256()
        for offset_B in self.batches():
            whole.update(offset_B.astype("<i8").tobytes())
        return whole.hexdigest()[:16]


def _reached(count_BN: np.ndarray, place_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each line of counts, the first at which their sum passes a place, and how far the place lies in it."""
    sum_BN = np.cumsum(count_BN, axis=1, dtype=np.int16)
    reached_B = (sum_BN <= place_B[:, None]).sum(axis=1)
    before_B = sum_BN[np.arange(len(place_B)), reached_B] - count_BN[np.arange(len(place_B)), reached_B]
    return reached_B, place_B - before_B


def _marked(batches: Iterable[np.ndarray], table_rows: int) -> np.ndarray:
    """Bits, uint8, in whole blocks."""
    bits = np.zeros(max(-(-table_rows // BLOCK_ROWS), 1) * BLOCK_ROWS // 8, np.uint8)
    for batch in batches:
        offset_B = np.sort(batch)
        byte_B = offset_B >> 3
        first_D = np.flatnonzero(np.diff(byte_B, prepend=-1))
        if len(first_D):
            bit_B = np.left_shift(1, offset_B & 7).astype(np.uint8)
            bits[byte_B[first_D]] |= np.bitwise_or.reduceat(bit_B, first_D)
    return bits


def _listed(bits: np.ndarray, num_rows: int, kind: type) -> np.ndarray:
    listed: np.ndarray = np.empty(num_rows, kind)
    filled = 0
    for start in range(0, len(bits), _AT_ONCE // 8):
        found = np.flatnonzero(np.unpackbits(bits[start : start + _AT_ONCE // 8], bitorder="little"))
        listed[filled : filled + len(found)] = found + start * 8
        filled += len(found)
    return listed


def _kind(table_rows: int) -> type:
    return np.int32 if table_rows < 2**31 else np.int64
