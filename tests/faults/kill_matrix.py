"""Every verb that writes, killed at each of its commit boundaries or at a random moment, and run again.

At a boundary it may also lose the right to write, on a disk or in a bucket. Used by tests for some boundaries, and by
`benchmarks/kill_matrix.py` for all.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing as mp
import random
import re
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import clipdata as cd
from clipdata.errors import ClipdataError
from clipdata.lance_io.selected_rows import keys_of, selections_of
from clipdata.objects.removing import remove
from clipdata.storage import Storage, is_remote
from tests.cloud.fault_proxy import Fault, FaultProxy
from tests.faults.boundaries import LOST, Ending, Told, play, verb_named
from tests.faults.forbidding import allow
from tests.faults.kill_verbs import World

VOLATILE = {"mtime", "etag", "uri", "image_table", "source"}
SAME_BYTES = (".tar", ".parquet", ".jpg", ".csv", ".tsv", ".jsonl", ".safetensors")
TABLES = ("images.lance", "meta.lance", "broken.lance", "contest.lance", "new.lance")
# Files of a table; rows of a training, under random names; its times; what a writer who may be alive has begun.
NO_MATTER = re.compile(r"\.lance/|trained_rows/|metrics\.jsonl|\.writing-")
UNDISTURBED = Ending()
PRELOAD = ("tests.faults.kill_matrix", "clipdata.viewer.edits", "clipdata.reporting", "datasets")
DENIED = re.compile(r"permission denied|may not be|refused|read-only|not permitted|forbidden", re.IGNORECASE)


@dataclass(frozen=True)
class Killed:
    """What came of one kill, or of one loss of the right to write.

    Args:
        verb: that was killed.
        where: boundary, or moment.
        died: whether it did, or ended in an error, and was not done before.
        boundaries: of the run after it; of an undisturbed one when it did not die.
        differences: from what an undisturbed run leaves; empty when all is well.
        said: its error.
    """

    verb: str
    where: str
    died: bool
    boundaries: int
    differences: tuple[str, ...]
    said: str = ""


class Matrix:
    """Kills verbs in copies of a prepared folder.

    Args:
        folder: with what `prepare` made.
        upload: puts the tables of a folder on a store and gives their URL and how to reach it; they stay on disk when
            there is none.
        preload: modules that are imported once, before any process that is killed.
    """

    def __init__(
        self,
        folder: Path,
        upload: Callable[[Path], tuple[str, Storage]] | None = None,
        preload: Sequence[str] = PRELOAD,
    ) -> None:
        self._folder, self._upload = folder, upload
        self._context = mp.get_context("forkserver")
        self._context.set_forkserver_preload(list(preload))
        self._number = 0
        self._undisturbed: dict[str, tuple[int, float, dict[str, str]]] = {}

    def undisturbed(self, verb: str) -> tuple[int, float, dict[str, str]]:
        """Boundaries of a verb, its seconds, and what it leaves."""
        if verb not in self._undisturbed:
            world = self._world(verb)
            began_s = time.monotonic()
            code, told = self._run(verb, world)
            assert code == 0, f"{verb}: {told.error}"
            self._undisturbed[verb] = told.boundaries, time.monotonic() - began_s, left_by(world)
        return self._undisturbed[verb]

    def kill(self, verb: str, *, boundary: int | None = None, after_s: float | None = None) -> Killed:
        """Kill a verb once, run it again, and compare."""
        self.undisturbed(verb)
        world, ending = self._world(verb), Ending(boundary, after_s)
        code, told = self._run(verb, world, ending)
        died = code == -signal.SIGKILL
        assert died or code == 0, f"{verb}: {told.error}"
        return self._finished(verb, world, str(ending), died, [])

    def lose_power(self, verb: str, boundary: int | None = None) -> Killed:
        """Let the power go once a verb said that it is done, and compare; or at a boundary, and run it again first."""
        _, _, expected = self.undisturbed(verb)
        world, ending = self._world(verb), Ending(boundary, then="no power")
        code, told = self._run(verb, world, ending)
        folder = Path(world.out).parent
        shutil.rmtree(folder)
        folder.with_suffix(LOST).rename(folder)
        if boundary is not None:
            return self._finished(verb, world, str(ending), code == -signal.SIGKILL, [])
        now = left_by(world)
        differences = [name for name in sorted(expected.keys() | now.keys()) if expected.get(name) != now.get(name)]
        return Killed(verb, "acknowledged", True, told.boundaries, tuple(differences), told.error)

    def forbid(self, verb: str, ending: Ending) -> Killed:
        """Take the right to write, or to read, from a verb on a disk; give it back, run it again, and compare."""
        self.undisturbed(verb)
        world = self._world(verb)
        code, told = self._run(verb, world, ending)
        allow(Path(world.out).parent)
        return self._finished(verb, world, str(ending), code != 0, wrong_words(told, world), told.error)

    def refuse(self, verb: str, proxy: FaultProxy, num_before: int) -> Killed:
        """Have a store refuse all that a verb writes from some request on; then no more, run it again, and compare."""
        self.undisturbed(verb)
        world = self._world(verb)
        with proxy.injecting(Fault("403", requests=("put", "copy", "delete"), skip=num_before)):
            code, told = self._run(verb, world)
        where = f"refused after {num_before} writes"
        return self._finished(verb, world, where, code != 0, wrong_words(told, world), told.error)

    def _finished(
        self, verb: str, world: World, where: str, died: bool, wrong: Sequence[str], said: str = ""
    ) -> Killed:
        """Run a verb to its end after it was disturbed, and compare."""
        _, _, expected = self.undisturbed(verb)
        code, told = self._run(verb, world)
        now = left_by(world)
        differences = [name for name in sorted(expected.keys() | now.keys()) if expected.get(name) != now.get(name)]
        if code and (differences or not verb_named(verb).refuses_when_done or not told.is_ours):
            differences.append(f"exit code {code}: {told.error}")
        self._remove(world)
        return Killed(verb, where, died, told.boundaries, (*differences, *wrong), said)

    def _world(self, verb: str) -> World:
        """A copy of the tables that a verb needs."""
        self._number += 1
        folder = self._folder / f"world-{self._number}"
        copy_tables(self._folder / "tables", folder / "tables", verb_named(verb).needs)
        (folder / "out").mkdir(parents=True)
        place, storage = self._upload(folder / "tables") if self._upload else (str(folder / "tables"), Storage())
        return World(str(self._folder / "sources"), place, storage, str(folder / "out"))

    def _remove(self, world: World) -> None:
        if is_remote(world.place):  # emulators get slower with each object that they keep
            remove(world.storage, world.place, recursive=True)
        shutil.rmtree(Path(world.out).parent)

    def _run(self, verb: str, world: World, ending: Ending = UNDISTURBED) -> tuple[int, Told]:
        """Run a verb in a process; returns its exit code, and what it said."""
        report = self._folder / f"{Path(world.out).parent.name}.json"
        report.unlink(missing_ok=True)
        process = self._context.Process(target=play, args=(verb, world, str(report), ending))
        process.start()
        process.join()
        text = report.read_text() if report.exists() else ""
        return int(process.exitcode or 0), Told(**json.loads(text)) if text else Told()


def moments(random_: random.Random, seconds: float, num: int) -> list[float]:
    """Random moments of a run that takes so long."""
    return [random_.uniform(0, seconds) for _ in range(num)]


def wrong_words(told: Told, world: World) -> list[str]:
    """What is wrong with what a verb said that may no longer write: no error of ours, or one without what and where."""
    if not told.error:
        return []
    wrong = [] if told.is_ours else ["no error of clipdata"]
    wrong += [] if DENIED.search(told.error) else ["does not say that it is not allowed"]
    wrong += [] if world.place in told.error or world.out in told.error else ["does not say where"]
    return [f"{', '.join(wrong)}: {told.error}"] if wrong else []


def world_in(folder: Path, prepared: Path) -> World:
    """A world of its own with the pictures' table, of what `prepare` made."""
    copy_tables(prepared / "tables", folder / "tables", ("images.lance",))
    (folder / "out").mkdir()
    return World(str(prepared / "sources"), str(folder / "tables"), Storage(), str(folder / "out"))


