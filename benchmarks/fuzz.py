"""Damaged input for every reader of what others wrote: what is neither read nor refused by the reader is told.

    python benchmarks/fuzz.py                              as many inputs for each reader as are worth it
    python benchmarks/fuzz.py --targets CSV,parquet --runs 100000 --seed 7
    python benchmarks/fuzz.py --atheris --targets "tar shards" --runs 100000      led by what code is reached

With `--atheris` one reader runs in a process of its own, as libFuzzer wants it; without it the mutator of
`tests.faults.fuzzing` makes the inputs, the same ones for a seed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.faults.fuzzing import Target, failure, fuzz, targets
from tests.tables import number_table


def main() -> int:
    """Print a line a reader, and what was found; return 1 when there is anything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, help="inputs for each reader; by default what each is worth")
    parser.add_argument("--targets", default="", help="names of readers, with commas between")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--atheris", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        chosen = targets(folder, number_table(folder))
        wanted = [word for word in given.targets.split(",") if word]
        chosen = [one for one in chosen if not wanted or one.name in wanted]
        if given.atheris:
            return _led(chosen[0], given.runs or chosen[0].num_runs, given.seed)
        num_found = 0
        print(f"{'reader':20} {'inputs':>8} {'seconds':>8}  findings")
        for target in chosen:
            began_s = time.monotonic()
            found = list(fuzz(target, num_runs=given.runs or target.num_runs, seed=given.seed))
            num_found += len(found)
            seconds = time.monotonic() - began_s
            print(f"{target.name:20} {given.runs or target.num_runs:8} {seconds:8.1f}  {len(found)}", flush=True)
            for one in found[:5]:
                print(f"    input {one.number}: {one.error}\n      {one.data[:200]!r}", flush=True)
        return int(num_found > 0)


def _led(target: Target, num_runs: int, seed: int) -> int:
    """Let atheris choose the inputs; it ends the process itself."""
    try:
        import atheris
    except ImportError:
        print("atheris is not installed: pip install atheris, or leave --atheris out")
        return 2

    def read(data: bytes) -> None:
        error = failure(target, data)
        if error is not None:
            raise error

    with tempfile.TemporaryDirectory() as corpus:
        for number, seed_data in enumerate(target.seeds):
            (Path(corpus) / str(number)).write_bytes(seed_data)
        atheris.instrument_all()
        atheris.Setup([sys.argv[0], f"-runs={num_runs}", f"-seed={seed or 1}", corpus], read)
        atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
