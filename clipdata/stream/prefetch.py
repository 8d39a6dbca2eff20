"""An iterator run ahead of its consumer in a thread. Knows nothing of what the items are."""

from __future__ import annotations

import atexit
import queue
import threading
from collections.abc import Generator, Iterator
from contextlib import closing, nullcontext, suppress
from typing import Generic, TypeVar

T = TypeVar("T")

_POLL_S = 0.1  # how soon a side that waits for the other notices that there is no more to wait for


def prefetched(items: Iterator[T], depth: int) -> Generator[T, None, None]:
    """Yield the items in order while a thread makes the next `depth` of them.

    An error in the thread is raised here, at its place in the order. Closing the generator ends the thread, which then
    closes `items` if that is a generator.
    """
    ahead = _Ahead(items, depth)
    # A daemon thread inside native code when the interpreter goes away aborts the process.
    atexit.register(ahead.stop)
    try:
        while (entry := ahead.get()) is not _End:
            if isinstance(entry, BaseException):
                raise entry
            yield entry  # type: ignore[misc]
    finally:
        atexit.unregister(ahead.stop)
        ahead.stop()


class _End:
    """Marks the end of the items."""


class _Ahead(Generic[T]):
    """The thread, and the queue between it and the consumer."""

    def __init__(self, items: Iterator[T], depth: int) -> None:
        self._items = items
        self._ready: queue.Queue[T | BaseException | type[_End]] = queue.Queue(depth)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="clipdata-prefetch", daemon=True)
        self._thread.start()

    def get(self) -> T | BaseException | type[_End]:
        """Wait for the next item. It ends when the interpreter does, which calls `stop` from another thread."""
        while not self._stopped.is_set():
            with suppress(queue.Empty):
                return self._ready.get(timeout=_POLL_S)
        return _End

    def stop(self) -> None:
        """End the thread and wait for it."""
        self._stopped.set()
        self._thread.join()

    def _put(self, entry: T | BaseException | type[_End]) -> None:
        while not self._stopped.is_set():
            with suppress(queue.Full):
                self._ready.put(entry, timeout=_POLL_S)
                return

    def _run(self) -> None:
        last: BaseException | type[_End] = _End
        try:
            with closing(self._items) if isinstance(self._items, Generator) else nullcontext():
                for item in self._items:
                    self._put(item)
                    if self._stopped.is_set():
                        break
        except BaseException as error:
            last = error
        self._put(last)
