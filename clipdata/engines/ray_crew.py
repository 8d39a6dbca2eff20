"""The crew of a run on Ray: starts actors, hands them fragments, counts their rows, and replaces those that are lost.

It knows of a step only that it can be packed, and nothing of columns or commits.
"""

from __future__ import annotations

import platform
import time
from collections import Counter as Tally
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import clipdata
from clipdata.engines.packing import pack, unpack_error
from clipdata.engines.ray_library import ray_library
from clipdata.engines.ray_worker import Answer, Counted, Errand, RayWorker
from clipdata.engines.task import FragmentDone, FragmentTask
from clipdata.errors import TransientError, UsageError
from clipdata.lance_io.filling import Filling
from clipdata.progress import Counter, note
from clipdata.step_protocol import Step

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
    """One actor, and the fragment that it has."""

    actor: Any
    task: FragmentTask | None = None
    asked: Any = None  # reference of the answer to how far it is
    asked_s: float = field(default_factory=time.monotonic)


class Crew:
    """The actors of one run; close it, and they are gone.

    Args:
        demand: of the cluster.
        first: task, taken from the others already.
        tasks: the others, taken as actors get free.
        counter: told of rows as they are computed.
    """

    def __init__(self, demand: Demand, first: FragmentTask, tasks: Iterator[FragmentTask], counter: Counter) -> None:
        self._demand, self._tasks, self._counter = demand, tasks, counter
        self._waiting = deque([first])
        self._starting: dict[Any, _Hand] = {}
        self._idle: list[_Hand] = []
        self._busy: dict[Any, _Hand] = {}
        self._losses: Tally[int | None] = Tally()  # by fragment; None is an actor that did not start
        self._counted: dict[int, Counted] = {}
        self._shared: tuple[Step, Filling, list[Any]] | None = None
        self._since_s = time.monotonic()

    def work(self) -> Iterator[FragmentDone]:
        """Yield what was filled, until nothing is left."""
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
        """Hand out fragments, and start actors for those that nobody has."""
        while len(self._waiting) < self._demand.workers - len(self._busy):
            task = next(self._tasks, None)
            if task is None:
                break
            self._waiting.append(task)
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

    def _send(self, hand: _Hand, task: FragmentTask) -> None:
        hand.task, hand.asked, hand.asked_s = task, None, time.monotonic()
        self._busy[hand.actor.fill.remote(self._share(task), Errand.of(task))] = hand

    def _share(self, task: FragmentTask) -> list[Any]:
        """The reference of what tasks have in common; it is put into the cluster once."""
        ray = ray_library()

        if self._shared is None or self._shared[0] is not task.step or self._shared[1] is not task.filling:
            self._shared = task.step, task.filling, [ray.put((pack(task.step), task.filling))]
        return self._shared[2]

    def _finish(self, reference: Any) -> FragmentDone | None:
        """What came of a fragment; None when its actor was lost.

        Raises:
            Whatever the worker raised.
        """
        ray = ray_library()

        hand = self._busy.pop(reference)
        task, hand.task, hand.asked = hand.task, None, None
        assert task is not None
        try:
            answer: Answer = ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            raise error.as_instanceof_cause() from error
        except ray.exceptions.RayError as error:
            ray.kill(hand.actor)  # it may only be out of reach
            self._waiting.appendleft(task)
            self._lose(task.fragment_id, error)
            return None
        self._idle.append(hand)
        self._count(answer.counted)
        if answer.error is not None:
            raise unpack_error(answer.error)
        assert answer.done is not None
        return FragmentDone(answer.done.fragment_id, answer.done.finished, _notes(task.step, answer), answer.done.cost)

    def _lose(self, fragment_id: int | None, error: Exception) -> None:
        """An actor is gone; another takes its place, unless that was tried too often.

        Raises:
            TransientError: it was.
        """
        self._losses[fragment_id] += 1
        self._since_s = time.monotonic()
        if self._losses[fragment_id] < ATTEMPTS:
            return
        what = "did not start" if fragment_id is None else f"ended while they filled fragment {fragment_id}"
        said = next((line for line in str(error).strip().splitlines()[::-1] if line.strip()), type(error).__name__)
        raise TransientError(
            f"{ATTEMPTS} workers {what}; the last one: {said.strip()[:300]}",
            hint="is there memory for a batch of the step (--batch-size), and clipdata on every machine? The same "
            "command goes on",
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
        """Count what is new; a fragment that is begun again elsewhere does not count twice."""
        if counted.fragment_id is None:
            return
        before = self._counted.get(counted.fragment_id, Counted())
        if counted.rows > before.rows:
            self._counter.advance(counted.rows - before.rows)
        refused = dict(before.refused)
        for reason, num in counted.refused.items():
            if num > refused.get(reason, 0):
                self._counter.refuse(reason, num - refused.get(reason, 0))
                refused[reason] = num
        self._counted[counted.fragment_id] = Counted(counted.fragment_id, max(counted.rows, before.rows), refused)

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


def _notes(step: Step, answer: Answer) -> dict[str, object]:
    """The notes of all workers together, where the step can count them together; else those of the last one."""
    assert answer.done is not None
    add, told = getattr(step, "add", None), getattr(step, "notes", None)
    if not answer.tally or not callable(add) or not callable(told):
        return dict(answer.done.notes)
    add(answer.tally)
    return dict(told())
