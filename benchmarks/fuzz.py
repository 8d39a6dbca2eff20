"""Damaged input for every reader of what others wrote: what is neither read nor refused by the reader is told.

    python benchmarks/fuzz.py                              as many inputs for each reader as are worth it
    python benchmarks/fuzz.py --targets CSV,parquet --runs 100000 --seed 7
    python benchmarks/fuzz.py --atheris --seconds 60       led by what code of ours is reached

With `--atheris` each reader runs in a process of its own, as libFuzzer wants it, and only our own modules are
instrumented; without it the mutator of `tests.faults.fuzzing` makes the inputs, the same ones for a seed.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

OURS = ["clipdata", "ingest", "pipelines"]
_COUNTED = re.compile(r"^(?:#|Done )(\d+)", re.MULTILINE)  # as libFuzzer counts inputs


def main() -> int:
    """Print a line a reader, and what was found; return 1 when there is anything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, help="inputs for each reader; by default what each is worth")
    parser.add_argument("--targets", default="", help="names of readers, with commas between")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--atheris", action="store_true")
    parser.add_argument("--seconds", type=int, default=60, help="most seconds for each reader, with --atheris")
    parser.add_argument("--inside", help=argparse.SUPPRESS)  # the folder of one reader's own process
    given = parser.parse_args()
    if given.inside:
        return _led(given, Path(given.inside))
    from tests.faults.fuzzing import fuzz, targets
    from tests.tables import number_table

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wanted = [word for word in given.targets.split(",") if word]
        chosen = [one for one in targets(folder, number_table(folder)) if not wanted or one.name in wanted]
        num_found = 0
        print(f"{'reader':20} {'inputs':>8} {'seconds':>8}  findings")
        for target in chosen:
            began_s, num_runs = time.monotonic(), given.runs or target.num_runs
            if given.atheris:
                num_runs, found = _led_in_its_own_process(target.name, num_runs, given)
            else:
                errors = fuzz(target, num_runs=num_runs, seed=given.seed)
                found = [f"input {one.number}: {one.error}\n      {one.data[:200]!r}" for one in errors]
            num_found += len(found)
            print(f"{target.name:20} {num_runs:8} {time.monotonic() - began_s:8.1f}  {len(found)}", flush=True)
            for told in found[:5]:
                print(f"    {told}", flush=True)
        return int(num_found > 0)


def _led_in_its_own_process(target: str, num_runs: int, given: argparse.Namespace) -> tuple[int, list[str]]:
    """Have atheris choose inputs of one reader; returns how many were read, and what was found, which ends it."""
    with tempfile.TemporaryDirectory() as folder:
        how = ["--targets", target, "--runs", str(num_runs), "--seconds", str(given.seconds), "--seed", str(given.seed)]
        command = [sys.executable, __file__, "--atheris", "--inside", folder, *how]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        inputs = [path.read_bytes() for path in sorted(Path(folder).glob("*-*")) if path.is_file()]
    said = done.stdout + done.stderr
    counts = _COUNTED.findall(said)
    return int(counts[-1]) if counts else 0, [f"{said[-3000:]}\n    {inputs!r}"] if done.returncode else []


def _led(given: argparse.Namespace, folder: Path) -> int:
    """Let atheris choose the inputs; it ends the process itself."""
    try:
        import atheris
    except ImportError:
        print("atheris is not installed: pip install atheris, or leave --atheris out")
        return 2
    with atheris.instrument_imports(include=OURS):  # while it reads, too: much of ours is imported on first use
        from tests.faults.fuzzing import failure, targets
        from tests.tables import number_table

        target = next(one for one in targets(folder, number_table(folder)) if one.name == given.targets)

        def read(data: bytes) -> None:
            error = failure(target, data)
            if error is not None:
                raise error

        corpus = folder / "corpus"
        corpus.mkdir()
        for number, seed_data in enumerate(target.seeds):
            (corpus / str(number)).write_bytes(seed_data)
        how = [f"-runs={given.runs}", f"-max_total_time={given.seconds}", f"-seed={given.seed or 1}"]
        atheris.Setup([sys.argv[0], *how, f"-artifact_prefix={folder}/", "-max_len=65536", str(corpus)], read)
        atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
