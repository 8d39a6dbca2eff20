"""Rows a second of a stream of pictures, and of the stream of another checkout, in turns.

    python benchmarks/stream_rate.py TABLE --against FOLDER

FOLDER is a checkout of the release to compare with, TABLE a table with a column `image`. Each side decodes with the
starter's preparation for training and runs in a process of its own; the first epoch warms up and is not counted. Both
the time on the clock and the processor time are told, since a machine that does other work blurs the former.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

SIDE = """
import json, sys, time
import clipdata as cd
table = cd.open_table(sys.argv[1])
prepare = cd.load_encoder("starter", device="cpu").prepare
prepare = prepare.with_fidelity("fast") if hasattr(prepare, "with_fidelity") else prepare
stream = cd.Stream(table, ["image"], batch_size=int(sys.argv[2]), prepare=prepare, drop_last=False)
list(stream)
begun, begun_cpu = time.perf_counter(), time.process_time()
num_rows = sum(len(batch["image"]) for _ in range(3) for batch in stream)
print(json.dumps([num_rows / (time.perf_counter() - begun), num_rows / (time.process_time() - begun_cpu)]))
"""


def measure(checkout: Path, table: str, batch_size: int) -> tuple[float, float]:
    """Rows a second on the clock, and rows a second of processor time."""
    ran = subprocess.run(
        [sys.executable, "-c", SIDE, table, str(batch_size)],
        env={**os.environ, "PYTHONPATH": str(checkout)},
        cwd=checkout,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    on_clock, of_processor = json.loads(ran.stdout.splitlines()[-1])
    return on_clock, of_processor


def main() -> None:
    """Print each repeat, and the ratio of the best ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table")
    parser.add_argument("--against", type=Path, required=True)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    sides = {"this": Path(__file__).resolve().parent.parent, "other": options.against.resolve()}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for _ in range(options.repeats):
        for name, checkout in sides.items():
            found[name].append(measure(checkout, options.table, options.batch_size))
            print(
                f"{name:>6}: {found[name][-1][0]:8.0f} rows/s, {found[name][-1][1]:8.0f} rows per processor second",
                flush=True,
            )
    for place, what in enumerate(("rows/s", "rows per processor second")):
        best = {name: max(rate[place] for rate in rates) for name, rates in found.items()}
        print(f"{what}: {best['this']:.0f} to {best['other']:.0f}, ratio {best['this'] / best['other']:.2f}")


if __name__ == "__main__":
    main()
