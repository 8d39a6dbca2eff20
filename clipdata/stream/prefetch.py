"""An iterator run ahead of its consumer in a thread. Knows nothing of what the items are."""

from __future__ import annotations

import atexit
import queue
import threading
from collections.abc import Generator, Iterator
from contextlib import closing, nullcontext, suppress
from typing import TypeVar

T = TypeVar("T")

_POLL_S = 0.1  # how soon a thread that waits for room notices that nobody wants the rest


class _End:
    """Marks the end of the items."""


def prefetched(items: Iterator[T], depth: int) -> Generator[T, None, None]:
    """Yield the items in order while a thread makes the next `depth` of them.

    An error in the thread is raised here, at its place in the order. Closing the generator ends the thread, which then
    closes `items` if that is a generator.
    """
    ready: queue.Queue[T | BaseException | type[_End]] = queue.Queue(depth)
    stopped = threading.Event()

    def put(entry: T | BaseException | type[_End]) -> None:
        while not stopped.is_set():
            with suppress(queue.Full):
                ready.put(entry, timeout=_POLL_S)
                return

    def get() -> T | BaseException | type[_End]:
        # `stop` may be called while this waits in another thread, when the interpreter ends.
        while not stopped.is_set():
            with suppress(queue.Empty):
                return ready.get(timeout=_POLL_S)
        return _End

    def run() -> None:
        last: BaseException | type[_End] = _End
        try:
            with closing(items) if isinstance(items, Generator) else nullcontext():
                for item in items:
                    put(item)
                    if stopped.is_set():
                        break
        except BaseException as error:
            last = error
        put(last)

    thread = threading.Thread(target=run, name="clipdata-prefetch", daemon=True)

    def stop() -> None:
        stopped.set()
        thread.join()

    # A daemon thread inside native code when the interpreter goes away aborts the process.
    atexit.register(stop)
    thread.start()
    try:
        while (entry := get()) is not _End:
            if isinstance(entry, BaseException):
                raise entry
            yield entry  # type: ignore[misc]
    finally:
        atexit.unregister(stop)
        stop()
