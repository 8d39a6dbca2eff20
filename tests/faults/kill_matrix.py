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
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import lance
import pyarrow as pa
import pyarrow.parquet as pq
from lance.dataset import MergeInsertBuilder, Tags
from lance.optimize import Compaction

import clipdata as cd
import ingest
from clipdata.errors import ClipdataError
from clipdata.lance_io import cleaning, filling
from clipdata.lance_io.state import StateFolder
from clipdata.step_protocol import BaseStep
from clipdata.storage import Storage, join
from tests.pictures import write_pictures

VOLATILE = {"mtime", "etag", "uri", "image_table", "source"}
NUM_PICTURES = 12


class Width(BaseStep):
    """So many times the width."""

    name, returns, reads = "Width", pa.int64(), ("width",)

    def __init__(self, times: int = 2) -> None:
        self.version = str(times)

    def compute(self, batch: pa.RecordBatch, prepared: object) -> Any:
        return pa.compute.multiply(batch.column("width").cast(pa.int64()), int(self.version))


@dataclass(frozen=True)
class World:
    """Where a verb works.

    Args:
        sources: local folder of what is taken in.
        place: folder or URL of the tables.
        storage: how to reach it.
        out: local folder for files that are written.
    """

    sources: str
    place: str
    storage: Storage
    out: str

    def at(self, name: str) -> str:
        """The location of a table."""
        return join(self.place, name)


def _images(world: World) -> None:
    ingest.from_images(f"{world.sources}/in", into=world.at("new.lance"), storage=world.storage)


def _parquet(world: World) -> None:
    ingest.from_parquet(f"{world.sources}/meta.parquet", into=world.at("new.lance"), storage=world.storage)


def _captions(world: World) -> None:
    ingest.from_captions(
        f"{world.sources}/in", f"{world.sources}/captions.csv", into=world.at("new.lance"), storage=world.storage
    )


def _shards(world: World) -> None:
    ingest.from_shards(f"{world.sources}/shards", into=world.at("new.lance"), storage=world.storage)


def _merge(world: World) -> None:
    ingest.merge(
        world.at("images.lance"), world.at("meta.lance"), on="filename", into=world.at("new.lance"),
        storage=world.storage,
    )  # fmt: skip


def _cleaned(table: cd.Table) -> None:
    """Clean what is older than no time at all, which is allowed in no other place than this process."""
    cleaning.LEAST = timedelta(0)
    cd.clean(table, older_than=timedelta(0))


def _on_images(function: Callable[[cd.Table, World], object]) -> Callable[[World], None]:
    def called(world: World) -> None:
        function(cd.open_table(world.at("images.lance"), storage=world.storage), world)

    return called


VERBS: dict[str, Callable[[World], None]] = {
    "ingest images": _images,
    "ingest parquet": _parquet,
    "ingest captions": _captions,
    "ingest shards": _shards,
    "merge": _merge,
    "map": _on_images(lambda table, _: cd.map_column(table, Width(3), "thrice", batch_rows=4)),
    "map --overwrite": _on_images(lambda table, _: cd.map_column(table, Width(5), "twice", overwrite=True)),
    "refresh": _on_images(lambda table, _: cd.refresh(table, ["twice"], steps=[Width(2)])),
    "delete": _on_images(lambda table, _: cd.delete(table, "path = '0001.jpg'")),
    "drop": _on_images(lambda table, _: cd.drop(table, "twice")),
    "restore": _on_images(lambda table, _: cd.restore(table, "raw")),
    "tag": _on_images(lambda table, _: cd.tag(table, "second")),
    "compact": _on_images(lambda table, _: cd.compact(table)),
    "clean": _on_images(lambda table, _: _cleaned(table)),
    "index": _on_images(lambda table, _: cd.index(table, "filename")),
    "export parquet": _on_images(lambda table, world: cd.export(table, f"{world.out}/out.parquet")),
    "export folder": _on_images(lambda table, world: cd.export(table, f"{world.out}/out", format="folder")),
    "export shards": _on_images(lambda table, world: cd.export(table, f"{world.out}/out", format="shards")),
    "push": _on_images(lambda table, world: cd.push(table, f"{world.out}/pushed")),
}


