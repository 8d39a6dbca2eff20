"""Reading ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def prefetched(source: Iterable[A], prepare: Callable[[A], B], *, ahead: int = 2) -> Iterator[tuple[A, B]]:
    """Yield each element of `source` with what `prepare` made of it, while the next ones are read and prepared.

    `source` is advanced and `prepare` is called in one background thread, one element after the other, so that both may
    keep state. At most `ahead` prepared elements wait.

    Raises:
        Whatever `source` or `prepare` raised, at the element where it happened.
    """
    elements = iter(source)
    end = object()

    def step() -> tuple[A, B] | object:
        element = next(elements, end)
        return end if element is end else (element, prepare(element))  # type: ignore[arg-type]

    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="clipdata-prepare") as pool:
        waiting: deque[Future[tuple[A, B] | object]] = deque(pool.submit(step) for _ in range(ahead))
        try:
            while True:
                result = waiting.popleft().result()
                if result is end:
                    return
                waiting.append(pool.submit(step))
                yield result  # type: ignore[misc]
        finally:
            for future in waiting:
                future.cancel()
