"""The crew of a run on Ray: starts actors, hands them errands, counts their rows, and replaces those that are lost.

It knows of the work only that it can be sent, and nothing of steps, columns or commits.
"""

from __future__ import annotations

import platform
import time
from collections import Counter as Tally
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import clipdata
from clipdata.engines.errands import Errand, Work
from clipdata.engines.packing import unpack_error
from clipdata.engines.ray_library import ray_library
from clipdata.engines.ray_worker import Answer, Counted, RayWorker
from clipdata.errors import TransientError, UsageError
from clipdata.progress import Counter, note

ATTEMPTS = 3
ASK_EVERY_S = 1.0
STOP_S = 30.0


@dataclass(frozen=True)
class Demand:
    """What is asked of the cluster.

    Args:
        workers: actors at most.
        cpus, gpus: of each.
        start_s: seconds to wait for the first one.
    """

    workers: int
    cpus: float
    gpus: float
    start_s: float

    def __str__(self) -> str:
        gpus = f" and {self.gpus:g} GPU" if self.gpus else ""
        return f"{self.cpus:g} CPU{gpus}"


@dataclass(eq=False)
class _Hand:
    """One actor, and the errand that it has."""

    actor: Any
    errand: Errand | None = None
    asked: Any = None  # reference of the answer to how far it is
    asked_s: float = field(default_factory=time.monotonic)


