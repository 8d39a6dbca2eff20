"""The same verbs again and again in one process, for as long as one likes: nothing may grow that does not hold rows.

    python benchmarks/long_run.py --minutes 15

A loop changes a tenth of the pictures, takes them in, maps, changes questions, trains a few steps, compacts, and cleans
all old versions. The rows stay as many. Printed after each loop, and held at the end: resident memory, open files,
threads, versions, and bytes on the disk. The first fifth of the loops warms up and does not count.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.compute as pc

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import clipdata as cd
import ingest
from clipdata.lance_io import cleaning, rows
from clipdata.step_protocol import BaseStep
from tests.contests import contest_rows, contest_table
from tests.pictures import encoded
from tests.tiny_models import tiny_encoder

NUM_ROWS = 200
CHANGED = 20
# What the last loops may have more than the first that count: of memory a share and a part that every process has.
ALLOWED = {
    "rss_mib": (1.10, 48.0),
    "files": (1.0, 4.0),
    "threads": (1.0, 4.0),
    "versions": (1.0, 2.0),
    "disk_mib": (1.05, 0.5),
}


class Twice(BaseStep):
    """Two times the bytes of a picture."""

    name, returns, reads, version = "Twice", pa.int64(), ("bytes",), "1"

    def compute(self, batch: pa.RecordBatch, prepared: object) -> Any:
        """The values of a batch."""
        return pc.multiply(batch.column("bytes"), 2)


@dataclass(frozen=True)
class Held:
    """What the process and its tables hold after a loop."""

    rss_mib: float
    files: float
    threads: float
    versions: float
    disk_mib: float


def main() -> int:
    """Print a line a loop; return 1 when something grew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--loops", type=int, default=1_000_000, help="most loops")
    given = parser.parse_args()
    cleaning.LEAST = timedelta(0)  # nobody else writes here
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        encoder = tiny_encoder()
        contest_table(folder, NUM_ROWS)
        held: list[Held] = []
        print(f"{'loop':>5} {'rss MiB':>8} {'files':>6} {'threads':>8} {'versions':>9} {'disk MiB':>9} {'seconds':>8}")
        began_s = time.monotonic()
        while len(held) < given.loops and time.monotonic() - began_s < 60 * given.minutes:
            loop_s = time.monotonic()
            _loop(folder, len(held), encoder)
            held.append(_held(folder))
            now = held[-1]
            print(
                f"{len(held):5} {now.rss_mib:8.0f} {now.files:6.0f} {now.threads:8.0f} {now.versions:9.0f} "
                f"{now.disk_mib:9.2f} {time.monotonic() - loop_s:8.1f}",
                flush=True,
            )
    grown = grown_of(held)
    print("\n".join(f"{what}: {said}" for what, said in grown.items()) or "nothing grew")
    return int(bool(grown))


def grown_of(held: list[Held]) -> dict[str, str]:
    """What the last third of the loops has more of than is allowed over the first third behind the warm-up."""
    counted = held[len(held) // 5 :]
    third = max(len(counted) // 3, 1)
    found = {}
    for what, (factor, more) in ALLOWED.items():
        values = [asdict(one)[what] for one in counted]
        first, last = statistics.median(values[:third]), statistics.median(values[-third:])
        if last > first * factor + more:
            found[what] = f"{first:,.1f} at first, {last:,.1f} at last"
    return found


def _loop(folder: Path, number: int, encoder: cd.Encoder) -> None:
    pictures = folder / "pictures"
    pictures.mkdir(exist_ok=True)
    for place in range(NUM_ROWS if number == 0 else CHANGED):
        at = (number * CHANGED + place) % NUM_ROWS
        (pictures / f"{at:04d}.jpg").write_bytes(encoded(number * NUM_ROWS + at))
    images = ingest.from_images(pictures, into=folder / "images.lance").table
    cd.map_column(images, Twice(), "twice")
    assert images.count_nulls("twice") == 0
    contest = cd.open_table(folder / "contest.lance")
    rows.upsert(contest, contest_rows(NUM_ROWS, seed=number).slice(0, CHANGED))
    run = cd.train(contest.latest(), encoder, cd.TrainConfig(epochs=1, batch_size=64, lr=1e-3), out=folder / "run")
    assert run.metrics
    shutil.rmtree(folder / "run")
    for table in (images.latest(), contest.latest()):
        for named in list(table.dataset.tags.list()):
            cd.tag(table, named, delete=True, yes=True)
        cd.compact(table)
        cd.clean(table, older_than=timedelta(0))
        assert table.latest().num_rows == NUM_ROWS


def _held(folder: Path) -> Held:
    process = psutil.Process()
    disk = sum(path.stat().st_size for path in folder.rglob("*.lance/**/*") if path.is_file())
    versions = sum(len(list((folder / name / "_versions").iterdir())) for name in ("images.lance", "contest.lance"))
    return Held(process.memory_info().rss / 2**20, process.num_fds(), process.num_threads(), versions, disk / 2**20)


if __name__ == "__main__":
    sys.exit(main())
