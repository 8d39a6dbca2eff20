"""Does an ingest cost the same whatever the table holds? Pictures of 100 KB into tables of many rows, in one run.

    python benchmarks/large_table_ingest.py [--tables 100000,5000000] [--pictures 4000] [--repeats 3]

Each ingest is of new pictures, in a process of its own, by key (each unit joined with all keys of the table) and as new
rows (files that one commit puts in). Beside it a dry run of the same, which is the plan: it reads the table's keys once
a run, not once a unit. What is left is the cost of the pictures. The rows that are there hold no picture, for it is
their number that costs.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

KINDS = ("by key", "as new rows")
CHILD = """
import json, resource, sys, time
import ingest, lance
from ingest.updating.target import Target
if {by_key}:
    Target.upsert = lambda target, unit, changed, are_new: target.by_key(unit, changed=changed)
def spent():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime, time.monotonic()
found = []
for dry_run in (True, False):
    before = spent()
    done = ingest.from_images('img', into={table!r}, prefix={prefix!r}, dry_run=dry_run)
    found += [now - then for now, then in zip(spent(), before)]
assert done.written.inserted == {num}, done
print(json.dumps([*found, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""


def make_pictures(folder: Path, num: int) -> None:
    """Pictures of about 100 KB; two hundred different ones, under as many names as are wanted."""
    import cv2

    chance = np.random.default_rng(0)
    different = []
    for _ in range(min(num, 200)):
        pixels = cv2.resize(chance.integers(0, 255, (94, 125, 3), np.uint8), (500, 375))
        pixels = cv2.add(pixels, chance.integers(0, 48, pixels.shape, np.uint8))
        different.append(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())
    (folder / "img").mkdir()
    for number in range(num):
        (folder / "img" / f"{number:06d}.jpg").write_bytes(different[number % len(different)])
    print(f"{num:,} pictures of {sum(map(len, different)) // len(different) // 1000} KB each", flush=True)


def make_table(folder: Path, num_rows: int) -> None:
    """A table of so many rows without pictures, in fragments of a million."""
    import lance
    import pyarrow as pa

    from benchmarks.scale_simulation import _pictures
    from clipdata.lance_io import rows
    from clipdata.schema import image_schema

    schema = image_schema()
    table = rows.create_table(folder / f"{num_rows}.lance", schema)
    reader = pa.RecordBatchReader.from_batches(schema, _pictures(schema, num_rows))
    lance.write_dataset(reader, table.uri, mode="append", max_rows_per_file=1_000_000)


def cost_of(folder: Path, num_rows: int, kind: str, repeat: int, num: int) -> list[float]:
    """CPU and wall seconds of the plan and of the whole ingest, and the peak in MiB."""
    prefix = f"{kind.replace(' ', '')}{repeat}"
    code = CHILD.format(by_key=kind == KINDS[0], table=f"{num_rows}.lance", prefix=prefix, num=num)
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, stdout=subprocess.PIPE)
    found: list[float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Print a line an ingest, and the ratios."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--tables", default="100000,5000000")
    words.add_argument("--pictures", type=int, default=4000)
    words.add_argument("--repeats", type=int, default=3)
    given = words.parse_args()
    sizes = list(map(int, given.tables.split(",")))
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for make, value in ((make_pictures, given.pictures), *((make_table, size) for size in sizes)):
            making = multiprocessing.get_context("spawn").Process(target=make, args=(folder, value))
            making.start()
            making.join()
        print(
            f"{'rows':>12} {'':12}{'plan CPU s':>12}{'all CPU s':>12}{'all wall s':>12}{'ms a picture':>14}  peak MiB"
        )
        each: dict[tuple[int, str], list[float]] = {}
        for repeat in range(given.repeats):
            for size in sizes:
                for kind in KINDS:
                    plan, _, whole, wall, peak = cost_of(folder, size, kind, repeat, given.pictures)
                    ms = 1000 * (whole - plan) / given.pictures
                    each.setdefault((size, kind), []).append(ms)
                    shown = f"{plan:>12.1f}{whole:>12.1f}{wall:>12.1f}{ms:>14.2f}{peak:>10,.0f}"
                    print(f"{size:>12,} {kind:12}{shown}", flush=True)
        typical = {one: statistics.median(found) for one, found in each.items()}
        for kind in KINDS:
            ratio = typical[sizes[-1], kind] / typical[sizes[0], kind]
            print(f"{kind}: a picture costs {ratio:.2f} times as much at {sizes[-1]:,} rows as at {sizes[0]:,}")
        for size in sizes:
            print(f"{size:,} rows: by key {typical[size, KINDS[0]] / typical[size, KINDS[1]]:.2f} times as new rows")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    print(f"load {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    main()
