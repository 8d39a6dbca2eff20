"""Rows a second of a map on Ray with 1, 2 and 4 workers, beside the local engine, in one run.

    python benchmarks/ray_workers.py [--rows 400] [--workers 1,2,4] [--size 64]

Two steps: a cheap one (the perceptual hash of a picture, CPU alone) and one with a model (the image embedding of a tiny
CLIP with random weights). What is timed is the whole call, start of the actors and loading of the step included, and
beside it the rate from the first fragment that is done to the last. A machine of few cores gains nothing from more
workers than it has cores; the run says how many there are. Ray's own cluster of this machine is begun before.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa

import clipdata as cd
from clipdata.cores import num_cores
from clipdata.engines.local import LocalEngine
from clipdata.engines.ray import RayEngine, connect
from clipdata.engines.task import Engine, FragmentDone, FragmentTask
from clipdata.lance_io import rows
from clipdata.progress import Counter
from clipdata.schema import image_schema

FRAGMENTS = 8


class Timed:
    """An engine, and when it gave back each fragment."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.done_s: list[float] = []

    def run(self, tasks: Iterable[FragmentTask], counter: Counter) -> Iterator[FragmentDone]:
        for done in self.engine.run(tasks, counter):
            self.done_s.append(time.monotonic())
            yield done


def write(folder: Path, num_rows: int, size: int) -> cd.Table:
    """Pictures of noise, which no two are alike, in eight fragments."""
    table = rows.create_table(folder / "t.lance", image_schema())
    random = np.random.default_rng(0)
    for start in range(0, num_rows, num_rows // FRAGMENTS):
        names = [f"{number:06}.jpg" for number in range(start, start + num_rows // FRAGMENTS)]
        pixels = random.integers(0, 255, (len(names), size, size, 3), np.uint8)
        encoded = [cv2.imencode(".jpg", one)[1].tobytes() for one in pixels]
        rows.upsert(table, pa.table({"path": names, "image": encoded, "bytes": [len(one) for one in encoded]}))
    return cd.open_table(table.uri)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--workers", default="1,2,4")
    given = parser.parse_args()
    from tests.tiny_models import tiny_encoder

    steps = {"perceptual hash": cd.steps.PerceptualHash(), "tiny CLIP": cd.steps.ImageEmbedding(tiny_encoder())}
    load = os.getloadavg()[0]
    print(f"{given.rows} pictures of {given.size} px, {FRAGMENTS} fragments, {num_cores()} cores, load {load:.1f}")
    connect(None)
    print("| step | engine | whole call s | rows/s once started | of local |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        table = write(Path(folder), given.rows, given.size)
        for title, step in steps.items():
            alone = 0.0
            for num in (0, *map(int, given.workers.split(","))):
                # More actors than cores are allowed to start: the point is what they give.
                engine = Timed(RayEngine(workers=num, cpus=min(1, num_cores() / num)) if num else LocalEngine())
                started_s = time.monotonic()
                cd.map_column(table, step, "made", engine=engine, overwrite=True)
                whole_s = time.monotonic() - started_s
                between = engine.done_s[-1] - engine.done_s[0]
                rate = given.rows * (FRAGMENTS - 1) / FRAGMENTS / max(between, 1e-9)
                alone = alone or rate
                name = f"ray, {num} workers" if num else "local"
                print(f"| {title} | {name} | {whole_s:.1f} | {rate:,.0f} | {rate / alone:.2f} |", flush=True)


if __name__ == "__main__":
    main()
