"""Pictures a CPU second of the stream from the originals, from raw prepared pixels and from prepared JPEGs, in turns.

    python -m benchmarks.stream.prepared FOLDER [--pictures 1024] [--size 500x375] [--turns 5]

The table is written into FOLDER unless it is there, of the photo-like JPEGs of `benchmarks.stream.pictures`. All sides
run in this process, one thread decodes, and only processor time counts, so that other work on the machine does little
to the ratios. The first turn warms up. Before that the levels are compared: raw ones must be equal to the exact
path's, and the error of the JPEGs is printed. Takes are timed by themselves as well, for how many rows are best read
at once.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
import torch

import clipdata as cd
from benchmarks.stream.pictures import write_pictures, written
from clipdata.encoder import Preparation
from clipdata.lance_io import rows
from clipdata.schema import image_schema

BATCH_ROWS = 64
TAKES = (8, 16, 64, 256, 512)
EXACT = Preparation((224, 224), (0.48, 0.46, 0.41), (0.27, 0.26, 0.28))
FAST = EXACT.with_fidelity("fast")
Side = Callable[[], int]


def make_table(folder: Path, num: int, size: tuple[int, int], quality: int) -> cd.Table:
    """The table with its prepared columns, written unless it is there."""
    table = rows.create_table(folder / "prepared.lance", image_schema())
    if not table.num_rows:
        write_pictures(folder / "pictures", num, size)
        data = [path.read_bytes() for path, _ in written(folder / "pictures")]
        columns = {"path": [f"{n:06d}.jpg" for n in range(len(data))], "image": data, "bytes": list(map(len, data))}
        rows.upsert(table, pa.table(columns))
    table = cd.open_table(table.uri)
    for column, step in (
        ("raw", cd.steps.PreparedPixels(EXACT)),
        ("jpeg", cd.steps.PreparedPixels(EXACT, "jpeg", quality=quality)),
        ("large", cd.steps.PreparedPixels(EXACT, side=256)),
    ):
        if column not in table.schema.names:
            print(cd.map_column(table, step, column), flush=True)
    return table


def sides(table: cd.Table) -> dict[str, Side]:
    """What is measured: each streams one epoch and says how many pictures it gave."""
    crops = cd.Augmentation((0.5, 1.0), flip=0.5)

    def of(prepare: Preparation, prepared: bool | str, augment: cd.Augmentation | None = None) -> Side:
        stream = cd.Stream(
            table, ["image"], batch_size=BATCH_ROWS, prepare=prepare, prepared=prepared, augment=augment, num_threads=1
        )

        def run() -> int:
            return sum(len(batch["image"]) for batch in stream)

        return run

    return {
        "originals, fast": of(FAST, False),
        "originals, exact": of(EXACT, False),
        "raw column": of(FAST, "raw"),
        "JPEG column": of(FAST, "jpeg"),
        "originals, random crops": of(FAST, False, crops),
        "larger raw column, random crops": of(FAST, "large", crops),
    }


def error_of(table: cd.Table, prepared: str) -> tuple[float, float]:
    """Mean and 99th percentile of the difference in levels to the exact path."""

    def levels(column: bool | str) -> torch.Tensor:
        stream = cd.Stream(table, ["image"], batch_size=BATCH_ROWS, prepare=EXACT, prepared=column, shuffle=False)
        return torch.cat([batch["image"].clone() for batch in stream.take(4)])

    apart = (levels(False).int() - levels(prepared).int()).abs().numpy()
    return float(apart.mean()), float(np.percentile(apart, 99))


def take_costs(table: cd.Table, turns: int) -> dict[int, float]:
    """Rows of one take → CPU microseconds a row of raw pixels, of takes of neighbouring clumps."""
    rng, took = np.random.default_rng(0), {num: [] for num in TAKES if num <= table.num_rows}
    for _ in range(turns + 1):
        for num, seconds in took.items():
            offsets = np.sort(rng.choice(table.num_rows, num, replace=False))
            started_s = time.process_time()
            table.take(offsets, ["raw"])
            seconds.append((time.process_time() - started_s) / num)
    return {num: 1e6 * median(seconds[1:]) for num, seconds in took.items()}


def main() -> None:
    """Write the table, compare the levels, measure in turns, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pictures", type=int, default=1024)
    parser.add_argument("--size", default="500x375")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--quality", type=int, default=95)
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    load = os.getloadavg()[0]
    table = make_table(options.folder, options.pictures, (width, height), options.quality)
    raw_mean, raw_p99 = error_of(table, "raw")
    assert raw_mean == raw_p99 == 0, "raw pixels are those of the exact path"
    jpeg_mean, jpeg_p99 = error_of(table, "jpeg")
    print(f"\n{date.today()}, {platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {load:.1f}")
    print(f"python -m benchmarks.stream.prepared {' '.join(sys.argv[1:])}")
    print(f"{table.num_rows:,} pictures of {options.size}; raw equal to the exact path, level for level;")
    print(f"JPEG of quality {options.quality}: mean error {jpeg_mean:.2f} levels, 99th percentile {jpeg_p99:.0f}\n")
    measured = sides(table)
    cpu_s: dict[str, list[float]] = {name: [] for name in measured}
    for _ in range(options.turns + 1):
        for name, run in measured.items():
            started_s = time.process_time()
            num = run()
            cpu_s[name].append((time.process_time() - started_s) / num)
    base = cpu_s["originals, fast"][1:]
    for name, seconds in cpu_s.items():
        ratio = median(one / other for one, other in zip(base, seconds[1:], strict=True))
        rates = sorted(1 / one for one in seconds[1:])
        print(
            f"{name:>32}: {median(rates):7,.0f} pictures/CPU-s [{rates[0]:,.0f}–{rates[-1]:,.0f}], "
            f"{1e6 * median(seconds[1:]):6.0f} µs a picture, {ratio:5.1f}×"
        )
    print("\none take of raw pixels, CPU µs a row: ", end="")
    print(", ".join(f"{num} rows {cost:.0f}" for num, cost in take_costs(table, options.turns).items()))


if __name__ == "__main__":
    main()