def prepare(folder: Path) -> None:
    """Sources, and the tables that verbs work on, in `folder/sources` and `folder/tables`."""
    sources, tables = folder / "sources", folder / "tables"
    write_pictures(sources / "in", NUM_PICTURES)
    names = [f"{n:04d}.jpg" for n in range(NUM_PICTURES)]
    pq.write_table(pa.table({"filename": names, "label": names}), sources / "meta.parquet")
    lines = ["filename,caption", *(f"{name},picture {name}" for name in names)]
    (sources / "captions.csv").write_text("\n".join(lines) + "\n")
    ingest.from_images(str(sources / "in"), into=tables / "images.lance", limit=6)
    images = cd.open_table(tables / "images.lance")
    cd.tag(images.latest(), "raw")
    cd.map_column(images.latest(), Width(2), "twice")
    ingest.from_images(str(sources / "in"), into=tables / "images.lance")
    ingest.from_parquet(str(sources / "meta.parquet"), into=tables / "meta.lance")
    cd.delete(images.latest(), "path = '0002.jpg'")
    cd.export(images.latest(), str(sources / "shards"), format="shards")


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
    """

    def __init__(self, folder: Path, upload: Callable[[Path], tuple[str, Storage]] | None = None) -> None:
        self._folder, self._upload = folder, upload
        self._context = mp.get_context("forkserver")
        self._context.set_forkserver_preload(["tests.faults.kill_matrix"])
        self._number = 0
        self._undisturbed: dict[str, tuple[int, float, dict[str, str]]] = {}

    def undisturbed(self, verb: str) -> tuple[int, float, dict[str, str]]:
        """Boundaries of a verb, its seconds, and what it leaves."""
        if verb not in self._undisturbed:
            world = self._world()
            began_s = time.monotonic()
            code, boundaries, error = self._run(verb, world)
            assert code == 0, f"{verb}: {error}"
            self._undisturbed[verb] = boundaries, time.monotonic() - began_s, left_by(world)
        return self._undisturbed[verb]

    def kill(self, verb: str, *, boundary: int | None = None, after_s: float | None = None) -> Killed:
        """Kill a verb once, run it again, and compare."""
        _, _, expected = self.undisturbed(verb)
        world = self._world()
        code, _, error = self._run(verb, world, boundary, after_s)
        died = code == -signal.SIGKILL
        assert died or code == 0, f"{verb}: {error}"
        found, boundaries, error = self._run(verb, world)
        where = f"boundary {boundary}" if boundary is not None else f"after {after_s:.2f} s"
        now = left_by(world)
        differences = [name for name in sorted(expected.keys() | now.keys()) if expected.get(name) != now.get(name)]
        if found and differences:  # what is done already may be refused, as long as it is done
            differences.append(f"exit code {found}: {error}")
        self._remove(world)
        return Killed(verb, where, died, boundaries, tuple(differences))

    def _world(self) -> World:
        self._number += 1
        folder = self._folder / f"world-{self._number}"
        shutil.copytree(self._folder / "tables", folder / "tables")
        (folder / "out").mkdir()
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


def left_by(world: World) -> dict[str, str]:
    """What is in the tables and files of a world: name → digest of rows, columns, tags, or bytes."""
    found = {}
    for name in ("images.lance", "meta.lance", "new.lance"):
        with suppress(ClipdataError):
            found |= _left_in(name, cd.open_table(world.at(name), storage=world.storage))
    for path in sorted(Path(world.out).rglob("*")):
        inside = path.relative_to(world.out).as_posix()
        if path.suffix == ".tar" or path.suffix in (".parquet", ".jpg"):
            found[inside] = hashlib.sha256(path.read_bytes()).hexdigest()
        elif path.is_dir() and path.suffix == ".lance":
            found |= _left_in(inside, cd.open_table(path))
    return found


def _left_in(name: str, table: cd.Table) -> dict[str, str]:
    rows = table.to_table().sort_by(str(table.key)) if table.key else table.to_table()
    columns = {column: rows[column].to_pylist() for column in rows.column_names if column not in VOLATILE}
    # The tag of pictures that another table refers to has a digest of that table's place in its name.
    tags = sorted(re.sub(r"[0-9a-f]{8,}", "…", tag) for tag in table.dataset.tags.list())
    table.dataset.validate()
    digests = {f"{name}: {key}": hashlib.sha256(repr(values).encode()).hexdigest() for key, values in columns.items()}
    indices = sorted(index.name for index in table.dataset.describe_indices())
    return digests | {f"{name}: tags": repr(tags), f"{name}: indices": repr(indices)}


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
        VERBS[verb](world)
    except ClipdataError as found:
        error = str(found)
    Path(report).write_text(json.dumps({"boundaries": passed[0], "error": error}))
    os._exit(1 if error else 0)


def _wrap(meet: Callable[[], None]) -> None:
    def around(owner: Any, name: str) -> None:
        function = getattr(owner, name)

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            meet()
            result = function(*args, **kwargs)
            meet()
            return result

        static = isinstance(owner.__dict__.get(name), staticmethod)
        setattr(owner, name, staticmethod(wrapped) if static else wrapped)

    for name in ("commit", "add_columns", "drop_columns", "restore", "update_metadata", "create_index",
                 "create_scalar_index", "cleanup_old_versions"):  # fmt: skip
        around(lance.LanceDataset, name)
    around(MergeInsertBuilder, "execute")
    around(Compaction, "commit")
    around(Tags, "create")
    around(StateFolder, "_write")
    around(StateFolder, "remove")
    around(filling, "write_column")
    around(os, "replace")
    around(os, "rename")
