"""Threads that decode, each onto a canvas of its own: as many as are asked for, of which the caller is one.

It knows nothing of what they make.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

from clipdata.images.canvas import Canvas

T = TypeVar("T")
R = TypeVar("R")


class _Own(threading.local):
    def __init__(self) -> None:
        self.canvas = Canvas()


class DecodingThreads:
    """Share out numbered work.

    Args:
        num_threads: that work at the same time.
        pool: where those beside the caller's come from; by default a pool of its own.
    """

    def __init__(self, num_threads: int, pool: ThreadPoolExecutor | None = None) -> None:
        self._num_threads = num_threads
        self._own = _Own()
        # A pool of none there is not, and one that is asked for nothing starts no thread.
        self._pool = pool or ThreadPoolExecutor(max(num_threads - 1, 1), thread_name_prefix="clipdata-decode")

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(cancel_futures=True)

    def each(self, num: int, make: Callable[[int, Canvas], None]) -> None:
        """Call `make(number, canvas)` for every number below `num`, and wait until all are through.

        Raises:
            Whatever `make` raised first; numbers that were not begun by then are left out.
        """
        coming = itertools.count()
        faults: list[BaseException] = []

        def work() -> None:
            canvas = self._own.canvas
            try:
                while not faults and (number := next(coming)) < num:
                    make(number, canvas)
            except BaseException as error:
                faults.append(error)

        others = [self._pool.submit(work) for _ in range(min(self._num_threads, num) - 1)]
        work()
        wait(others)
        if faults:
            raise faults[0]

    def map(self, function: Callable[[T], R], items: Sequence[T]) -> list[R]:
        """Return `function(item)` of every item, in order; raises as `each` does."""
        made: dict[int, R] = {}

        def make(number: int, _: Canvas) -> None:
            made[number] = function(items[number])

        self.each(len(items), make)
        return [made[number] for number in range(len(items))]
