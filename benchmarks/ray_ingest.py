"""Pictures a second of an ingest on Ray with 1, 2 and 4 workers, beside the local engine, in one run.

    python benchmarks/ray_ingest.py [--images 1200] [--workers 1,2,4] [--wait-ms 10]

Each picture is waited for before it is read, one after the other, as from a server that gives one at a time: so what is
measured is what workers gain and cost beside reading, and not the cores that this machine has. What is timed is the
whole call; and beside it the rate from the first picture that is done to the last, in which no worker starts. Every
table is compared with the local one.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from clipdata.cores import num_cores
from clipdata.engines.ray import RayEngine, connect
from clipdata.lance_io.table import open_table
from clipdata.progress import Counter, Silent
from ingest.pictures.image_files import ImageFiles
from ingest.updating.job import ingest
from ingest.updating.source import Item, Refuse
from tests.pictures import write_pictures


class Awaited(ImageFiles):
    """Image files of which each is waited for."""

    def __init__(self, root: Path, wait_s: float) -> None:
        super().__init__(root)
        self.wait_s = wait_s

    def read(self, items: Iterable[Item], refuse: Refuse) -> Iterator[pa.RecordBatch]:
        for item in items:
            time.sleep(self.wait_s)
            yield from super().read([item], refuse)


class Timed(Silent):
    """Notes how many pictures were done at what time."""

    def __init__(self) -> None:
        self.done: list[tuple[float, int]] = []

    @contextmanager
    def task(self, label: str, total: int | None, unit: str = "rows") -> Iterator[Counter]:
        """Yield itself for the reading."""
        if label.startswith("ingest"):
            yield self
        else:
            with super().task(label, total, unit) as counter:
                yield counter

    def refuse(self, reason: str, num: int = 1) -> None:
        raise AssertionError(f"{num} pictures were refused: {reason}")

    def advance(self, num: int = 1) -> None:
        self.done.append((time.monotonic(), num))

    @property
    def rate(self) -> float:
        """Pictures a second between the first and the last."""
        between_s = self.done[-1][0] - self.done[0][0]
        return sum(num for _, num in self.done[1:]) / max(between_s, 1e-9)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1200)
    parser.add_argument("--workers", default="1,2,4")
    parser.add_argument("--wait-ms", type=float, default=10.0)
    given = parser.parse_args()
    print(f"{given.images} pictures, {given.wait_ms:g} ms each, {num_cores()} cores, load {os.getloadavg()[0]:.1f}")
    connect(None)
    print("| engine | whole call s | pictures/s once started | of local |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder, alone = Path(name), 0.0
        write_pictures(folder / "in", given.images)
        expected: list[dict[str, Any]] = []
        for num in (0, *map(int, given.workers.split(","))):
            engine = RayEngine(workers=num, cpus=min(1, num_cores() / num)) if num else None
            told, started_s = Timed(), time.monotonic()
            source = Awaited(folder / "in", given.wait_ms / 1000)
            ingest(source, folder / f"{num}.lance", engine=engine, progress=told)
            whole_s = time.monotonic() - started_s
            found = open_table(folder / f"{num}.lance").to_table().sort_by("path").to_pylist()
            expected = expected or found
            assert found == expected, "the table is another"
            alone = alone or told.rate
            called = f"ray, {num} workers" if num else "local"
            print(f"| {called} | {whole_s:.1f} | {told.rate:,.0f} | {told.rate / alone:.2f} |", flush=True)


if __name__ == "__main__":
    main()
