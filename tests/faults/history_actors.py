"""A process that calls one verb after the other on one table, writes down each call and answer, and may be killed.

It dies by its own hand at a commit boundary, without a chance to tidy up, which is what SIGKILL does to it; and a
commit may land with its answer lost. Another takes over under the same number with the next seed.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import lance
import pyarrow as pa
from lance.dataset import MergeInsertBuilder

import clipdata as cd
from clipdata.errors import ClipdataError, ConcurrentChangeError, LineageMismatchError, NotFoundError, TransientError
from clipdata.lance_io import rows
from clipdata.lance_io.state import StateFolder
from clipdata.lance_io.table import open_table
from clipdata.schema import key_field
from clipdata.step_protocol import BaseStep
from clipdata.storage import Storage
from tests.faults.history_bugs import plant
from tests.faults.history_records import OFFSETS

KINDS = {
    "write": 30, "change": 12, "shared": 12, "delete": 12, "map": 14, "overwrite": 4, "compact": 5, "clean": 2,
    "tag": 3, "restore": 3,
}  # fmt: skip
MIXES: dict[str, dict[str, int]] = {
    "all": KINDS,
    "replaced": {"compact": 6, "restore": 5, "write": 5, "delete": 1, "tag": 1, "map": 1},  # fragments come and go
}
MEETING_LIMIT_S = 60.0
_NOT_DONE = (ConcurrentChangeError, LineageMismatchError)  # said before, or instead of, any change that could be told


class Offset(BaseStep):
    """The row's number and what the step's version adds to it."""

    name, returns, reads = "Offset", pa.int64(), ("n",)

    def __init__(self, version: str) -> None:
        self.version = version

    def compute(self, batch: pa.RecordBatch, prepared: object) -> Any:
        return pa.compute.add(batch.column("n"), OFFSETS[self.version])


@dataclass(frozen=True)
class Part:
    """What one process is to do.

    Args:
        uri: of the table.
        log: file that the calls and answers go to.
        process: its number.
        life: how many before it had the number.
        seed: of every choice.
        num_operations: to call.
        kill: chance of a boundary to be the last.
        lose: chance of a commit to land without an answer.
        bug: name of a planted bug, if there is one.
        storage: how to reach the table.
        kinds: weights of the kinds of calls.
        meets: processes that wait for each other in each call, between reading the table and writing to it; 0 is none.
    """

    uri: str
    log: str
    process: int
    life: int
    seed: int
    num_operations: int
    kill: float = 0.0
    lose: float = 0.0
    bug: str = ""
    storage: Storage = Storage()  # noqa: RUF009 - frozen
    kinds: tuple[tuple[str, int], ...] = tuple(KINDS.items())
    meets: int = 0


def make_table(uri: str, storage: Storage, bug: str = "") -> None:
    """The empty table."""
    plant(bug)
    rows.create_table(uri, pa.schema([key_field("path"), pa.field("n", pa.int64())]), storage=storage)


class Actor:
    """Plays a part."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self._random = random.Random(f"{part.seed} {part.process} {part.life}")
        self._own: dict[str, int] = {}
        self._file = os.open(part.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._number = sum(1 for line in Path(part.log).read_text().splitlines() if '"kind"' in line)
        self._next = 1000 * (1 + part.process) + 100_000 * part.life

    def play(self) -> None:
        """Call verbs until all is done, or until it is killed."""
        kinds, weights = zip(*self._part.kinds, strict=True)
        while self._number < self._part.num_operations:
            self._call(self._random.choices(kinds, weights)[0])

    def _call(self, kind: str) -> None:
        told, work = self._prepared(kind)
        self._number += 1
        name = f"p{self._part.process}-{self._number}"
        table = open_table(self._part.uri, storage=self._part.storage)
        self._write({"id": name, "process": self._part.process, "start": table.version, **told(table)})
        answer: dict[str, Any] = {"outcome": "ok"}
        try:
            work(table)
        except _NOT_DONE:
            answer["outcome"] = "fail" if told(table)["kind"] in ("write", "delete") else "unknown"
        except TransientError:
            answer["outcome"] = "unknown"
        except NotFoundError:
            answer["outcome"] = "unknown"  # its version was cleaned away
        except ClipdataError as error:
            answer |= {"outcome": "fail" if "planted" in str(error) else "unknown"}
        end = open_table(self._part.uri, storage=self._part.storage).version
        self._write({"id": name, **answer, **({"end": end} if answer["outcome"] != "unknown" else {})})

    def _prepared(self, kind: str) -> tuple[Callable[[cd.Table], dict[str, Any]], Callable[[cd.Table], object]]:
        """What is written down before a call, and the call."""
        if kind in ("write", "change", "shared") or (kind == "delete" and not self._own):
            return self._writing(kind)
        if kind == "delete":
            gone = self._random.sample(sorted(self._own), min(2, len(self._own)))
            for key in gone:
                del self._own[key]
            listed = ", ".join(f"'{key}'" for key in gone)
            told = {"kind": "delete", "rows": dict.fromkeys(gone, 0)}
            return lambda _: told, lambda table: cd.delete(table, f"path IN ({listed})")
        if kind in ("map", "overwrite"):
            step = self._random.choice("AB")
            how = {"overwrite": kind == "overwrite"}
            return lambda _: {"kind": kind, "step": step}, lambda table: cd.map_column(table, Offset(step), "s", **how)
        if kind == "tag":
            name = f"tag-{self._part.process}-{self._part.life}-{self._number}"
            return (
                lambda table: {"kind": "tag", "name": name, "to": table.version},
                lambda table: cd.tag(table, name, version=table.version),
            )
        if kind == "restore":
            return (
                lambda table: {"kind": "restore", "to": max(table.version - 2, 2)},
                lambda table: cd.restore(table, max(table.version - 2, 2)),
            )
        if kind == "compact":
            return lambda _: {"kind": kind}, lambda table: cd.compact(table, rows_per_fragment=64)
        return lambda _: {"kind": "clean"}, lambda table: cd.clean(table, older_than=timedelta(hours=1))

    def _writing(self, kind: str) -> tuple[Callable[[cd.Table], dict[str, Any]], Callable[[cd.Table], object]]:
        self._next += 2
        if kind == "change" and self._own:
            keys = self._random.sample(sorted(self._own), min(2, len(self._own)))
        elif kind == "shared":
            keys = [f"shared-{self._number // 4}"]  # about when the others write the same
        else:
            keys = [f"p{self._part.process}-{self._part.life}-{self._number}-{n}" for n in range(2)]
        fresh = {key: 7 if kind == "shared" else self._next + n for n, key in enumerate(keys)}
        if kind != "shared":
            self._own |= fresh
        told = {"kind": "write", "rows": fresh}
        given = pa.table({"path": list(fresh), "n": pa.array(fresh.values(), pa.int64())})
        return lambda _: told, lambda table: rows.upsert(table, given, changed="n")

    def _write(self, told: dict[str, Any]) -> None:
        os.write(self._file, (json.dumps(told) + "\n").encode())

    def boundary(self, where: str) -> None:
        """A place where it may die."""
        if self._random.random() < self._part.kill:
            os.kill(os.getpid(), signal.SIGKILL)

    def meet(self) -> None:
        """Wait until the others have come as far with the call of the same number."""
        folder = Path(self._part.log).parent
        (folder / f"call-{self._number}-of-{self._part.process}").touch()
        deadline_s = time.monotonic() + MEETING_LIMIT_S
        while len(list(folder.glob(f"call-{self._number}-of-*"))) < self._part.meets:
            assert time.monotonic() < deadline_s, "the others do not come"
            time.sleep(0.002)

    def loses(self) -> bool:
        """Whether the answer of a commit is lost."""
        return self._random.random() < self._part.lose


def play(part: Part) -> None:
    """Play a part in this process, which is for nothing else."""
    actor = Actor(part)
    plant(part.bug)

    def around(owner: Any, name: str, *, is_commit: bool = False) -> None:
        function = getattr(owner, name)

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            actor.boundary(f"before {name}")
            if part.meets and owner is MergeInsertBuilder:
                actor.meet()
            result = function(*args, **kwargs)
            actor.boundary(f"after {name}")
            if is_commit and actor.loses():
                raise OSError("Commit result for version is unknown: connection reset")
            return result

        setattr(owner, name, staticmethod(wrapped) if is_commit else wrapped)

    around(lance.LanceDataset, "commit", is_commit=True)
    for owner, name in ((lance.LanceDataset, "add_columns"), (lance.LanceDataset, "drop_columns")):
        around(owner, name)
    around(StateFolder, "_write")
    around(MergeInsertBuilder, "execute")
    actor.play()
