"""What the tests of engines share: steps that a worker of another process imports, a job to be killed, a cluster.

python -m tests.contracts.engines map ENGINE URI FOLDER           maps `made` with `Shifted`, until somebody kills it
python -m tests.contracts.engines ingest ENGINE URI FOLDER IN     takes in the pictures of IN, until somebody kills it
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

import clipdata as cd
from clipdata.engines.local import LocalEngine
from clipdata.engines.ray import RayEngine
from clipdata.engines.task import Engine, FragmentDone, FragmentTask
from clipdata.progress import Counter
from clipdata.step_protocol import BaseStep
from ingest.pictures.image_files import ImageFiles
from ingest.updating.job import ingest
from ingest.updating.source import Item, Refuse

WITHIN = "CLIPDATA_TEST_WITHIN"
"""Variable of the environment that says whether this is the run inside a namespace."""
ADDRESS = "CLIPDATA_TEST_RAY"
"""Variable of the environment with the address of the cluster that the tests began."""
STARTS = 3


class Often:
    """An engine whose fragments are stored as often as a test needs it."""

    def __init__(self, engine: Engine, every_s: float = 0.0) -> None:
        self.engine, self.every_s = engine, every_s

    def run(self, tasks: Iterable[FragmentTask], counter: Counter) -> Iterator[FragmentDone]:
        return self.engine.run((replace(task, checkpoint_every_s=self.every_s) for task in tasks), counter)


def engine(name: str) -> Engine:
    """Make an engine by name; ray's has two workers on the tests' own cluster."""
    return LocalEngine() if name == "local" else RayEngine(workers=2, address=os.environ[ADDRESS])


class Shifted(BaseStep):
    """A number and an offset; fails on some rows, and says in files of a folder what it computed and where.

    Args:
        offset: to add.
        refuse: numbers it fails on.
        folder: gets a file a batch, named after the process.
        pause_s: to wait in each batch.
        dies_once: the first process that meets this number ends there, all others go on.
        dies: every process that meets this number ends.
    """

    name, version = "Shifted", "1"
    reads: tuple[str, ...] = ("number",)
    returns = pa.int64()

    def __init__(
        self,
        offset: int = 1,
        *,
        refuse: Iterable[int] = (),
        folder: Path | None = None,
        pause_s: float = 0.0,
        dies_once: int | None = None,
        dies: int | None = None,
    ) -> None:
        self.parameters: Mapping[str, Any] = {"offset": offset}
        self.offset, self.refuse, self.folder, self.pause_s = offset, frozenset(refuse), folder, pause_s
        self.dies_once, self.dies = dies_once, dies
        self.num_seen = 0

    def compute(self, batch: pa.RecordBatch, prepared: None) -> tuple[pa.Array, list[str | None]]:
        numbers = batch.column("number").to_pylist()
        self._die(numbers)
        time.sleep(self.pause_s)
        if self.folder is not None:
            (self.folder / f"{os.getpid()}-{numbers[0]}-{time.monotonic_ns()}").write_text(" ".join(map(str, numbers)))
        self.num_seen += len(numbers)
        values = [None if number in self.refuse else number + self.offset for number in numbers]
        return pa.array(values, pa.int64()), [f"odd one: {n}" if n in self.refuse else None for n in numbers]

    def _die(self, numbers: list[int]) -> None:
        if self.dies in numbers:
            os._exit(1)
        if self.dies_once in numbers and self.folder is not None:
            with suppress(FileExistsError):
                (self.folder / "died").touch(exist_ok=False)
                os._exit(1)

    def tally(self) -> dict[str, int]:
        return {"seen": self.num_seen}

    def add(self, tally: Mapping[str, int]) -> None:
        self.num_seen += tally["seen"]

    def notes(self) -> dict[str, Any]:
        return {"rows seen": self.num_seen}


class SlowImages(ImageFiles):
    """Image files, read one by one; says in files of a folder what was read and where.

    Args:
        root: of the pictures.
        folder: gets a file a picture, named after the process.
        pause_s: to wait before each.
        dies_once: the first process that is to read a picture of this name ends there, all others go on.
    """

    def __init__(
        self, root: str | Path, *, folder: Path, pause_s: float = 0.0, dies_once: str = "", storage: Any = None
    ) -> None:
        super().__init__(root, storage=storage)
        self.folder, self.pause_s, self.dies_once = folder, pause_s, dies_once

    def read(self, items: Iterable[Item], refuse: Refuse) -> Iterator[pa.RecordBatch]:
        for item in items:
            if item.key == self.dies_once:
                with suppress(FileExistsError):
                    (self.folder / "died").touch(exist_ok=False)
                    os._exit(1)
            time.sleep(self.pause_s)
            number = Path(item.key).stem
            (self.folder / f"{os.getpid()}-{number}-{time.monotonic_ns()}").write_text(number)
            yield from super().read([item], refuse)


def computed(folder: Path) -> list[int]:
    """The numbers that were computed, each as often as it was."""
    return sorted(int(word) for file in folder.glob("*-*-*") for word in file.read_text().split())


def processes(folder: Path) -> set[str]:
    """The processes that computed them."""
    return {file.name.split("-")[0] for file in folder.glob("*-*-*")}


def why_not() -> str | None:
    """Why no cluster can be begun in a network namespace of its own; None when it can."""
    try:
        import ray  # noqa: F401
    except ImportError:
        return "Ray is not installed; pip install 'clipdata[ray]'"
    if not shutil.which("unshare") or not shutil.which("ip"):
        return "unshare and ip are needed, for a network namespace with the loopback alone"
    tried = subprocess.run(
        ["unshare", "-n", "ip", "link", "set", "lo", "up"], capture_output=True, text=True, check=False
    )
    return None if tried.returncode == 0 else f"no network namespace can be made here: {tried.stderr.strip()}"


@contextmanager
def two_nodes() -> Iterator[Any]:
    """A Ray cluster of two nodes with two CPUs each.

    Its workers have the priority of any process: Ray gives them the lowest, with which they come to nothing beside
    another process of the tests.
    """
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - as Ray spells it
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    try:
        for _ in range(2):
            _add_node(cluster)
        os.environ[ADDRESS] = cluster.address
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


def _add_node(cluster: Any) -> None:
    """Ray gives a node 30 s to start, which may be short on a busy machine."""
    for attempt in range(STARTS):
        try:
            cluster.add_node(num_cpus=2, include_dashboard=False, object_store_memory=80 << 20)
            return
        except Exception:
            if attempt == STARTS - 1:
                raise


def take_in_slowly(kind: str, uri: str, folder: Path, pictures: str) -> None:
    """Take in pictures two at a time, so that a job can be killed between them."""
    from ingest.updating import batches, newcomers, portions

    batches.UNIT_ROWS, portions.LEAST_ITEMS, newcomers.COMMIT_S = 2, 2, 0.0
    ingest(SlowImages(pictures, folder=folder, pause_s=0.1), uri, engine=engine(kind))


if __name__ == "__main__":
    verb, kind, uri, folder, *pictures = sys.argv[1:]
    if verb == "ingest":
        take_in_slowly(kind, uri, Path(folder), *pictures)
    else:
        cd.map_column(
            cd.open_table(uri),
            Shifted(folder=Path(folder), pause_s=0.1),
            "made",
            batch_rows=2,
            engine=Often(engine(kind)),
        )
