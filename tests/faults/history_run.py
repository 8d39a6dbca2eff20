"""Runs a history: processes that call verbs on one table and die, a reader that keeps what every version held.

Processes come from a server that has everything imported and has never touched Lance, so that one more costs little.
"""

from __future__ import annotations

import dataclasses
import multiprocessing as mp
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from clipdata.errors import ClipdataError
from clipdata.lance_io.columns import mark_of
from clipdata.lance_io.faults import translated
from clipdata.lance_io.history import Properties
from clipdata.lance_io.table import Table, open_table
from clipdata.lineage import Lineage
from clipdata.storage import Storage, scheme
from tests.faults.history_actors import KINDS, Part, make_table, play
from tests.faults.history_records import History, State, read_operations

POLL_S = 0.02
READ_S = 0.25  # between two looks for new versions
# Else each of the many processes that take over from one that died would import them.
LOADED_ON_FIRST_USE = (
    "clipdata.mapping", "clipdata.map_job", "clipdata.engines.local", "clipdata.engines.fill", "lance.file",
    "fsspec.implementations.local",
)  # fmt: skip
LIMIT_S = 600.0
LIMIT_OF_OPERATION_S = 3.0


@dataclasses.dataclass(frozen=True)
class Run:
    """What one run was.

    Args:
        history: all of it.
        num_killed: processes that died.
        seconds: it took.
    """

    history: History
    num_killed: int
    seconds: float

    def __str__(self) -> str:
        told = self.history.operations
        counts = {outcome: sum(one.outcome == outcome for one in told) for outcome in ("ok", "fail", "unknown")}
        return (
            f"{len(told)} operations ({counts['ok']} ok, {counts['fail']} failed, {counts['unknown']} unknown), "
            f"{len(self.history.states)} versions read, {self.num_killed} kills, {self.seconds:.0f} s"
        )


def run(
    folder: Path,
    *,
    num_operations: int,
    seed: int,
    num_processes: int = 3,
    kill: float = 0.01,
    lose: float = 0.05,
    bug: str = "",
    uri: str | None = None,
    storage: Storage | None = None,
    kinds: dict[str, int] | None = None,
    meets: bool = False,
) -> Run:
    """Have processes call so many operations in all, and read every version.

    Args:
        folder: for the logs, and the table where no `uri` is given.
        seed: of every choice; how processes meet is the machine's.
        kill: chance of each commit boundary to be a process's last.
        lose: chance of each commit to land with its answer lost.
        bug: planted in the processes.
        meets: in each call all processes have read the table before one of them writes.
    """
    began_s = time.monotonic()
    settings, place = storage or Storage(), uri or str(folder / "t.lance")
    context = mp.get_context("forkserver")
    client = {"gs": ["gcsfs"], "s3": ["s3fs"]}.get(scheme(place), [])
    context.set_forkserver_preload(["tests.faults.history_actors", *LOADED_ON_FIRST_USE, *client])
    maker = context.Process(target=make_table, args=(place, settings, bug))
    maker.start()
    maker.join()
    parts = [
        Part(
            place, str(folder / f"p{n}.log"), n, 0, seed, num_operations // num_processes, kill, lose, bug, settings,
            tuple((kinds or KINDS).items()), num_processes if meets else 0,
        )
        for n in range(num_processes)
    ]  # fmt: skip
    states: dict[int, State] = {}
    num_killed = _play_all(context, parts, place, settings, states)
    _read_new(place, settings, states)
    tags = {name: about["version"] for name, about in open_table(place, storage=settings).dataset.tags.list().items()}
    history = History(read_operations(sorted(folder.glob("p*.log"))), dict(sorted(states.items())), tags)
    return Run(history, num_killed, time.monotonic() - began_s)


def _play_all(context, parts: Sequence[Part], uri: str, storage: Storage, states: dict[int, State]) -> int:
    """Start a process for each part, and another for each that dies; returns how many died."""
    limit_s = LIMIT_S + LIMIT_OF_OPERATION_S * sum(part.num_operations for part in parts)
    num_killed, began_s, read_s = 0, time.monotonic(), 0.0
    playing = [(part, _started(context, part)) for part in parts]
    while playing:
        time.sleep(POLL_S)
        assert time.monotonic() - began_s < limit_s, "the processes do not come to an end"
        for part, process in list(playing):
            if process.is_alive():
                continue
            playing.remove((part, process))
            process.join()
            if process.exitcode == -9:
                num_killed += 1
                again = dataclasses.replace(part, life=part.life + 1)
                playing.append((again, _started(context, again)))
            elif process.exitcode:
                raise AssertionError(f"process {part.process} ended with {process.exitcode}; its error is above")
        if time.monotonic() - read_s > READ_S:
            _read_new(uri, storage, states)
            read_s = time.monotonic()
    return num_killed


def _started(context, part: Part):
    process = context.Process(target=play, args=(part,))
    process.start()
    return process


def _read_new(uri: str, storage: Storage, states: dict[int, State]) -> None:
    """Read the versions that came since the last time."""
    newest = open_table(uri, storage=storage)
    for version in range(max(states, default=0) + 1, newest.version + 1):
        with suppress(ClipdataError):  # cleaned up
            states[version] = _state(newest, version)


def _state(newest: Table, version: int) -> State:
    """What a version held; it is reached from the newest one, which spares looking for the newest again."""
    with translated(newest.uri, "reading"):
        table = Table(newest.uri, version, newest.storage, newest.dataset.checkout_version(version))
    names = ["path", "n", *(["s"] if "s" in table.schema.names else [])]
    columns = table.to_table(names).to_pydict()
    rows = sorted(zip(columns["path"], columns["n"], columns.get("s", [None] * len(columns["n"])), strict=True))
    made = Lineage.of(table.schema.field("s")) if "s" in names else None
    transaction = table.dataset.read_transaction(version)
    said = Properties.from_strings(transaction.transaction_properties or {}) if transaction is not None else None
    return State(
        rows=[(key, number, derived) for key, number, derived in rows],
        step=made.step_version if made is not None else "",
        mark=mark_of(table.schema.field("s")) if "s" in names else "",
        verb=said.verb if said is not None else "",
        commit=said.id if said is not None else "",
        restored=said.parameters.get("to") if said is not None and said.verb == "restore" else None,
    )
