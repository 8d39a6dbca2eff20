"""The Ray engine: work in pieces for actors on the machines of a cluster, each of which is sent once what all share.

What is done is recorded by whoever does it, just as in the local engine; so a job begun in one engine is finished in
the other. Ray decides where actors run. When one is lost, its piece is given to another, which finds what was stored of
it. It knows nothing of steps and sources but that they pickle.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from typing import Any

from clipdata.cores import num_cores
from clipdata.engines.errands import Errand
from clipdata.engines.filler import Filler, errands_of
from clipdata.engines.ray_crew import Crew, Demand
from clipdata.engines.ray_library import ray_library
from clipdata.engines.task import FragmentDone, FragmentTask
from clipdata.errors import NotFoundError, TransientError, UsageError
from clipdata.progress import Counter

_LOOPBACK = "127.0.0.1"
_QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}


@dataclass(frozen=True)
class RayEngine:
    """Fills fragments, and takes in rows, on a Ray cluster.

    Args:
        workers: actors at most; by default as many as the cluster has room for.
        gpus: of each actor, a part of one included; by default one where the step has a model and the cluster has GPUs,
            else none.
        cpus: of each actor.
        address: of the cluster, such as "auto" or "10.0.0.1:6379"; by default the one this program is connected to,
            that of `RAY_ADDRESS`, or one that runs on this machine; where there is none, one of this machine alone.
        start_s: how long to wait for the first actor, seconds; a cluster that grows on demand needs minutes.

    Raises:
        UsageError: a number is out of range.
    """

    workers: int | None = None
    gpus: float | None = None
    cpus: float = 1
    address: str | None = None
    start_s: float = 120.0

    def __post_init__(self) -> None:
        least = {"workers": 1, "gpus": 0, "cpus": 0, "start_s": 0}
        for name, bound in least.items():
            found = getattr(self, name)
            if found is not None and (isinstance(found, bool) or not isinstance(found, int | float) or found < bound):
                raise UsageError(f"ray: {name} is {found!r}; expected a number that is {bound} or more")

    def run(self, tasks: Iterable[FragmentTask], counter: Counter) -> Iterator[FragmentDone]:
        """Yield each fragment as soon as it is filled, in any order.

        Raises:
            Whatever a step or the storage raised in a worker; what the others hold is stored before.
            UsageError: Ray is not installed, or the cluster has no room for a single actor.
            TransientError: Ray did not start, or actors keep ending before they finish a fragment.
        """
        waiting = iter(tasks)
        first = next(waiting, None)
        if first is None:
            return
        hint = "is there memory for a batch of the step (--batch-size), and clipdata on every machine?"
        errands = errands_of(chain([first], waiting))
        for errand, filled in self.each(errands, counter, has_model=first.step.model is not None, hint=hint):
            assert isinstance(errand.work, Filler), "errands of tasks are a filler's"
            yield errand.work.add(filled)

    def each(
        self, errands: Iterable[Errand], counter: Counter, *, has_model: bool = False, hint: str
    ) -> Iterator[tuple[Errand, Any]]:
        """Have each errand done, and yield it with what came of it, in any order.

        Args:
            errands: taken one by one, as workers get free.
            counter: told of rows as they are done.
            has_model: whether a worker wants a GPU, where it was not said.
            hint: what may be wrong where workers keep ending.

        Raises:
            Whatever the work raised in a worker; the others end what they have first.
            UsageError: Ray is not installed, or the cluster has no room for a single actor.
            TransientError: Ray did not start, or actors keep ending before they finish an errand.
        """
        waiting = iter(errands)
        first = next(waiting, None)
        if first is None:
            return
        demand = self._demand(has_model)
        told = f"{hint} The same command goes on"
        with closing(Crew(demand, first, waiting, counter, hint=told)) as crew:
            yield from crew.work()

    def num_workers(self) -> int:
        """How many actors there will be at most; connects to the cluster.

        Raises:
            UsageError, NotFoundError, TransientError: see `connect`.
        """
        return self._demand(has_model=False).workers

    def _demand(self, has_model: bool) -> Demand:
        connect(self.address)
        nodes = _nodes()
        gpus = self.gpus
        if gpus is None:
            gpus = 1 if has_model and any(node.get("GPU") for node in nodes) else 0
        needs = {"CPU": float(self.cpus), "GPU": float(gpus)}
        room = sum(_room(node, needs) for node in nodes)
        return Demand(self.workers or max(room, 1), float(self.cpus), float(gpus), float(self.start_s))


def connect(address: str | None) -> None:
    """Connect this program to a cluster, unless it is connected already.

    Raises:
        UsageError: Ray is not installed.
        NotFoundError: there is no cluster at the address.
        TransientError: none runs here, and one of this machine alone did not start.
    """
    ray = ray_library()
    if ray.is_initialized():
        return
    address = address or os.environ.get("RAY_ADDRESS") or None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lance's of forks: those of Ray run a program of their own at once
        if address is not None:
            _connect_to(address)
            return
        try:
            ray.init(address="auto", **_QUIET)
        except ConnectionError:  # no cluster runs here
            _begin_alone()


def _begin_alone() -> None:
    """A cluster of this machine alone, which ends with the program.

    Raises:
        TransientError: its processes did not start in time.
    """
    ray = ray_library()

    alone = {"num_cpus": num_cores(), "include_dashboard": False, "_node_ip_address": _LOOPBACK}
    try:
        ray.init(address="local", **alone, **_QUIET)
    except Exception as error:  # Ray has no class of its own for it
        ray.shutdown()
        raise TransientError(
            f"Ray did not start on this machine: {str(error).splitlines()[0]}",
            hint="is the machine busy? The same command may work later; --engine local needs no Ray",
        ) from error


def _connect_to(address: str) -> None:
    ray = ray_library()

    try:
        ray.init(address=address, **_QUIET)
    except (ConnectionError, ValueError) as error:
        raise NotFoundError(
            f"no Ray cluster answers at {address}: {str(error).splitlines()[0]}",
            hint="ray start --head begins one; leave address out for one of this machine alone",
        ) from error


def _nodes() -> list[Mapping[str, float]]:
    ray = ray_library()

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _room(node: Mapping[str, float], needs: Mapping[str, float]) -> int:
    """How many actors fit on a machine."""
    return int(min((node.get(name, 0.0) // need for name, need in needs.items() if need), default=num_cores()))
