"""One table on which maps of several steps, overwrites, appends, deletes, compactions, clean-ups and kills meet.

Whatever an actor does, others may act at each of its commit boundaries, and it may die there. `check` holds every
version to the promise: each cell equals what its column's lineage makes of its row, or is null.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import lance
import pyarrow as pa
import pytest

import clipdata as cd
from clipdata.engines import fill
from clipdata.errors import ConcurrentChangeError, LineageMismatchError, NotFoundError, SchemaError
from clipdata.lance_io import column_file, rows
from clipdata.lance_io.columns import reasons_of
from clipdata.lance_io.state import StateFolder
from clipdata.lance_io.table import open_table
from clipdata.lineage import Lineage
from clipdata.schema import key_field
from clipdata.step_protocol import BaseStep

OFFSETS = {"A": 100, "B": 900, "C": 5000}
ACTIONS = (
    "map A", "map B", "map C", "some A", "some B", "overwrite A", "overwrite B", "overwrite C", "retry A",
    "map double", "overwrite double", "append", "replace", "delete", "compact", "clean", "drop column",
    "restore", "remove rows", "make compact", "drop",
)  # fmt: skip


class Killed(BaseException):
    """The process dies here."""


class Offset(BaseStep):
    """n + the offset of its version; fails on some rows, as long as `flaky` says so."""

    name, returns, reads = "Offset", pa.int64(), ("n",)

    def __init__(self, version: str, world: World) -> None:
        self.version, self._world = version, world

    def compute(self, batch: pa.RecordBatch, prepared: object) -> Any:
        self._world.meanwhile("compute")
        numbers = batch.column("n").to_pylist()
        failed = [n % 7 == 3 and self._world.flaky for n in numbers]
        values = [None if bad else n + OFFSETS[self.version] for n, bad in zip(numbers, failed, strict=True)]
        reasons = [f"bad {self.version}: {n}" if bad else None for n, bad in zip(numbers, failed, strict=True)]
        return pa.array(values, pa.int64()), reasons


class Double(BaseStep):
    """Twice a column that a map made."""

    name, version, returns, reads = "Double", "1", pa.int64(), ("s",)

    def __init__(self, world: World) -> None:
        self._world = world

    def compute(self, batch: pa.RecordBatch, prepared: object) -> Any:
        self._world.meanwhile("compute")
        return pa.compute.multiply(batch.column("s"), 2)


@dataclass
class World:
    """The table and what happens to it.

    Args:
        folder: for the table.
        script: what others do, one entry for each time they may act: an action, "kill", or None.
    """

    folder: Path
    script: list[str | None]
    flaky: bool = True
    log: list[str] = field(default_factory=list)
    num_read: int = 0
    _depth: int = 0
    _next_n: int = 0
    _checked: int = 0

    def __post_init__(self) -> None:
        shutil.rmtree(self.folder / "t.lance", ignore_errors=True)
        shutil.rmtree(self.folder / "t.lance.state", ignore_errors=True)
        schema = pa.schema([key_field("path"), pa.field("n", pa.int64())])
        self.uri = str(rows.create_table(self.folder / "t.lance", schema).uri)
        for _ in range(3):
            self._append(5)
        self._names = {version: Lineage("Offset", version, inputs=("n",)).fingerprint for version in OFFSETS}

    def meanwhile(self, where: str) -> None:
        """Let another writer act, or die, in the middle of a verb."""
        if self._depth != 1 or not self.script:
            return
        action = self.script.pop(0)
        if action == "kill":
            self.log.append(f"  killed at {where}")
            raise Killed
        if action is not None:
            self.log.append(f"  at {where}: {action}")
            self.act(action)

    def act(self, action: str) -> None:
        """Carry out one action; errors that a user may meet are no fault, but kills end it."""
        self._depth += 1
        try:
            with suppress(ConcurrentChangeError, LineageMismatchError, SchemaError):
                self._act(action)
        finally:
            self._depth -= 1

    def _act(self, action: str) -> None:
        table = open_table(self.uri)
        verb, _, what = action.partition(" ")
        if verb in ("map", "some", "overwrite", "retry"):
            step = Double(self) if what == "double" else Offset(what, self)
            column = "d" if what == "double" else "s"
            self.flaky = verb != "retry"
            how: dict[str, Any] = {"where": "n % 3 = 1"} if verb == "some" else {}
            how |= {"overwrite": verb == "overwrite", "retry_failed": verb == "retry"}
            cd.map_column(table, step, column, batch_rows=2, **how)
        elif action == "append":
            self._append(3)
        elif action == "replace":
            # The same rows with another content, as an ingest of changed files writes them.
            keys = table.to_table(["path"]).column("path").to_pylist()[::4]
            changed = [self._fresh() for _ in keys]
            rows.upsert(table, pa.table({"path": keys, "n": pa.array(changed, pa.int64())}), changed="n")
        elif action in ("restore", "remove rows", "make compact", "drop"):
            self._keep_house(action, table)
        elif action == "delete":
            rows.delete_keys(table, table.to_table(["path"]).column("path").to_pylist()[1::5])
        else:
            with suppress(OSError):  # another tool loses its race
                self._act_of_another_tool(action, table)

    def _keep_house(self, action: str, table: cd.Table) -> None:
        """What clipdata itself does to a table beside filling it."""
        if action == "restore":
            with suppress(NotFoundError):  # that version was cleaned up
                cd.restore(table, max(table.version - 3, 4))
        elif action == "remove rows":
            cd.delete(table, "n % 5 = 1")
        elif action == "make compact":
            cd.compact(table, rows_per_fragment=8)
        elif "s" in table.schema.names:
            cd.drop(table, "s", yes=True)

    def _act_of_another_tool(self, action: str, table: cd.Table) -> None:
        if action == "compact":
            table.dataset.optimize.compact_files(target_rows_per_fragment=8)
        elif action == "clean":
            # Files that no version names yet go only between verbs: Lance warns against it while anybody writes.
            table.dataset.cleanup_old_versions(older_than=timedelta(0), delete_unverified=self._depth == 1)
        elif action == "drop column" and "s" in table.schema.names:
            table.dataset.drop_columns(["s"])

    def _fresh(self) -> int:
        self._next_n += 1
        return self._next_n

    def _append(self, num: int) -> None:
        numbers = [self._fresh() for _ in range(num)]
        new = pa.table({"path": [f"{n:05d}" for n in numbers], "n": pa.array(numbers, pa.int64())})
        rows.upsert(open_table(self.uri), new)

    def check(self) -> None:
        """Hold every version since the last check to the promise.

        Raises:
            AssertionError: a cell is neither null nor what its column's lineage makes of its row.
        """
        newest = open_table(self.uri).version
        listed = {entry["version"] for entry in lance.dataset(self.uri).versions()}
        for version in sorted(listed & set(range(self._checked + 1, newest + 1))):
            table = open_table(self.uri, version=version)
            self._check_version(table, table.to_table())
            self.num_read += 1
        self._checked = newest

    def _check_version(self, table: cd.Table, whole: pa.Table) -> None:
        numbers = whole.column("n").to_pylist()
        for column in ("s", "d"):
            if column not in table.schema.names:
                continue
            lineage = table.lineage(column)
            assert lineage is not None, f"version {table.version}: {column!r} has no lineage"
            offset = self._offset_of(lineage)
            expected = [(n + offset) * (2 if column == "d" else 1) for n in numbers]
            for n, found, wanted in zip(numbers, whole.column(column).to_pylist(), expected, strict=True):
                assert found in (None, wanted), f"version {table.version}: {column} of n={n} is {found}, not {wanted}"
            self._check_reasons(table, whole, column, lineage)

    def _check_reasons(self, table: cd.Table, whole: pa.Table, column: str, lineage: Lineage) -> None:
        name = reasons_of(table.schema, column)
        if name is None:
            return
        for found, reason in zip(whole.column(column).to_pylist(), whole.column(name).to_pylist(), strict=True):
            assert found is None or reason is None, f"version {table.version}: {found} beside the reason {reason!r}"
            assert reason is None or f"bad {lineage.step_version}" in reason, f"{reason!r} of another step"

    def _offset_of(self, lineage: Lineage) -> int:
        if lineage.step == "Offset":
            return OFFSETS[lineage.step_version]
        version = next(v for v, fingerprint in self._names.items() if fingerprint == lineage.upstream["s"])
        return OFFSETS[version]


@contextmanager
def boundaries(world: World) -> Iterator[None]:
    """Make each commit, each record and each column file of a verb a place where others may act, before and after."""

    def around(function: Callable[..., Any], name: str) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            world.meanwhile(f"before {name}")
            result = function(*args, **kwargs)
            world.meanwhile(f"after {name}")
            return result

        return wrapped

    with pytest.MonkeyPatch.context() as patch:
        commit = lance.LanceDataset.commit
        patch.setattr(lance.LanceDataset, "commit", staticmethod(around(commit, "commit")))
        for owner, name in (
            (lance.LanceDataset, "add_columns"),
            (lance.LanceDataset, "drop_columns"),
            (StateFolder, "_write"),
            (StateFolder, "remove"),
        ):
            patch.setattr(owner, name, around(getattr(owner, name), name))
        patch.setattr(fill._Work, "save", lambda self: None)  # a killed process stores nothing
        assert column_file.write_column
        yield


def play(folder: Path, actions: Sequence[str], script: Sequence[str | None]) -> World:
    """Carry out actions one after the other, others acting in between as the script says, and check every version."""
    world = World(folder, list(script))
    with boundaries(world):
        for action in actions:
            world.log.append(action)
            with suppress(Killed):
                world.act(action)
            world.check()
        # Whoever comes last with the step of the column's lineage finishes the work.
        world.script.clear()
        lineage = open_table(world.uri).lineage("s") if "s" in open_table(world.uri).schema.names else None
        last = lineage.step_version if lineage is not None else "A"
        world.act(f"retry {last}")
        world.check()
    left = open_table(world.uri)
    assert left.count_rows("s IS NULL AND n IS NOT NULL") == 0, "rows stay without a value"
    left.dataset.validate()
    return world
