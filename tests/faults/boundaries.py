"""A process that carries out one verb and, at one of its commit boundaries, dies, or loses power or the right to write.

A boundary is a place before or after something lands: a commit, a record beside the table, a column file, a rename, an
object. It knows no particular verb; `kill_matrix` starts it and compares what it left.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import lance
from lance import fragment
from lance.dataset import DatasetOptimizer, MergeInsertBuilder, Tags
from lance.optimize import Compaction

from clipdata.errors import ClipdataError
from clipdata.lance_io import filling
from clipdata.lance_io.state import StateFolder
from clipdata.storage import Storage
from tests.faults.forbidding import NO_ACCESS, READ_ONLY, forbid, obey_permissions
from tests.faults.kill_verbs import VERBS, Verb, World
from tests.faults.power import Disk

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
Then = Literal["die", "no power", "read-only", "no access"]
LOST = ".lost"


@dataclass(frozen=True)
class Ending:
    """Where something happens to a process, and what.

    Args:
        boundary: number of the boundary; None for none.
        after_s: or the moment, at which it dies.
        then: it dies; or the machine loses power, also at the end of the verb where there is no boundary; or its files
            can be read and no longer written, or not even read.
    """

    boundary: int | None = None
    after_s: float | None = None
    then: Then = "die"

    def __str__(self) -> str:
        where = f"boundary {self.boundary}" if self.after_s is None else f"after {self.after_s:.2f} s"
        return where if self.then == "die" else f"{where}: {self.then}"


@dataclass(frozen=True)
class Told:
    """What a process said before it ended.

    Args:
        boundaries: that it passed.
        error: it ended in; "" where there was none.
        is_ours: whether that is an error of clipdata.
    """

    boundaries: int = 0
    error: str = ""
    is_ours: bool = True


def verb_named(name: str) -> Verb:
    """A verb of either table; what loads torch is imported only for those that need it."""
    if name in VERBS:
        return VERBS[name]
    from tests.faults.kill_model_verbs import MODEL_VERBS

    return MODEL_VERBS[name]


def play(verb: str, world: World, report: str, ending: Ending) -> None:
    """Carry out a verb in this process, which is for nothing else, and let happen what is said."""
    passed, folder = [0], Path(world.out).parent
    if ending.then in ("read-only", "no access"):
        obey_permissions()
    disk = Disk(folder) if ending.then == "no power" else None

    def meet() -> None:
        if passed[0] == ending.boundary and ending.then in ("die", "no power"):
            if disk is not None:
                disk.leave(folder.with_suffix(LOST))
            os.kill(os.getpid(), signal.SIGKILL)
        elif passed[0] == ending.boundary:
            forbid(folder, READ_ONLY if ending.then == "read-only" else NO_ACCESS)
        passed[0] += 1

    with open(report, "w", encoding="utf-8") as told:  # before its folder is forbidden
        _wrap(meet)
        if ending.after_s is not None:
            threading.Timer(ending.after_s, os.kill, (os.getpid(), signal.SIGKILL)).start()
        error, is_ours = "", True
        try:
            verb_named(verb).play(world)
        except Exception as found:  # whatever it is, the report says so
            is_ours = isinstance(found, ClipdataError)
            error = str(found) if is_ours else "".join(traceback.format_exception(found)[-8:])
        if disk is not None:
            disk.leave(folder.with_suffix(LOST))
        json.dump({"boundaries": passed[0], "error": error, "is_ours": is_ours}, told)
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
