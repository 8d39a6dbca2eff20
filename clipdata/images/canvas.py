"""Memory that is used again: where a thread decodes picture after picture, and batches that nobody holds any more.

Fresh memory costs a page fault for each 4 KB of it, which for a small picture is a good part of decoding it. What is
handed out here is given again only once nobody can see it: a thread's canvas by being overwritten by that thread alone,
a batch by the end of the array (or of the tensor that was made of it) and of every view of it. It knows arrays only.
"""

from __future__ import annotations

import math
import weakref
from collections import deque

import numpy as np
from numpy.typing import DTypeLike

_MOST_BYTES = 32 * 2**20  # 8 megapixels of four bytes; a larger picture gets memory of its own, and gives it back
_MOST_FREE = 4


class Canvas:
    """Memory that one thread decodes into; what was there before is overwritten.

    Args:
        most_bytes: that are kept from one picture to the next.
    """

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._memory = np.empty(0, np.uint8)

    def room(self, num_bytes: int) -> np.ndarray | None:
        """Return at least so many bytes, or None where that is more than is kept."""
        if num_bytes > self._most_bytes:
            return None
        if num_bytes > len(self._memory):
            self._memory = np.empty(num_bytes, np.uint8)
        return self._memory


class ReusedMemory:
    """Hands out arrays of any values, in memory whose last array is gone; a copy or a pickle of it begins with none.

    Args:
        most_free: pieces of memory that are kept while nobody uses them.
    """

    def __init__(self, most_free: int = _MOST_FREE) -> None:
        self._free: deque[memoryview] = deque(maxlen=most_free)

    def __reduce__(self) -> tuple[type[ReusedMemory], tuple[int]]:
        return ReusedMemory, (self._free.maxlen or 0,)

    def array(self, shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
        """Return an array [shape] of undefined values; as long as it or any view of it lives, it is its holder's."""
        num_bytes = math.prod(shape) * np.dtype(dtype).itemsize
        if not num_bytes:
            return np.empty(shape, dtype)
        memory = self._taken(num_bytes) or np.empty(num_bytes, np.uint8).data
        # Views of an array refer to the innermost array that does not own its memory, which is this one.
        held = np.frombuffer(memory, np.uint8, num_bytes)
        weakref.finalize(held, self._free.append, memory).atexit = False
        return held.view(dtype).reshape(shape)

    def _taken(self, num_bytes: int) -> memoryview | None:
        for _ in range(len(self._free)):
            try:
                memory = self._free.popleft()
            except IndexError:  # another thread was faster
                return None
            if num_bytes <= memory.nbytes <= 2 * num_bytes:
                return memory
        return None  # what was kept is of another size than what is wanted now
