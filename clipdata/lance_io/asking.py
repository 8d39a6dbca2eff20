"""Many small questions to a store at once, one of each fragment: what waits for an answer costs nothing but time.

It knows nothing of what is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from clipdata.prefetch import map_ordered

T = TypeVar("T")
R = TypeVar("R")

AT_ONCE = 16
_FEW = 4


def at_once(ask: Callable[[T], R], of: Sequence[T]) -> Iterator[R]:
    """Yield the answers in order; as many as `AT_ONCE` are waited for at a time.

    Args:
        ask: safe to call from several threads at once.

    Raises:
        Whatever `ask` raised, after the answers before.
    """
    if len(of) <= _FEW:
        yield from map(ask, of)
    else:
        yield from map_ordered(ask, of, num_threads=AT_ONCE)
