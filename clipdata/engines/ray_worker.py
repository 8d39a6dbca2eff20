"""A worker of the Ray engine: an actor that loads the step once, and fills one fragment after the other with it.

It says how far it is when asked, and stores what it holds when told to stop. It commits nothing, knows no other worker,
and logs nothing: what it is given may hold keys of a store.
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
from clipdata.engines.fill import fill
from clipdata.engines.packing import pack_error, unpack
from clipdata.engines.ray_library import ray_library
from clipdata.engines.task import FragmentDone, FragmentTask
from clipdata.lance_io.filling import Filling
from clipdata.step_protocol import Step


@dataclass(frozen=True)
class Errand:
    """A FragmentTask without what all tasks share; fields as there."""

    fragment_id: int
    batch_rows: int
    limit: int
    checkpoint_every_s: float
    checkpoint_bytes: int

    @classmethod
    def of(cls, task: FragmentTask) -> Errand:
        """What is of this task alone."""
        return cls(task.fragment_id, task.batch_rows, task.limit, task.checkpoint_every_s, task.checkpoint_bytes)


@dataclass(frozen=True)
class Counted:
    """How far a fragment is.

    Args:
        fragment_id: None when the worker has not begun with one.
        rows: that were computed, or found stored.
        refused: reason → rows.
    """

    fragment_id: int | None = None
    rows: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """What came of an errand.

    Args:
        done: the fragment, or None when an error ended the work.
        error: packed.
        counted: of all of it.
        tally: what the step counted since the answer before.
    """

    done: FragmentDone | None
    error: bytes | None
    counted: Counted
    tally: Mapping[str, int] = field(default_factory=dict)


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
        self._step: Step | None = None
        self._filling: Filling | None = None
        self._counts = _Counts()
        self._told: Tally[str] = Tally()

    def begin(self) -> tuple[str, str]:
        """Versions of clipdata and of Python; the answer says that the worker has started."""
        return clipdata.__version__, platform.python_version()

    def fill(self, shared: list[Any], errand: Errand) -> Answer:
        """Fill one fragment.

        Args:
            shared: the reference of a packed step and a Filling; in a list, so that Ray does not load it each time.
        """
        self._counts.start(errand.fragment_id)
        try:
            self._load(shared[0])
            assert self._step is not None
            assert self._filling is not None
            done = fill(FragmentTask(self._filling, self._step, **vars(errand)), self._counts)
        except BaseException as error:  # as a value, or Ray would wrap it, and write it into its log
            return Answer(None, pack_error(error), self._counts.now())
        return Answer(done, None, self._counts.now(), self._tally())

    def counted(self) -> Counted:
        """How far the fragment under way is."""
        return self._counts.now()

    def stop(self) -> None:
        """Have the work end at the next batch; what is held is stored."""
        self._counts.stop()

    def _load(self, reference: Any) -> None:
        if reference == self._reference:
            return
        ray = ray_library()

        packed, self._filling = ray.get(reference)
        self._step, self._told = unpack(packed), Tally()
        self._reference = reference

    def _tally(self) -> dict[str, int]:
        tally = getattr(self._step, "tally", None)
        now = Tally(tally()) if callable(tally) else Tally()
        new = {name: count - self._told[name] for name, count in now.items()}
        self._told = now
        return new


class _Counts:
    """The Counter of the fragment under way; another thread reads it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._fragment_id: int | None = None
        self._rows = 0
        self._refused: Tally[str] = Tally()
        self._stopped = False

    def start(self, fragment_id: int) -> None:
        with self._lock:
            self._fragment_id, self._rows, self._refused = fragment_id, 0, Tally()

    def stop(self) -> None:
        self._stopped = True

    def now(self) -> Counted:
        with self._lock:
            return Counted(self._fragment_id, self._rows, dict(self._refused))

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