def copy_tables(folder: Path, to: Path, names: Sequence[str]) -> None:
    """Copy tables with what lies beside each: its records, and what it refused."""
    to.mkdir(parents=True)
    for name in names:
        for beside in folder.glob(f"{name.removesuffix('.lance')}.*"):
            shutil.copytree(beside, to / beside.name)


def left_by(world: World) -> dict[str, str]:
    """What is in the tables and files of a world: name → digest of rows, columns, tags, or bytes."""
    found = {}
    for name in TABLES:
        with suppress(ClipdataError):
            found |= _left_in(name, world.open(name))
    for path in sorted(Path(world.out).rglob("*")):
        inside = path.relative_to(world.out).as_posix()
        if path.suffix == ".lance" and path.is_dir():
            found |= _left_in(inside, cd.open_table(path))
        elif not NO_MATTER.search(inside):
            same = path.is_file() and path.suffix in SAME_BYTES
            found[inside] = hashlib.sha256(path.read_bytes()).hexdigest() if same else "there"
    return found


def _left_in(name: str, table: cd.Table) -> dict[str, str]:
    rows = table.to_table().sort_by(str(table.key)) if table.key else table.to_table()
    columns = {column: rows[column].to_pylist() for column in rows.column_names if column not in VOLATILE}
    # The tag of pictures that another table refers to has a digest of that table's place in its name.
    tags = sorted(re.sub(r"[0-9a-f]{8,}", "…", tag) for tag in table.dataset.tags.list())
    table.dataset.validate()
    digests = {f"{name}: {key}": hashlib.sha256(repr(values).encode()).hexdigest() for key, values in columns.items()}
    indices = sorted(index.name for index in table.dataset.describe_indices())
    named = {
        one.name: sorted(keys_of(table, one).to_pylist())
        for one in selections_of(table.dataset.metadata or {}).values()
    }
    return digests | {
        f"{name}: tags": repr(tags), f"{name}: indices": repr(indices), f"{name}: selections": repr(named),
    }  # fmt: skip
