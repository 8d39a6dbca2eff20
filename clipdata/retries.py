"""Retries: one policy for everything that is tried again: which errors, how often, and how long between two tries.

    store = Policy(attempts=6, again=lambda error: isinstance(error, ConnectionError))
    rows = call(store, read)                        a function
    body = await call_async(store, fetch)           a coroutine
    yield from resumed(store, samples_from)         a sequence, from the element at which it broke

What is tried must be safe to repeat after it has in fact succeeded. This module knows time and chance, and no error.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


def _any_error(_: Exception) -> bool:
    return True


def _no_request(_: Exception) -> float | None:
    return None


@dataclass(frozen=True)
class Policy:
    """How often and how long to try.

    Args:
        attempts: tries in all, the first included.
        base_delay_s: before the second try; doubles each time.
        cap_s: longest wait between two tries.
        jitter: share by which chance makes a wait shorter or longer, so that what failed together parts.
        give_up_s: after the first failure no try begins later than this; None for no such limit.
        again: tells whether an error is worth another try.
        retry_after: the wait in seconds that an error itself asks for; None where it asks for none.
        longest_asked_s: an error that asks to wait longer is not tried again.
    """

    attempts: int = 6
    base_delay_s: float = 0.25
    cap_s: float = 8.0
    jitter: float = 0.5
    give_up_s: float | None = None
    again: Callable[[Exception], bool] = _any_error
    retry_after: Callable[[Exception], float | None] = _no_request
    longest_asked_s: float = 60.0

    def __post_init__(self) -> None:
        assert self.attempts >= 1, "there is at least one try"
        assert 0 <= self.jitter < 1, "a wait stays above zero"


class _Tries:
    """The tries of one piece of work."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._number = 0
        self._failed_at_s: float | None = None

    def wait_after(self, error: Exception) -> float | None:
        """Seconds until the next try; None when the error is final."""
        policy, now_s = self._policy, time.monotonic()
        self._number += 1
        self._failed_at_s = now_s if self._failed_at_s is None else self._failed_at_s
        if self._number >= policy.attempts or not policy.again(error):
            return None
        asked_s = policy.retry_after(error)
        if asked_s is not None and asked_s > policy.longest_asked_s:
            return None
        wait_s = asked_s if asked_s is not None else self._backoff_s()
        late = policy.give_up_s is not None and now_s + wait_s - self._failed_at_s > policy.give_up_s
        return None if late else wait_s

    def _backoff_s(self) -> float:
        policy = self._policy
        doubled_s = min(policy.base_delay_s * 2.0 ** (self._number - 1), policy.cap_s)
        return doubled_s * (1 + policy.jitter * random.uniform(-1, 1))  # noqa: S311 - chance, not secrecy


def call(policy: Policy, attempt: Callable[[], T]) -> T:
    """Call until it works.

    Raises:
        Whatever the last try raised.
    """
    tries = _Tries(policy)
    while True:
        try:
            return attempt()
        except Exception as error:
            wait_s = tries.wait_after(error)
            if wait_s is None:
                raise
        time.sleep(wait_s)


async def call_async(policy: Policy, attempt: Callable[[], Awaitable[T]]) -> T:
    """Await until it works; the event loop is free between two tries.

    Raises:
        Whatever the last try raised.
    """
    tries = _Tries(policy)
    while True:
        try:
            return await attempt()
        except Exception as error:
            wait_s = tries.wait_after(error)
            if wait_s is None:
                raise
        await asyncio.sleep(wait_s)


def resumed(policy: Policy, begin: Callable[[int], Iterator[T]]) -> Iterator[T]:
    """Yield a sequence that may break in the middle, each element once.

    Args:
        begin: starts the sequence anew, without its first so many elements.

    Raises:
        Whatever the last try raised, after the elements that came.
    """
    tries = _Tries(policy)
    num_done = 0
    while True:
        try:
            for element in begin(num_done):
                num_done += 1
                yield element
            return
        except Exception as error:
            wait_s = tries.wait_after(error)
            if wait_s is None:
                raise
        time.sleep(wait_s)
