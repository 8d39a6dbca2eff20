"""Every verb that writes, killed at each of its commit boundaries or at a random moment, and run again.

A boundary is a place before or after something lands: a commit, a record beside the table, a column file, a rename. The
process dies there by its own hand, without a chance to tidy up. Used by a test for some boundaries, and by
`benchmarks/kill_matrix.py` for all.
"""

from __future__ import annotations

import functools
import hashlib
import json
import multiprocessing as mp
import os
import random
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lance
from lance import fragment
from lance.dataset import DatasetOptimizer, MergeInsertBuilder, Tags
from lance.optimize import Compaction

import clipdata as cd
from clipdata.errors import ClipdataError
from clipdata.lance_io import filling
from clipdata.lance_io.selected_rows import keys_of, selections_of
from clipdata.lance_io.state import StateFolder
from clipdata.storage import Storage
from tests.faults.kill_verbs import VERBS, Verb, World

VOLATILE = {"mtime", "etag", "uri", "image_table", "source"}
SAME_BYTES = (".tar", ".parquet", ".jpg", ".csv", ".tsv", ".jsonl", ".safetensors")
TABLES = ("images.lance", "meta.lance", "broken.lance", "contest.lance", "new.lance")
LANDINGS: dict[Any, tuple[str, ...]] = {
    lance.LanceDataset: (
        "commit", "add_columns", "drop_columns", "restore", "update_metadata", "create_index", "create_scalar_index",
        "cleanup_old_versions",
    ),
    fragment: ("write_fragments",),
    DatasetOptimizer: ("optimize_indices",),
    MergeInsertBuilder: ("execute",),
    Compaction: ("commit",),
    Tags: ("create", "update", "delete"),
    StateFolder: ("_write", "remove"),
    filling: ("write_column",),
    os: ("replace", "rename"),
}  # fmt: skip


@dataclass(frozen=True)
class Killed:
    """What came of one kill.

    Args:
        verb: that was killed.
        where: boundary, or moment.
        died: whether it did, and was not done before.
        boundaries: of the run after it; of an undisturbed one when it did not die.
        differences: from what an undisturbed run leaves; empty when all is well.
    """

    verb: str
    where: str
    died: bool
    boundaries: int
    differences: tuple[str, ...]


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
        preload: Sequence[str] = ("tests.faults.kill_matrix",),
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
            code, boundaries, error = self._run(verb, world)
            assert code == 0, f"{verb}: {error}"
            self._undisturbed[verb] = boundaries, time.monotonic() - began_s, left_by(world)
        return self._undisturbed[verb]

    def kill(self, verb: str, *, boundary: int | None = None, after_s: float | None = None) -> Killed:
        """Kill a verb once, run it again, and compare."""
        _, _, expected = self.undisturbed(verb)
        world = self._world(verb)
        code, _, error = self._run(verb, world, boundary, after_s)
        died = code == -signal.SIGKILL
        assert died or code == 0, f"{verb}: {error}"
        found, boundaries, error = self._run(verb, world)
        where = f"boundary {boundary}" if boundary is not None else f"after {after_s:.2f} s"
        now = left_by(world)
        differences = [name for name in sorted(expected.keys() | now.keys()) if expected.get(name) != now.get(name)]
        if found and (differences or not verb_named(verb).refuses_when_done):
            differences.append(f"exit code {found}: {error}")
        self._remove(world)
        return Killed(verb, where, died, boundaries, tuple(differences))

    def _world(self, verb: str) -> World:
        """A copy of the tables that a verb needs."""
        self._number += 1
        folder = self._folder / f"world-{self._number}"
        copy_tables(self._folder / "tables", folder / "tables", verb_named(verb).needs)
        (folder / "out").mkdir(parents=True)
        place, storage = self._upload(folder / "tables") if self._upload else (str(folder / "tables"), Storage())
        return World(str(self._folder / "sources"), place, storage, str(folder / "out"))

    def _remove(self, world: World) -> None:
        shutil.rmtree(Path(world.out).parent)

    def _run(
        self, verb: str, world: World, boundary: int | None = None, after_s: float | None = None
    ) -> tuple[int, int, str]:
        """Run a verb in a process; returns its exit code, how many boundaries it passed, and its error."""
        report = Path(world.out).parent / "report.json"
        report.unlink(missing_ok=True)
        process = self._context.Process(target=_play, args=(verb, world, str(report), boundary, after_s))
        process.start()
        process.join()
        told = json.loads(report.read_text()) if report.exists() else {"boundaries": 0, "error": ""}
        return int(process.exitcode or 0), told["boundaries"], told["error"]


def moments(random_: random.Random, seconds: float, num: int) -> list[float]:
    """Random moments of a run that takes so long."""
    return [random_.uniform(0, seconds) for _ in range(num)]


def verb_named(name: str) -> Verb:
    """A verb of either table; what loads torch is imported only for those that need it."""
    if name in VERBS:
        return VERBS[name]
    from tests.faults.kill_model_verbs import MODEL_VERBS

    return MODEL_VERBS[name]


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
        elif ".lance/" not in inside:
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


def _play(verb: str, world: World, report: str, boundary: int | None, after_s: float | None) -> None:
    """Run a verb in this process, which is for nothing else, and die where it is said."""
    passed = [0]

    def meet() -> None:
        if passed[0] == boundary:
            os.kill(os.getpid(), signal.SIGKILL)
        passed[0] += 1

    _wrap(meet)
    if after_s is not None:
        threading.Timer(after_s, os.kill, (os.getpid(), signal.SIGKILL)).start()
    error = ""
    try:
        verb_named(verb).play(world)
    except ClipdataError as found:
        error = str(found)
    Path(report).write_text(json.dumps({"boundaries": passed[0], "error": error}))
    os._exit(1 if error else 0)


def _wrap(meet: Callable[[], None]) -> None:
    """Make boundaries of what lands: commits of Lance, files on a disk, objects in a bucket."""

    def around(owner: Any, name: str) -> None:
        function = getattr(owner, name)

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            meet()
            result = function(*args, **kwargs)
            meet()
            return result

        static = isinstance(owner, type) and isinstance(owner.__dict__.get(name), staticmethod)
        setattr(owner, name, staticmethod(wrapped) if static else wrapped)

    for owner, names in LANDINGS.items():
        for name in names:
            around(owner, name)
    reached, seen = Storage.filesystem, set[int]()

    def watched(self: Storage, uri: str) -> Any:
        fs, path = reached(self, uri)
        if id(fs) not in seen:
            seen.add(id(fs))
            for name in ("pipe_file", "put_file", "rm", "mv"):
                around(fs, name)
        return fs, path

    Storage.filesystem = watched  # type: ignore[method-assign]
