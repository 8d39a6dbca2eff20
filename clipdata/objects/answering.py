"""Answering: the first request to a store, given up after half a minute where nobody answers.

A wrong endpoint or a firewall that swallows packets does not refuse, it is silent, and the stores' clients wait for it
in loops within loops: measured with their own limits set to seconds, Lance waits four minutes and s3fs more than two.
So the call runs in a thread that is left behind when its time is up. It knows time, and nothing of what is asked.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from clipdata.errors import NoAnswerError
from clipdata.storage import Storage, is_remote, redact

T = TypeVar("T")
SAID_AFTER_S = 3.0
LOG = logging.getLogger("clipdata")


def answered(ask: Callable[[], T], storage: Storage, uri: str, doing: str) -> T:
    """Make a first request; a local one just so, one to a store no longer than `connect_timeout` allows.

    After three seconds it is logged, as a warning, that the store is waited for.

    Args:
        ask: the request.
        storage: how the store is reached.
        uri: of what is asked for.
        doing: what is done to it, as in "opening".

    Raises:
        NoAnswerError: no answer came in time; it names the endpoint and what to check.
    """
    if not is_remote(uri):
        return ask()
    asking = _Asking(ask)
    asking.start()
    limit_s, place = storage.connect_timeout_s, storage.endpoint_of(uri)
    asking.join(min(SAID_AFTER_S, limit_s))
    if asking.is_alive() and limit_s > SAID_AFTER_S:
        LOG.warning("connecting to %s … (giving up after %.3g s)", place, limit_s)
        asking.join(limit_s - SAID_AFTER_S)
    if asking.is_alive():
        raise NoAnswerError(
            f"{doing} {redact(uri)}: {place} gave no answer in {limit_s:,.3g} s",
            hint="check the endpoint (--storage-option endpoint=…), the network, a firewall and https_proxy; "
            "for a slow store: --storage-option connect_timeout=2m",
        )
    return asking.outcome()


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