class Crew:
    """The actors of one run; close it, and they are gone.

    Args:
        demand: of the cluster.
        first: errand, taken from the others already.
        errands: the others, taken as actors get free.
        counter: told of rows as they are done.
        hint: what to do where actors keep ending.
    """

    def __init__(
        self, demand: Demand, first: Errand, errands: Iterator[Errand], counter: Counter, *, hint: str
    ) -> None:
        self._demand, self._errands, self._counter, self._hint = demand, errands, counter, hint
        self._waiting = deque([first])
        self._starting: dict[Any, _Hand] = {}
        self._idle: list[_Hand] = []
        self._busy: dict[Any, _Hand] = {}
        self._losses: Tally[int | None] = Tally()  # by errand; None is an actor that did not start
        self._counted: dict[int, Counted] = {}
        self._shared: tuple[Work, list[Any]] | None = None
        self._since_s = time.monotonic()

    def work(self) -> Iterator[tuple[Errand, Any]]:
        """Yield each errand with what came of it, until nothing is left."""
        ray = ray_library()

        while True:
            self._assign()
            if not self._busy and not self._waiting:
                return
            asked = [hand.asked for hand in self._busy.values() if hand.asked is not None]
            ready, _ = ray.wait([*self._busy, *self._starting, *asked], timeout=ASK_EVERY_S)
            for reference in ready:
                if reference in self._starting:
                    self._start(reference)
                elif reference in self._busy:
                    done = self._finish(reference)
                    if done is not None:
                        yield done
                else:
                    self._hear(reference)
            self._ask()
            self._give_up()

    def close(self) -> None:
        """Have those that work store what they hold, and end all of them."""
        ray = ray_library()

        if not ray.is_initialized():
            return
        for hand in self._busy.values():
            with suppress(ray.exceptions.RayError):
                hand.actor.stop.options(concurrency_group="asking").remote()
        with suppress(ray.exceptions.RayError):
            if self._busy:
                ray.wait(list(self._busy), num_returns=len(self._busy), timeout=STOP_S)
        for hand in [*self._busy.values(), *self._idle, *self._starting.values()]:
            ray.kill(hand.actor)

    def _assign(self) -> None:
        """Hand out errands, and start actors for those that nobody has."""
        while len(self._waiting) < self._demand.workers - len(self._busy):
            errand = next(self._errands, None)
            if errand is None:
                break
            self._waiting.append(errand)
        while self._waiting and self._idle:
            self._send(self._idle.pop(), self._waiting.popleft())
        while len(self._waiting) > len(self._starting) and len(self._hands) < self._demand.workers:
            self._recruit()

    @property
    def _hands(self) -> list[_Hand]:
        return [*self._starting.values(), *self._idle, *self._busy.values()]

    def _recruit(self) -> None:
        ray = ray_library()

        if not self._hands:
            self._since_s = time.monotonic()
        kind = ray.remote(
            num_cpus=self._demand.cpus,
            num_gpus=self._demand.gpus,
            max_restarts=0,
            max_task_retries=0,
            scheduling_strategy="SPREAD",
            concurrency_groups={"asking": 1},
        )(RayWorker)
        actor = kind.remote(max(int(self._demand.cpus), 1), self._demand.gpus > 0)
        self._starting[actor.begin.remote()] = _Hand(actor)

    def _start(self, reference: Any) -> None:
        """An actor has started, or cannot."""
        ray = ray_library()

        hand = self._starting.pop(reference)
        try:
            found = ray.get(reference)
        except ray.exceptions.RayError as error:
            self._lose(None, error)
            return
        expected = (clipdata.__version__, platform.python_version())
        if found != expected:
            ray.kill(hand.actor)
            raise UsageError(
                "a worker has clipdata {} on Python {}; expected {} on Python {}, as here".format(*found, *expected),
                hint="install the same packages on every machine of the cluster",
            )
        self._losses[None] = 0
        self._idle.append(hand)

    def _send(self, hand: _Hand, errand: Errand) -> None:
        hand.errand, hand.asked, hand.asked_s = errand, None, time.monotonic()
        shared = self._share(errand.work)
        self._busy[hand.actor.do.remote(shared, errand.number, errand.given, errand.again)] = hand

    def _share(self, work: Work) -> list[Any]:
        """The reference of what errands have in common; it is put into the cluster once."""
        if self._shared is None or self._shared[0] is not work:
            self._shared = work, [ray_library().put(work)]
        return self._shared[1]

    def _finish(self, reference: Any) -> tuple[Errand, Any] | None:
        """What came of an errand; None when its actor was lost.

        Raises:
            Whatever the worker raised.
        """
        ray = ray_library()

        hand = self._busy.pop(reference)
        errand, hand.errand, hand.asked = hand.errand, None, None
        assert errand is not None
        try:
            answer: Answer = ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            raise error.as_instanceof_cause() from error
        except ray.exceptions.RayError as error:
            ray.kill(hand.actor)  # it may only be out of reach
            self._waiting.appendleft(replace(errand, again=True))
            self._lose(errand, error)
            return None
        self._idle.append(hand)
        self._count(answer.counted)
        if answer.error is not None:
            raise unpack_error(answer.error)
        return errand, answer.value

    def _lose(self, errand: Errand | None, error: Exception) -> None:
        """An actor is gone; another takes its place, unless that was tried too often.

        Raises:
            TransientError: it was.
        """
        number = None if errand is None else errand.number
        self._losses[number] += 1
        self._since_s = time.monotonic()
        if self._losses[number] < ATTEMPTS:
            return
        what = "did not start" if errand is None else f"ended while they {errand.doing}"
        said = next((line for line in str(error).strip().splitlines()[::-1] if line.strip()), type(error).__name__)
        raise TransientError(
            f"{ATTEMPTS} workers {what}; the last one: {said.strip()[:300]}",
            hint=self._hint,
        ) from error

    def _ask(self) -> None:
        """Ask those that work how far they are, each once a while."""
        for hand in self._busy.values():
            if hand.asked is None and time.monotonic() - hand.asked_s >= ASK_EVERY_S:
                hand.asked = hand.actor.counted.options(concurrency_group="asking").remote()
                hand.asked_s = time.monotonic()
        note(self._counter, f"{len(self._busy)} workers")

    def _hear(self, reference: Any) -> None:
        ray = ray_library()

        with suppress(ray.exceptions.RayError):
            self._count(ray.get(reference))
        for hand in self._busy.values():
            if hand.asked == reference:
                hand.asked = None

    def _count(self, counted: Counted) -> None:
        """Count what is new; an errand that is begun again elsewhere does not count twice."""
        if counted.number is None:
            return
        before = self._counted.get(counted.number, Counted())
        if counted.rows > before.rows:
            self._counter.advance(counted.rows - before.rows)
        refused = dict(before.refused)
        for reason, num in counted.refused.items():
            if num > refused.get(reason, 0):
                self._counter.refuse(reason, num - refused.get(reason, 0))
                refused[reason] = num
        self._counted[counted.number] = Counted(counted.number, max(counted.rows, before.rows), refused)

    def _give_up(self) -> None:
        """Wait for a first actor no longer than is borne.

        Raises:
            UsageError: the cluster has no room for one.
        """
        if self._busy or self._idle or time.monotonic() - self._since_s < self._demand.start_s:
            return
        ray = ray_library()

        total = ray.cluster_resources()
        raise UsageError(
            f"no worker started within {self._demand.start_s:g} s: each asks for {self._demand}; the cluster has "
            f"{total.get('CPU', 0):g} CPU and {total.get('GPU', 0):g} GPU in all",
            hint="--engine-option gpus=0 asks for none (gpus=0); start_s=600 waits for a cluster that grows",
        )
