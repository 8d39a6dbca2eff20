"""Ingest of a local folder against DataChain's own listing, reading and saving of the same folder, in turn.

    python benchmarks/ingest_vs_datachain.py [--images 2000] [--repeats 3]

Ours lists the folder, reads and decodes every image, and writes bytes and header to a Lance table. DataChain's lists
the folder into its database, reads the header of every image (`ImageFile.get_info`) or its bytes, and saves them; its
prefetch, which makes work on local files slower, is off. Each is a process of its own with an empty database; what is
timed is the work, imports left out.
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
FORMS = {
    "ours: list": """
import ingest.pictures.image_files
started = time.monotonic()
num = len(list(ingest.pictures.image_files.ImageFiles(folder).items()))
""",
    "ours: list, read, decode, write": """
import ingest, lance
started = time.monotonic()
num = ingest.from_images(folder, into=f"{work}/t.lance").table.num_rows
""",
    "ours: by reference": """
import ingest, lance
started = time.monotonic()
num = ingest.from_images(folder, into=f"{work}/t.lance", reference=True).table.num_rows
""",
    "DataChain: list": """
import datachain as dc
started = time.monotonic()
num = dc.read_storage(folder, type="image").count()
""",
    "DataChain: list, read header, save": """
import datachain as dc
def width(file: dc.ImageFile) -> int:
    return file.get_info().width
started = time.monotonic()
num = dc.read_storage(folder, type="image").settings(prefetch=0).map(width=width).save("images").count()
""",
    "DataChain: list, read bytes, save": """
import datachain as dc
def data(file: dc.ImageFile) -> bytes:
    return file.read_bytes()
started = time.monotonic()
num = dc.read_storage(folder, type="image").settings(prefetch=0).map(data=data).save("images").count()
""",
}
CHILD = """
import json, sys, time
folder, work = sys.argv[1:]
{form}
print(json.dumps([num, time.monotonic() - started]))
"""


def timed(form: str, folder: str, num: int) -> float:
    """Images a second of one form."""
    with tempfile.TemporaryDirectory() as work:
        environment = os.environ | {"DATACHAIN_ROOT_DIR": work, "DATACHAIN_NO_ANALYTICS": "1"}
        command = [sys.executable, "-c", CHILD.format(form=FORMS[form]), folder, work]
        done = subprocess.run(
            command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        found, seconds = json.loads(done.stdout.splitlines()[-1])
    assert found == num, f"{form} found {found} of {num} images"
    return num / seconds


def main() -> int:
    """Print the rates and their ratios."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--images", type=int, default=2000)
    words.add_argument("--repeats", type=int, default=3)
    given = words.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start", flush=True)
    rates: dict[str, list[float]] = {form: [] for form in FORMS}
    with tempfile.TemporaryDirectory() as folder:
        drawings = [encoded(number, ".jpg", 240, 320) for number in range(100)]
        for number in range(given.images):
            (Path(folder) / f"{number:06d}.jpg").write_bytes(drawings[number % 100])
        for repeat in range(given.repeats):
            for form in list(FORMS) if repeat % 2 else reversed(FORMS):
                rates[form].append(timed(form, folder, given.images))
    medians = {form: statistics.median(found) for form, found in rates.items()}
    for form, found in rates.items():
        print(f"{form:36} {medians[form]:8,.0f} images/s   ({' '.join(f'{rate:,.0f}' for rate in found)})")
    whole = medians["ours: list, read, decode, write"]
    print(f"listing: ours is {medians['ours: list'] / medians['DataChain: list']:.1f}× DataChain's")
    for form in ("DataChain: list, read header, save", "DataChain: list, read bytes, save"):
        print(f"ours, everything, is {whole / medians[form]:.1f}× {form!r}")
    print(f"load {os.getloadavg()[0]:.1f} at the end")
    return 0


if __name__ == "__main__":
    sys.exit(main())
