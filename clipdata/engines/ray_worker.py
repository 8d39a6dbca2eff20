"""A worker of the Ray engine: an actor that is sent the work once, and does one errand of it after the other.

It says how far it is when asked, and ends an errand early when told to stop. It knows no other worker, and logs
nothing: what it is given may hold keys of a store.
"""

from __future__ import annotations

import os
import platform
import threading
from collections import Counter as Tally
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import clipdata
from clipdata.cores import SHARE
from clipdata.engines.errands import Work
from clipdata.engines.packing import pack_error
from clipdata.engines.ray_library import ray_library


@dataclass(frozen=True)
class Counted:
    """How far an errand is.

    Args:
        number: of the errand; None when the worker has not begun with one.
        rows: that are done.
        refused: reason → rows.
    """

    number: int | None = None
    rows: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """What came of an errand.

    Args:
        value: what the work gave, or None when an error ended it.
        error: packed.
        counted: of all of it.
    """

    value: Any
    error: bytes | None
    counted: Counted


class Stopped(BaseException):
    """The driver ends the work."""


class RayWorker:
    """What one actor holds.

    Args:
        cores: that it may use; what decodes pictures makes no more threads.
        has_gpu: whether it was given one; without, it does not look for any.
    """

    def __init__(self, cores: int, has_gpu: bool) -> None:
        os.environ[SHARE] = str(cores)
        if not has_gpu:
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        self._reference: Any = None
        self._work: Work | None = None
        self._counts = _Counts()

    def begin(self) -> tuple[str, str]:
        """Versions of clipdata and of Python; the answer says that the worker has started."""
        return clipdata.__version__, platform.python_version()

    def do(self, shared: list[Any], number: int, given: Any, again: bool) -> Answer:
        """Do one errand.

        Args:
            shared: the reference of the work; in a list, so that Ray does not load it each time.
            number: of the errand.
            given: what it is about.
            again: whether a worker that had it was lost.
        """
        self._counts.start(number)
        try:
            value = self._loaded(shared[0]).do(given, self._counts, again=again)
        except BaseException as error:  # as a value, or Ray would wrap it, and write it into its log
            return Answer(None, pack_error(error), self._counts.now())
        return Answer(value, None, self._counts.now())

    def counted(self) -> Counted:
        """How far the errand under way is."""
        return self._counts.now()

    def stop(self) -> None:
        """Have the work end when it counts next; what it does at its end is its own matter."""
        self._counts.stop()

    def _loaded(self, reference: Any) -> Work:
        if self._work is None or reference != self._reference:
            self._work, self._reference = ray_library().get(reference), reference
        return self._work


class _Counts:
    """The Counter of the errand under way; another thread reads it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._number: int | None = None
        self._rows = 0
        self._refused: Tally[str] = Tally()
        self._stopped = False

    def start(self, number: int) -> None:
        with self._lock:
            self._number, self._rows, self._refused = number, 0, Tally()

    def stop(self) -> None:
        self._stopped = True

    def now(self) -> Counted:
        with self._lock:
            return Counted(self._number, self._rows, dict(self._refused))

    def advance(self, num: int = 1) -> None:
        """Count; raises `Stopped` once nobody wants the rest."""
        with self._lock:
            self._rows += num
        if self._stopped:
            raise Stopped

    def refuse(self, reason: str, num: int = 1) -> None:
        """Count by reason."""
        with self._lock:
            self._refused[reason] += num
