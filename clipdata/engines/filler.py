"""The work of a map for workers on other machines: a step and a filling, sent once; an errand is one fragment.

What is computed is recorded beside the table by whoever computes it, as in the local engine. It commits nothing.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from clipdata.engines.errands import Errand
from clipdata.engines.fill import fill
from clipdata.engines.packing import Unsendable, pack, unpack
from clipdata.engines.task import FragmentDone, FragmentTask
from clipdata.errors import StepError
from clipdata.lance_io.filling import Filling
from clipdata.progress import Counter
from clipdata.step_protocol import BaseStep, Step

_SHARED = ("filling", "step")


@dataclass(frozen=True)
class Filled:
    """A fragment that a worker filled.

    Args:
        done: what the task asks for.
        tally: what the step counted since the answer before; None for a step that counts nothing of its own.
    """

    done: FragmentDone
    tally: Mapping[str, int] | None = None


class Filler:
    """What the tasks of one round have in common.

    Args:
        step: makes the values.
        filling: the table and the column.

    Raises:
        StepError: the step holds what cannot be sent, such as an open file.
    """

    def __init__(self, step: Step, filling: Filling) -> None:
        self.step, self.filling = step, filling
        try:
            self._packed = pack(step)
        except Unsendable as error:
            raise StepError(
                f"step {step.name} cannot be sent to a worker: {error}",
                hint="make what cannot be pickled (open files, connections, locks) inside the step, on its first rows",
            ) from error
        self._told: Tally[str] = Tally()

    def __getstate__(self) -> dict[str, Any]:
        return {"_packed": self._packed, "filling": self.filling}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _told=Tally(), step=unpack(state["_packed"]))

    def do(self, given: Mapping[str, Any], counter: Counter, *, again: bool) -> Filled:
        """Fill one fragment; one that was begun before goes on from what is stored of it.

        Args:
            given: a task without what all tasks share.
        """
        done = fill(FragmentTask(self.filling, self.step, **given), counter)
        return Filled(done, self._tally())

    def add(self, filled: Filled) -> FragmentDone:
        """The fragment with the notes of all workers together, where the step can count them together.

        Else they are those of the last one. It is called where the tasks come from.
        """
        done = filled.done
        add, told = getattr(self.step, "add", None), getattr(self.step, "notes", None)
        if filled.tally is None or not callable(add) or not callable(told):
            return done
        add(Tally(filled.tally))  # what is not in it did not change
        return FragmentDone(done.fragment_id, done.finished, dict(told()), done.cost)

    def _tally(self) -> dict[str, int] | None:
        """What was counted since the answer before, under names whose count changed."""
        tally = getattr(self.step, "tally", None)
        if not callable(tally) or getattr(type(self.step), "tally", None) is BaseStep.tally:
            return None
        now = Tally(tally())
        new = {name: count - self._told[name] for name, count in now.items() if count != self._told[name]}
        self._told = now
        return new


def errands_of(tasks: Iterable[FragmentTask]) -> Iterator[Errand]:
    """Tasks as errands; those of one step and filling have one work."""
    work: Filler | None = None
    for task in tasks:
        if work is None or work.step is not task.step or work.filling is not task.filling:
            work = Filler(task.step, task.filling)
        given = {one.name: getattr(task, one.name) for one in fields(task) if one.name not in _SHARED}
        yield Errand(task.fragment_id, given, work, f"filled fragment {task.fragment_id}")
