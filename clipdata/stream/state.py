"""State: where a stream stands and what its order depends on, checked when it is loaded, and merged of several.

A state names no rank and no worker: any of them may load it, in any number. Of what it is about it holds the table, its
version and files, the filter and the plan. It knows dicts, and neither tables nor batches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clipdata.errors import ConfigError, UsageError
from clipdata.stream.plan import ORDER_VERSION, Cursor, Plan
from clipdata.stream.position import Lane

_OTHER = "stream state of another stream"
_TOGETHER = "stream states that do not make one"


@dataclass(frozen=True)
class State:
    """A state that was read.

    Args:
        cursor: the next batch, or the next of single rows.
        lane: of a state of one worker alone.
        identity: what the order depends on; empty when only a place was given.
    """

    cursor: Cursor
    lane: Lane | None
    identity: Mapping[str, Any]

    @classmethod
    def read(cls, found: Any) -> State:
        """Read what `state_dict` returned, or a place alone.

        Raises:
            UsageError: it is something else.
            ConfigError: it stands at no place.
        """
        if not isinstance(found, Mapping) or not {"epoch", "batch"} <= found.keys():
            whole = isinstance(found, Mapping) and bool({"_snapshot", "dataset_state"} & found.keys())
            raise UsageError(
                f"{found!r:.80} is no state of a stream; expected what state_dict() returned",
                hint="the state of a loader becomes one: Stream.merge_states([state])"
                if whole
                else 'a place alone will do: {"epoch": 0, "batch": 12}',
            )
        cursor = checked_cursor(found["epoch"], found["batch"])
        lane = found.get("lane")
        if lane is not None and not (isinstance(lane, list | tuple) and [type(part) for part in lane] == [int, int]):
            raise UsageError(f"the state's lane is {lane!r:.80}; expected [workers, epoch]")
        identity = {name: value for name, value in found.items() if name not in ("epoch", "batch", "lane")}
        return cls(cursor, (lane[0], lane[1]) if lane is not None else None, identity)

    def written(self) -> dict[str, Any]:
        """What `read` reads."""
        state = {"epoch": self.cursor.epoch, "batch": self.cursor.batch, **self.identity}
        return state if self.lane is None else {**state, "lane": list(self.lane)}

    def check(self, expected: Mapping[str, Any]) -> None:
        """Check that the state is of the stream that loads it.

        Raises:
            ConfigError: lists every difference, with what was and what is.
        """
        if not self.identity:
            return
        problems = _differences(self.identity, expected)
        if problems:
            raise ConfigError(problems, what=_OTHER, hint="stream the same rows of the same version in the same way")

    def cursor_in(self, epoch_batches: int, unit: int) -> Cursor:
        """The place in a stream's own count.

        Args:
            epoch_batches: batches of an epoch.
            unit: what a batch is of the state's count; ranks, where the state counts single rows.

        Raises:
            ConfigError: the stream has no such place.
        """
        batch, within = divmod(self.cursor.batch, unit)
        problems = []
        if within:
            problems.append(
                f"the state stands behind {self.cursor.batch} single rows; expected a number that {unit} ranks share "
                "evenly"
            )
        if batch > epoch_batches and self.lane is None:
            problems.append(f"batch is {batch}; an epoch of this stream has {epoch_batches:,}")
        if problems:
            raise ConfigError(problems, what="stream state")
        return Cursor(self.cursor.epoch, batch)


def identity_of_plan(plan: Plan, *, of_samples: bool) -> dict[str, Any]:
    """What a state holds of a plan; single rows are the same for any world size, and go by their number."""
    return {
        "num_rows": plan.num_rows,
        "batch_size": None if of_samples else plan.batch_size,
        "seed": plan.seed,
        "shuffle": plan.shuffle,
        "drop_last": plan.drop_last,
        "take": plan.take,
        "clump_rows": plan.clump_rows,
        "window_rows": plan.window_rows,
        "order": ORDER_VERSION,
    }


def checked_cursor(epoch: Any, batch: Any) -> Cursor:
    """A place of a run.

    Raises:
        ConfigError: it is none.
    """
    counts = all(isinstance(number, int) and not isinstance(number, bool) for number in (epoch, batch))
    if not counts or epoch < 0 or batch < 0:
        raise ConfigError([f"epoch is {epoch!r} and batch is {batch!r}; expected 0 or more"], what="stream")
    return Cursor(epoch, batch)


def merged(states: Sequence[Any]) -> dict[str, Any]:
    """Make one state of several; see `Stream.merge_states`."""
    if isinstance(states, Mapping) or not isinstance(states, Sequence) or not states:
        raise UsageError(
            f"{states!r:.80} is no list of states; expected one of each rank", hint="Stream.merge_states([state, …])"
        )
    found = [_of_one(state) for state in states]
    problems = [
        f"state {number}: {problem}"
        for number, state in enumerate(found[1:], 1)
        for problem in _differences(found[0].identity, state.identity)
    ]
    if problems:
        raise ConfigError(problems, what=_TOGETHER, hint="merge the states of one run, taken after the same step")
    if any(state.lane is not None for state in found):
        found = [_of_workers(found, 0)]
    places = sorted({state.cursor for state in found})
    if len(places) > 1:
        slowest, fastest = places[0], places[-1]
        raise ConfigError(
            [
                f"one stands at {_worded(slowest)} and another at {_worded(fastest)}; ranks step together, and what "
                "lies between was handed out by some of them alone"
            ],
            what=_TOGETHER,
            hint="take every rank's state after the same step; the slowest one's alone would repeat rows of the others",
        )
    return found[0].written()


def _of_one(found: Any) -> State:
    """The state of a stream, out of that of a StatefulDataLoader where it is one.

    Source: torchdata 0.11, stateful_dataloader.py, `state_dict` of both of its iterators.
    """
    if not isinstance(found, Mapping):
        return State.read(found)
    if "_snapshot" in found:
        workers = found["_snapshot"].get("_worker_snapshots", {})
        states = [State.read(worker.get("dataset_state")) for worker in workers.values()]
        return _of_workers(states, int(found.get("_steps_since_snapshot", 0)))
    if "dataset_state" in found:
        return State.read(found["dataset_state"])
    return State.read(found)


def _of_workers(states: Sequence[State], steps: int) -> State:
    """Where a stream stands of which each worker tells the next batch that it would give.

    Args:
        states: of all workers; of several ranks' workers, too.
        steps: batches that were handed out since.
    """
    first = states[0]
    lanes = {state.lane for state in states}
    if first.lane is None or len(lanes) > 1 or not first.identity:
        raise ConfigError(["they are not all of workers that work together"], what=_TOGETHER)
    num_workers = first.lane[0]
    if first.identity.get("batch_size") is None:
        if num_workers > 1 or steps:
            raise ConfigError(
                ["workers that hand out single rows stand at many places, and no state is that of all"],
                what=_TOGETHER,
                hint="let the stream make batches, or iterate it through clipdata.stream.load, and take its state",
            )
        return State(first.cursor, None, first.identity)
    total = _plan_of(first.identity).num_batches
    numbers = sorted({state.cursor.epoch * total + state.cursor.batch for state in states})
    if numbers != list(range(numbers[0], numbers[0] + num_workers)):
        raise ConfigError(
            [
                f"they stand at {', '.join(_worded(state.cursor) for state in states)}; {num_workers} workers that "
                "take turns stand at batches that follow one another"
            ],
            what=_TOGETHER,
            hint="give the states of all workers, taken after the same batch",
        )
    return State(Cursor(*divmod(numbers[0] + steps, total)), None, first.identity)


def _plan_of(identity: Mapping[str, Any]) -> Plan:
    return Plan(identity["num_rows"], identity["batch_size"], drop_last=identity["drop_last"], take=identity["take"])


def _differences(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    names = list(dict.fromkeys([*now, *was]))
    return [
        f"{name} was {was[name]!r} and is {now[name]!r} now"
        if name in was and name in now
        else f"{name} was not said"
        if name in now
        else f"{name} was {was[name]!r} and is unknown now"
        for name in names
        if name not in was or name not in now or was[name] != now[name] or type(was[name]) is not type(now[name])
    ]


def _worded(cursor: Cursor) -> str:
    return f"batch {cursor.batch} of epoch {cursor.epoch}"
