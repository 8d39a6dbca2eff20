"""Ingest of many small pictures against a loop written by hand: what does a picture cost beside its decoding?

    python benchmarks/small_pictures.py [--images 20000] [--repeats 3]

The loop reads every file, decodes all of it, takes its digest, and writes bytes and header to a Lance table in the same
row schema, with nothing else: no listing of stamps, no reasons, no table to compare with. Each is a process of its own
and what is compared is CPU time, imports left out, so that threads win nothing. Promised: at most 1.2 times the loop's.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.pictures import encoded

ROOT = Path(__file__).resolve().parents[1]
PROMISED = 1.2
FORMS = {
    "by hand": """
import hashlib, os
from datetime import datetime, UTC
import cv2, lance, numpy as np, pyarrow as pa
from clipdata.schema import image_schema
schema = image_schema()
before = cpu()
def batches():
    names, rows = sorted(os.listdir(folder)), []
    for name in names:
        path = f"{folder}/{name}"
        about = os.stat(path)
        with open(path, "rb") as file:
            data = file.read()
        height, width, _ = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB).shape
        moment = datetime.fromtimestamp(about.st_mtime, UTC)
        etag = f"{about.st_size}-{about.st_mtime_ns}"
        digest = hashlib.sha256(data).hexdigest()
        rows.append((name, name, path, data, "jpeg", width, height, len(data), etag, digest, moment))
        if len(rows) == 1024 or name is names[-1]:
            yield pa.RecordBatch.from_arrays([pa.array(c, f.type) for c, f in zip(zip(*rows), schema)], schema=schema)
            rows = []
lance.write_dataset(pa.RecordBatchReader.from_batches(schema, batches()), f"{work}/t.lance", data_storage_version="2.2")
num = lance.dataset(f"{work}/t.lance").count_rows()
""",
    "ours": """
import ingest, lance, cv2
before = cpu()
num = ingest.from_images(folder, into=f"{work}/t.lance").table.num_rows
""",
    "ours, reading alone": """
import cv2
from ingest.pictures.image_files import ImageFiles
before = cpu()
source = ImageFiles(folder)
num = sum(batch.num_rows for batch in source.read(source.items(), print))
""",
}
CHILD = """
import json, sys, time
folder, work = sys.argv[1:]
cpu = time.process_time
{form}
print(json.dumps([num, cpu() - before]))
"""


def cpu_s(form: str, folder: str, num: int) -> float:
    """CPU seconds of one form."""
    with tempfile.TemporaryDirectory() as work:
        command = [sys.executable, "-c", CHILD.format(form=FORMS[form]), folder, work]
        done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE)
        found, seconds = json.loads(done.stdout.splitlines()[-1])
    assert found == num, f"{form} found {found} of {num} images"
    return float(seconds)


def main() -> int:
    """Print CPU time a picture and its ratio to the loop's; return 1 where it is more than promised."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--images", type=int, default=20_000)
    words.add_argument("--side", type=int, default=128, help="height and width of a picture")
    words.add_argument("--repeats", type=int, default=3)
    given = words.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start", flush=True)
    spent: dict[str, list[float]] = {form: [] for form in FORMS}
    with tempfile.TemporaryDirectory() as folder:
        drawings = [encoded(number, ".jpg", given.side, given.side) for number in range(100)]
        for number in range(given.images):
            (Path(folder) / f"{number:06d}.jpg").write_bytes(drawings[number % 100])
        for repeat in range(given.repeats):
            for form in list(FORMS) if repeat % 2 else reversed(FORMS):
                spent[form].append(cpu_s(form, folder, given.images))
    medians = {form: statistics.median(found) for form, found in spent.items()}
    for form, found in spent.items():
        each = "".join(f" {seconds:.2f}" for seconds in found)
        ratio = medians[form] / medians["by hand"]
        print(f"{form:22} {1e6 * medians[form] / given.images:6.0f} µs a picture   {ratio:5.2f} ×   (CPU s:{each})")
    print(f"load {os.getloadavg()[0]:.1f} at the end")
    return 0 if medians["ours"] <= PROMISED * medians["by hand"] else 1


if __name__ == "__main__":
    sys.exit(main())
