"""Working ahead of a consumer, in order and within bounds: one thread for what keeps state, several for what does not.

    prefetch      an iterator run in a thread of its own
    pushed        the same for a producer that hands over its items itself
    map_ordered   a function applied to many items at once

Both sides see plain iteration: an error is raised at its place in the order, and a consumer that stops ends the work.
It knows nothing of what the items are.
"""

from __future__ import annotations

import atexit
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, nullcontext, suppress
from typing import Any, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


def prefetch(
    source: Iterable[T],
    *,
    max_items: int | None = 2,
    cost: Callable[[T], int] | None = None,
    max_cost: int | None = None,
    last_wait_s: float | None = None,
) -> Generator[T, None, None]:
    """Yield the items of `source` in order while one background thread makes the next ones.

    The thread alone advances `source`, so that whatever it computes may keep state. Closing the generator ends the
    thread, which closes `source` if that is a generator.

    Args:
        source: advanced in the thread, from the first item that is asked for.
        max_items: most items that are made and not taken, beside the one at hand; None for no such bound.
        cost: of an item, for instance in bytes.
        max_cost: most cost of items that are made and not taken; one item alone may cost more.
        last_wait_s: how long to wait for the thread at the end; None for as long as it takes.

    Raises:
        Whatever `source` raised, after the items it gave before.
    """

    def produce(put: Callable[[T], None]) -> None:
        with closing(source) if isinstance(source, Generator) else nullcontext():
            for item in source:
                put(item)

    yield from pushed(produce, max_items=max_items, cost=cost, max_cost=max_cost, last_wait_s=last_wait_s)


def pushed(
    produce: Callable[[Callable[[T], None]], None],
    *,
    max_items: int | None = 2,
    cost: Callable[[T], int] | None = None,
    max_cost: int | None = None,
    last_wait_s: float | None = None,
) -> Generator[T, None, None]:
    """Yield in order what `produce` hands over, while it goes on in a background thread; see `prefetch`.

    Args:
        produce: called in the thread with a function that takes an item, waits until there is room for it, and raises
            when nobody wants the rest.
    """
    shelf: _Shelf[T] = _Shelf(max_items, cost or _nothing, max_cost)

    def run() -> None:
        fault: BaseException | None = None
        try:
            with suppress(_StoppedError):
                produce(shelf.put)
        except BaseException as error:
            fault = error
        shelf.end(fault)

    thread = threading.Thread(target=run, name="clipdata-prefetch", daemon=True)

    def stop() -> None:
        shelf.stop()
        thread.join(last_wait_s)

    # A daemon thread inside native code when the interpreter goes away aborts the process.
    atexit.register(stop)
    thread.start()
    try:
        while (entry := shelf.take()) is not None:
            yield entry[0]
    finally:
        atexit.unregister(stop)
        stop()


def map_ordered(
    function: Callable[[T], R],
    source: Iterable[T],
    *,
    num_threads: int = 4,
    pool: ThreadPoolExecutor | None = None,
    max_items: int | None = None,
    cost: Callable[[T], int] | None = None,
    max_cost: int | None = None,
) -> Generator[R, None, None]:
    """Yield `function(item)` of every item, in order, while the next ones are computed in threads.

    `source` is advanced in the caller's thread, as room is made. Closing the generator closes `source` if that is a
    generator, leaves out items that are not begun, and waits for those that are.

    Args:
        function: safe to call from several threads at once.
        num_threads: items under way at the same time.
        pool: where to compute instead; it stays open.
        max_items: most items begun and not taken; twice as many as there are threads by default.
        cost: of an item, for instance in bytes.
        max_cost: most cost of items begun and not taken; one item alone may cost more.

    Raises:
        Whatever `function` or `source` raised, after the results of the items before.
    """
    at_most = 2 * num_threads if max_items is None else max_items
    weigh = cost or _nothing
    waiting: deque[tuple[Future[R], int]] = deque()
    held = 0
    fault: Exception | None = None
    own = ThreadPoolExecutor(num_threads, thread_name_prefix="clipdata-map") if pool is None else None
    with own or nullcontext(pool) as threads, closing(source) if isinstance(source, Generator) else nullcontext():
        assert threads is not None
        items = iter(source)
        try:
            while True:
                try:
                    item = next(items)
                except StopIteration:
                    break
                except Exception as error:
                    fault = error
                    break
                weight = weigh(item)
                while waiting and (len(waiting) >= at_most or (max_cost is not None and held + weight > max_cost)):
                    future, freed = waiting.popleft()
                    held -= freed
                    yield future.result()
                waiting.append((threads.submit(function, item), weight))
                held += weight
            while waiting:
                yield waiting.popleft()[0].result()
            if fault is not None:
                raise fault
        finally:
            for future, _ in waiting:
                future.cancel()


class _StoppedError(Exception):
    """Nobody wants the rest."""


class _Shelf(Generic[T]):
    """Items between the thread that makes them and the one that takes them."""

    def __init__(self, max_items: int | None, cost: Callable[[T], int], max_cost: int | None) -> None:
        self._max_items, self._cost, self._max_cost = max_items, cost, max_cost
        self._entries: deque[tuple[T, int]] = deque()
        self._held = 0
        self._changed = threading.Condition()
        self._ended = self._stopped = False
        self._fault: BaseException | None = None

    def put(self, item: T) -> None:
        """Wait for room, and lay the item down.

        Raises:
            _StoppedError: nobody wants it.
        """
        weight = self._cost(item)
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._has_room(weight))
            if self._stopped:
                raise _StoppedError
            self._entries.append((item, weight))
            self._held += weight
            self._changed.notify_all()

    def _has_room(self, weight: int) -> bool:
        if not self._entries:
            return True
        full = self._max_items is not None and len(self._entries) >= self._max_items
        return not full and (self._max_cost is None or self._held + weight <= self._max_cost)

    def take(self) -> tuple[T] | None:
        """Wait for the next item; None at the end, or when another thread stopped the work.

        Raises:
            Whatever ended the producer, once all that came before is taken.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._stopped or bool(self._entries))
            if self._stopped:
                return None
            if self._entries:
                item, weight = self._entries.popleft()
                self._held -= weight
                self._changed.notify_all()
                return (item,)
            if self._fault is not None:
                raise self._fault
            return None

    def end(self, fault: BaseException | None) -> None:
        """Nothing more comes."""
        with self._changed:
            self._ended, self._fault = True, fault
            self._changed.notify_all()

    def stop(self) -> None:
        """Nobody wants what is left."""
        with self._changed:
            self._stopped = True
            self._entries.clear()
            self._changed.notify_all()


def _nothing(_: Any) -> int:
    return 0
