"""What does a merged table gain or lose when its rows refer to pictures instead of holding a copy each?

    python benchmarks/picture_once.py                   one and five captions a picture, on disk and in a bucket
    python benchmarks/picture_once.py --stores disk

Both sides are merged of the same tables and measured in turns in one process: bytes of the merged table, seconds of the
merge, and rows a second of a bare scan of the pictures, of the training stream (the second epoch too), of map (a tiny
model's embeddings, so that reading and decoding are what is measured) and of the export of shards. The bucket is an
emulator on the loopback that answers every request 30 ms later. Ratios are references to copies: of sizes, times and
requests, less is better; of rates, more. A few hundred kilobytes of pictures are no measure: copies of so little Lance
itself keeps once, in a page.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import clipdata as cd
import ingest
from benchmarks.bucket_ingest import LATENCY_S, served
from clipdata.storage import Storage
from tests.cloud.fault_proxy import Counts, Fault, FaultProxy
from tests.pictures import drawing
from tests.tiny_models import tiny_encoder

SIDES = {"copies": True, "references": False}
Measured = dict[str, float]


@dataclass(frozen=True)
class Place:
    """Where the tables are.

    Args:
        name: for people.
        root: folder or URL.
        storage: how to reach it.
        proxy: before the store, to make requests slow and to count them; None on disk.
    """

    name: str
    root: str
    storage: Storage
    proxy: FaultProxy | None = None

    @contextmanager
    def slow(self) -> Iterator[Counts | None]:
        """Make requests slow, and count them; the count is there when they are quick again."""
        if self.proxy is None:
            yield None
            return
        with self.proxy.injecting(Fault("latency", delay_s=(LATENCY_S, LATENCY_S))), self.proxy.counting() as counts:
            yield counts


def photo(seed: int) -> bytes:
    """A picture of about 60 KB."""
    pixels = cv2.resize(drawing(seed), (640, 480), interpolation=cv2.INTER_CUBIC).astype(np.int16)
    pixels += np.random.default_rng(seed).integers(-14, 15, pixels.shape, dtype=np.int16)
    return cv2.imencode(".jpg", np.clip(pixels, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()


def prepare_sides(folder: Path, num: int, captions: int) -> None:
    """Pictures in a folder, and captions of them in a file."""
    (folder / "in").mkdir(parents=True)
    for number in range(num):
        (folder / "in" / f"{number:05d}.jpg").write_bytes(photo(number))
    names = [f"{number:05d}.jpg" for number in range(num) for _ in range(captions)]
    columns = {"filename": names, "caption": [f"caption {place}" for place in range(len(names))]}
    pq.write_table(pa.table(columns), folder / "meta.parquet")


def measured(
    place: Place, into: str, copies: bool, scratch: Path, encoder: cd.Encoder, leave_out: Sequence[str]
) -> Measured:
    """Merge, and read the merged table in every way."""
    found: Measured = {}
    begun = time.monotonic()
    with place.slow():
        table = ingest.merge(
            f"{place.root}/images.lance",
            f"{place.root}/meta.lance",
            into=into,
            storage=place.storage,
            copy_images=copies,
        )
        found["merge, s"] = time.monotonic() - begun
    if place.proxy is None:
        found["size, MiB"] = sum(file.stat().st_size for file in Path(into).rglob("*") if file.is_file()) / 2**20
    prepare = encoder.prepare.with_fidelity("fast")
    stream = cd.Stream(table, ["image"], batch_size=64, prepare=prepare, drop_last=False)
    works = {
        "read": lambda: sum(batch.num_rows for batch in table.scan(["image"], batch_rows=256)),
        "first epoch": lambda: sum(len(batch["image"]) for batch in stream),
        "stream": lambda: sum(len(batch["image"]) for batch in stream),
        "map": lambda: cd.map_column(table, cd.steps.ImageEmbedding(encoder), "embedding").computed,
        "export": lambda: cd.export(table.pinned(), scratch / "out", storage=place.storage).num_rows,
    }
    for name, work in works.items():
        if name in leave_out:
            continue
        begun, begun_cpu = time.monotonic(), time.process_time()
        with place.slow() as counts:
            num_rows = work()
            found[f"{name}, rows/s"] = num_rows / (time.monotonic() - begun)
            found[f"{name}, rows/CPU s"] = num_rows / (time.process_time() - begun_cpu)
        assert num_rows == table.num_rows, (name, num_rows)
        if counts is not None:
            found[f"{name}, requests"] = len(counts.log)
            found[f"{name}, MiB"] = counts.down_bytes / 2**20
    shutil.rmtree(scratch / "out", ignore_errors=True)
    return found


def compare(place: Place, num: int, captions: int, repeats: int, encoder: cd.Encoder, leave_out: Sequence[str]) -> None:
    """Print the medians of both sides, and their ratios."""
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        prepare_sides(scratch, num, captions)
        ingest.from_images(scratch / "in", into=f"{place.root}/images.lance", storage=place.storage)
        ingest.from_parquet(scratch / "meta.parquet", into=f"{place.root}/meta.lance", storage=place.storage)
        runs: dict[str, list[Measured]] = {side: [] for side in SIDES}
        for repeat in range(repeats):
            for side in SIDES if repeat % 2 else reversed(SIDES):
                runs[side].append(
                    measured(place, f"{place.root}/{side}{repeat}.lance", SIDES[side], scratch, encoder, leave_out)
                )
        print(f"\n{place.name}: {num} pictures, {captions} captions each, {repeats} repeats", flush=True)
        print(f"{'':22} {'copies':>10} {'references':>10} {'ratio':>6}")
        for what in runs["copies"][0]:
            copies, refers = (statistics.median(run[what] for run in runs[side]) for side in SIDES)
            print(f"{what:22} {copies:10.2f} {refers:10.2f} {refers / copies:6.2f}", flush=True)


@contextmanager
def on_disk() -> Iterator[Place]:
    """A folder."""
    with tempfile.TemporaryDirectory() as name:
        yield Place("disk", name, Storage())


@contextmanager
def in_bucket() -> Iterator[Place]:
    """A bucket that takes 30 ms longer for every request."""
    with tempfile.TemporaryDirectory() as name, served("gs", Path(name)) as bucket:
        said = f"bucket, {1000 * LATENCY_S:.0f} ms a request"
        yield Place(said, bucket.url("tables"), bucket.storage, bucket.proxy)


def main() -> None:
    """Measure what was asked for."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--pictures", type=int, default=300)
    words.add_argument("--captions", default="1,5")
    words.add_argument("--repeats", type=int, default=3)
    words.add_argument("--stores", default="disk,bucket")
    words.add_argument("--leave-out", default="", help="what not to measure, such as map,export")
    given = words.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start", flush=True)
    encoder = tiny_encoder()
    for store in given.stores.split(","):
        for captions in map(int, given.captions.split(",")):
            with on_disk() if store == "disk" else in_bucket() as place:
                compare(place, given.pictures, captions, given.repeats, encoder, given.leave_out.split(","))
    print(f"\nload {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
