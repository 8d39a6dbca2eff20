"""Answering: the first request to a store, given up after half a minute where nobody answers.

A wrong endpoint or a firewall that swallows packets does not refuse, it is silent, and the stores' clients wait for it
in loops within loops: measured with their own limits set to seconds, Lance waits four minutes and s3fs more than two.
So the call runs in a thread that is left behind when its time is up. It knows time, and nothing of what is asked.
"""

from __future__ import annotations

import functools
import inspect
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Generic, TypeVar

from clipdata.errors import NoAnswerError

T = TypeVar("T")
SAID_AFTER_S = 3.0
_HEARD = "_clipdata_heard"
_SHORT = frozenset({"call", "call_s3", "exists", "info", "isdir", "isfile", "ls", "metadata", "size"})
LOG = logging.getLogger("clipdata")
_waited_for: set[str] = set()


def answered(ask: Callable[[], T], doing: str, place: str, limit_s: float) -> T:
    """Make a request that takes no longer than a limit. After three seconds it is logged for whom one waits, once.

    Args:
        ask: the request.
        doing: what is done, as in "opening gs://bucket/table".
        place: who shall answer.
        limit_s: how long to wait.

    Raises:
        NoAnswerError: no answer came in time; it names the place and what to check.
    """
    asking = _Asking(ask)
    asking.start()
    asking.join(min(SAID_AFTER_S, limit_s))
    if asking.is_alive() and limit_s > SAID_AFTER_S:
        if place not in _waited_for:
            LOG.warning("connecting to %s … (giving up after %.3g s)", place, limit_s)
        _waited_for.add(place)
        asking.join(limit_s - SAID_AFTER_S)
    if asking.is_alive():
        raise NoAnswerError(
            f"{doing}: {place} gave no answer in {limit_s:,.3g} s",
            hint="check the endpoint (--storage-option endpoint=…), the network, a firewall and https_proxy; "
            "for a slow store: --storage-option connect_timeout=2m",
        )
    outcome = asking.outcome()
    _waited_for.discard(place)  # it answered: when it falls silent again, that is news
    return outcome


def limited(ask: Callable[[], T], doing: str, limit_s: float) -> T:
    """Make a request that may take its time, but not for ever.

    Args:
        ask: the request.
        doing: what is done, as in "reading gs://bucket/table".
        limit_s: how long to wait.

    Raises:
        NoAnswerError: it took longer.
    """
    asking = _Asking(ask)
    asking.start()
    asking.join(limit_s)
    if asking.is_alive():
        raise NoAnswerError(
            f"{doing}: the store has been silent for {limit_s:,.3g} s", hint="look whether it and the network are there"
        )
    return asking.outcome()


def guard(filesystem: Any, wait: Callable[[Callable[[], Any]], Any]) -> None:
    """Have a filesystem of fsspec make its requests through `wait`, until one of them was answered.

    Args:
        filesystem: one of those whose methods are coroutines run on fsspec's loop; it is kept and shared by fsspec.
        wait: calls what it is given, such as `answered` with all else filled in.
    """
    if _HEARD in vars(filesystem):
        return
    setattr(filesystem, _HEARD, False)
    for name in dir(filesystem):
        # What fsspec makes of a coroutine, in the class or for each filesystem, still says which one.
        coroutine = getattr(inspect.getattr_static(filesystem, name, None), "__wrapped__", None)
        if not name.startswith("_") and inspect.iscoroutinefunction(coroutine):
            setattr(filesystem, name, _guarded(filesystem, name, wait))


def _guarded(filesystem: Any, name: str, wait: Callable[[Callable[[], Any]], Any]) -> Callable[..., Any]:
    method, exists = getattr(filesystem, name), filesystem.exists

    @functools.wraps(method)
    def call(*given: Any, **named: Any) -> Any:
        if not getattr(filesystem, _HEARD) and name in _SHORT:
            answer = wait(lambda: method(*given, **named))
            setattr(filesystem, _HEARD, True)
            return answer
        if not getattr(filesystem, _HEARD) and given and isinstance(given[0], str):
            # What takes its time, such as a long list, is preceded by a short question; a refusal is an answer too.
            wait(lambda: _whatever_comes(lambda: exists(given[0])))
            setattr(filesystem, _HEARD, True)
        return method(*given, **named)

    return call


def _whatever_comes(ask: Callable[[], Any]) -> None:
    with suppress(Exception):  # the request that follows meets it again, and tells it
        ask()


class _Asking(threading.Thread, Generic[T]):
    """One call in a thread of its own, which ends with the process."""

    def __init__(self, ask: Callable[[], T]) -> None:
        super().__init__(name="clipdata asking a store", daemon=True)
        self._ask = ask
        self._values: list[T] = []
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._values.append(self._ask())
        except BaseException as error:
            self._error = error

    def outcome(self) -> T:
        if self._error is not None:
            raise self._error
        return self._values[0]
