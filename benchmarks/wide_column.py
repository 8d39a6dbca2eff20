"""Time and peak memory of mapping a wide column: a prepared picture of 224 pixels a side, 150,528 bytes a row.

    python benchmarks/wide_column.py [--rows 500 2000 16384] [--other PATH_OF_ANOTHER_CHECKOUT]

Each figure is of a process of its own, in turns, `--repeats` times; all rows are one fragment. Given another checkout,
such as a worktree of an earlier commit, the ratio to it is printed too.

Promised: peak memory does not grow with the column (`peak` is beside what the process held before).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import ClassVar

WIDTH = 3 * 224 * 224


def measure(num_rows: int) -> dict[str, float]:
    """Fill the column once, in this process."""
    import numpy as np
    import pyarrow as pa

    import clipdata as cd
    from clipdata.lance_io import rows
    from clipdata.lance_io.table import open_table
    from clipdata.schema import key_field

    noise = np.random.default_rng(0).integers(0, 256, (256, WIDTH), dtype=np.uint8)

    class Pixels:
        name, version, reads, returns = "Pixels", "1", ("number",), pa.list_(pa.uint8(), WIDTH)
        parameters: ClassVar[dict[str, object]] = {}
        model = None

        def check(self, schema: pa.Schema) -> None: ...

        def prepare(self, batch: pa.RecordBatch) -> None: ...

        def compute(self, batch: pa.RecordBatch, prepared: object) -> pa.Array:
            pixels = noise[batch.column("number").to_numpy() % 256].reshape(-1)
            return pa.FixedSizeListArray.from_arrays(pa.array(pixels), WIDTH)

    with tempfile.TemporaryDirectory() as folder:
        schema = pa.schema([key_field("path"), pa.field("number", pa.int64())])
        table = rows.create_table(Path(folder) / "t.lance", schema)
        keys = [f"{n:06d}" for n in range(num_rows)]
        rows.upsert(table, pa.table({"path": keys, "number": list(range(num_rows))}))
        table = open_table(table.uri)
        before, peak = _resident_bytes(), [0]
        threading.Thread(target=_watch, args=(peak,), daemon=True).start()
        began = time.monotonic()
        cd.map_column(table, Pixels(), "pixels", batch_rows=128)
        seconds = time.monotonic() - began
        last = open_table(table.uri).take(np.array([num_rows - 1]), ["pixels"]).column("pixels")[0].values.to_numpy()
        assert (last == noise[(num_rows - 1) % 256]).all()
    return {"seconds": seconds, "peak_mib": (peak[0] - before) / 2**20}


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _watch(peak: list[int]) -> None:
    while True:
        peak[0] = max(peak[0], _resident_bytes())
        time.sleep(0.005)


def main() -> None:
    """Print a line for each number of rows and checkout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[500, 2000, 16384])
    parser.add_argument("--other", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.one)))
        return
    sides = {"this": Path(__file__).resolve().parent.parent} | ({"other": arguments.other} if arguments.other else {})
    for num_rows in arguments.rows:
        found: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
        for _ in range(arguments.repeats):
            for name, path in sides.items():
                command = [sys.executable, __file__, "--one", str(num_rows)]
                done = subprocess.run(
                    command, env={**os.environ, "PYTHONPATH": str(path)}, capture_output=True, text=True, check=True
                )
                found[name].append(json.loads(done.stdout))
        print(f"{num_rows:,} rows, a column of {num_rows * WIDTH / 2**20:,.0f} MiB")
        for name, runs in found.items():
            seconds, peak = (statistics.median(run[key] for run in runs) for key in ("seconds", "peak_mib"))
            print(f"  {name:6} {seconds / num_rows * 1000:6.2f} s a thousand rows, peak {peak:6,.0f} MiB")


if __name__ == "__main__":
    main()
