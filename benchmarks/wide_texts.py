"""Peak memory of mapping texts of a mebibyte: as a step's values, and as its input.

    python benchmarks/wide_texts.py [--rows 1500] [--other PATH_OF_ANOTHER_CHECKOUT]

Each figure is of a process of its own, in turns. The table is written by another process, so that its memory does not
count. Given another checkout, such as a worktree of an earlier commit, that one runs too.

Promised: peak memory does not grow with the number of rows.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

TEXT_BYTES = 1 << 20


def write(target: str, num_rows: int) -> None:
    """Write a table of numbers and random texts, which no file can compress."""
    import lance
    import pyarrow as pa

    schema = pa.schema({"number": pa.int64(), "text": pa.string()})
    batches = (
        pa.record_batch([pa.array([n]), pa.array([os.urandom(TEXT_BYTES // 2).hex()])], schema=schema)
        for n in range(num_rows)
    )
    lance.write_dataset(pa.RecordBatchReader.from_batches(schema, batches), target)


def measure(target: str, which: str) -> None:
    """Map once in this process and print what memory it held before, and at most."""
    import clipdata as cd

    if which == "values":
        step = cd.step(reads="number", returns="string", version="1")(lambda number: chr(97 + number % 26) * TEXT_BYTES)
    else:
        step = cd.step(reads="text", returns="int64", version="1")(len)
    before = _memory("VmRSS")
    cd.map_column(cd.open_table(target), step, which)
    print(json.dumps({"before_mib": before, "peak_mib": _memory("VmHWM")}))


def _memory(name: str) -> int:
    """Mebibytes of this process; the peak of `getrusage` would be that of the process that started it."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line for line in status.splitlines() if line.startswith(name)).split()[1]) >> 10


def main() -> None:
    """Print a line for each kind and checkout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1500)
    parser.add_argument("--other", help="another checkout of this project")
    parser.add_argument("--run", nargs=2, metavar=("TARGET", "WHAT"))
    options = parser.parse_args()
    if options.run:
        target, what = options.run
        write(target, options.rows) if what == "write" else measure(target, what)
        return
    here = str(Path(__file__).parents[1])
    with tempfile.TemporaryDirectory() as folder:
        for which in ("values", "input"):
            for name, checkout in (("this", here), ("other", options.other)):
                if checkout:
                    target = f"{folder}/{which}-{name}.lance"
                    _run(here, options.rows, target, "write")
                    print(f"{which:<7} {name:<6} {_run(checkout, options.rows, target, which)}", flush=True)


def _run(checkout: str, num_rows: int, *what: str) -> str:
    command = [sys.executable, __file__, "--rows", str(num_rows), "--run", *what]
    environment = os.environ | {"PYTHONPATH": checkout}
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    main()
