"""Do time and memory stay in proportion to the rows? Every verb at one size and at ten times that size.

    python benchmarks/growth.py [--rows 100000] [--images 10000]

Promised: ten times the rows take at most eleven times as long, at a peak under 1.5 GB. Each verb is a process of its
own; what is timed is the call, imports left out. Images are tiny, so that it is the rows that cost. With the numbers
that are given by default, a million images are merged with a million rows.
"""

from __future__ import annotations

import argparse
import csv
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clipdata.lance_io import rows
from clipdata.schema import image_schema, key_field

FACTOR = 10
ROWS_A_FILE = 100  # one small file for so many rows: by default a thousand, and ten thousand
PROMISED_TIME = 1.1 * FACTOR
PROMISED_PEAK_MIB = 1.5e9 / 2**20
VERBS = {
    "ingest images": "ingest.from_images('img', into='i.lance')",
    "ingest parquet": "ingest.from_parquet('meta.parquet', into='m.lance')",
    "ingest csv": "ingest.from_parquet('meta.csv', into='s.lance', lists=['caption_choices'])",
    "ingest csv again": "ingest.from_parquet('meta.csv', into='s.lance', lists=['caption_choices'])",
    "ingest many files": "ingest.from_parquet('many', into='f.lance')",
    "ingest many files again": "ingest.from_parquet('many', into='f.lance')",
    "merge": "ingest.merge('i.lance', 'm.lance', into='c.lance')",
    "map": "cd.map_column(cd.open_table('c.lance'), cd.steps.LabelIndex('label'), 'label_ind')",
    "ingest images again": "ingest.from_images('img', into='i.lance')",
    "merge again": "ingest.merge('i.lance', 'm.lance', into='c.lance')",
    "merge one to one": "ingest.merge('ti.lance', 'tm.lance', into='tc.lance')",
    "merge one to one again": "ingest.merge('ti.lance', 'tm.lance', into='tc.lance')",
    "map again": "cd.map_column(cd.open_table('c.lance'), cd.steps.LabelIndex('label'), 'label_ind')",
}
CHILD = """
import json, time
import ingest, lance, clipdata as cd
cd.map_column, cd.steps
started = time.monotonic()
{verb}
seconds = time.monotonic() - started
# Not ru_maxrss, in which a process counts what its parent held when it was started.
peak = next(line for line in open('/proc/self/status') if line.startswith('VmHWM'))
print(json.dumps([seconds, int(peak.split()[1]) / 1024]))
"""


@dataclass(frozen=True)
class Cost:
    """Of one call."""

    seconds: float
    peak_mib: float


def make_input(folder: Path, num_images: int, num_rows: int) -> None:
    """Images in folders of a thousand, and questions about them in no order, as parquet and as CSV."""
    chance = np.random.default_rng(0)
    names = [f"p{number:07d}.jpg" for number in range(num_images)]
    for number, name in enumerate(names):
        inside = folder / "img" / f"{number // 1000:04d}"
        inside.mkdir(parents=True, exist_ok=True)
        pixels = cv2.resize(chance.integers(0, 255, (4, 4, 3), np.uint8), (32, 32))
        (inside / name).write_bytes(cv2.imencode(".jpg", pixels)[1].tobytes())
    about = chance.integers(0, num_images, num_rows)
    columns = {
        "filename": [names[image] for image in about],
        "caption_choices": [[f"caption {row} of choice {choice}" for choice in range(5)] for row in range(num_rows)],
        "label": ["ABCDE"[row % 5] for row in range(num_rows)],
    }
    pq.write_table(pa.table(columns), folder / "meta.parquet")
    with (folder / "meta.csv").open("w", newline="") as file:
        csv.writer(file).writerows([columns, *zip(*columns.values(), strict=True)])
    (folder / "many").mkdir()
    for number in range(num_rows // ROWS_A_FILE):
        pq.write_table(pa.table({"filename": [f"{number}.jpg"], "label": ["A"]}), folder / "many" / f"{number}.parquet")
    make_sides(folder, num_rows)


def make_sides(folder: Path, num_rows: int) -> None:
    """A table of as many images as rows, and one with a row of metadata for each, in another order."""
    images = rows.create_table(folder / "ti.lance", image_schema())
    facts = rows.create_table(
        folder / "tm.lance", pa.schema([key_field("row_key"), *[(name, "string") for name in ("filename", "caption")]])
    )
    about = np.random.default_rng(1).permutation(num_rows)
    for start in range(0, num_rows, rows.ROWS_PER_FRAGMENT):
        numbers = range(start, min(start + rows.ROWS_PER_FRAGMENT, num_rows))
        columns = {
            "path": [f"{number // 1000:04d}/p{number:07d}.jpg" for number in numbers],
            "filename": [f"p{number:07d}.jpg" for number in numbers],
            "etag": [f"{number}-1795651200.0" for number in numbers],
            "image": [b"image %d" % number for number in numbers],
        }
        rows.upsert(images, pa.table(columns))
        names = [f"p{about[number]:07d}.jpg" for number in numbers]
        captions = [f"caption {number} of some length" for number in numbers]
        rows.upsert(
            facts, pa.table({"row_key": [str(number) for number in numbers], "filename": names, "caption": captions})
        )


def cost_of(verb: str, folder: Path) -> Cost:
    """Run one verb in a process of its own."""
    code = CHILD.format(verb=VERBS[verb])
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, stdout=subprocess.PIPE)
    return Cost(*json.loads(done.stdout))


def main() -> int:
    """Run every verb at both sizes; return 1 when one grows faster than promised."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--rows", type=int, default=100_000)
    words.add_argument("--images", type=int, default=10_000)
    given = words.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start", flush=True)
    print(f"{'':24}{given.rows:>10,} rows{given.rows * FACTOR:>15,} rows   ratio", flush=True)
    kept = True
    with tempfile.TemporaryDirectory() as name:
        small, large = Path(name) / "small", Path(name) / "large"
        for folder, factor in ((small, 1), (large, FACTOR)):
            folder.mkdir()
            # In a process of its own: a child's peak counts what its parent held when it was started.
            making = multiprocessing.get_context("spawn").Process(
                target=make_input, args=(folder, given.images * factor, given.rows * factor)
            )
            making.start()
            making.join()
        for verb in VERBS:
            costs = [cost_of(verb, folder) for folder in (small, large)]
            ratio = costs[1].seconds / costs[0].seconds
            kept &= ratio <= PROMISED_TIME and costs[1].peak_mib <= PROMISED_PEAK_MIB
            shown = "".join(f"{cost.seconds:>9.2f} s{cost.peak_mib:>6,.0f} MiB" for cost in costs)
            print(f"{verb:24}{shown}{ratio:>8.1f}", flush=True)
    print(f"load {os.getloadavg()[0]:.1f} at the end")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
