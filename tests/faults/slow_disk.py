"""A process whose every write takes a while, or whose clock is wrong; see `slow_disk.c` and `clock_skew.c`.

    with slow_process(library, "verbs", place, wait_s=0.02) as process: …

As a program it carries out one of `TASKS` and tells each piece of progress as a line on standard output.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

import clipdata as cd
from clipdata.lance_io import rows
from clipdata.storage import Storage
from tests.faults.kill_verbs import VERBS, Width, World

SLOW_DISK, CLOCK_SKEW = (Path(__file__).with_name(f"{name}.c") for name in ("slow_disk", "clock_skew"))
NUM_WRITES = 6


def build(folder: Path, source: Path = SLOW_DISK) -> Path:
    """Compile one of the libraries.

    Raises:
        OSError, subprocess.CalledProcessError: there is no compiler, or none that does.
    """
    library = folder / f"{source.stem}.so"
    command = ["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"]
    subprocess.run(command, check=True, capture_output=True)
    return library


@contextmanager
def slow_process(library: Path, task: str, *arguments: str, wait_s: float) -> Iterator[subprocess.Popen[str]]:
    """Start a process that carries out a task, with so long a wait before each write to a disk."""
    slow = {"LD_PRELOAD": str(library), "SLOW_DISK_US": str(int(wait_s * 1e6))}
    with subprocess.Popen(_command(task, *arguments), env=_with(slow), stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def with_clock(library: Path, task: str, *arguments: str, ahead_s: int) -> str:
    """Carry out a task in a process whose clock is so far ahead of the machine's; returns what it said of errors."""
    skewed = {"LD_PRELOAD": str(library), "CLOCK_AHEAD_S": str(ahead_s)}
    done = subprocess.run(
        _command(task, *arguments), env=_with(skewed), capture_output=True, text=True, check=False, timeout=300
    )
    return done.stderr if done.returncode else ""


def _command(task: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "tests.faults.slow_disk", task, *arguments]


def _with(changes: dict[str, str]) -> dict[str, str]:
    return os.environ | changes | {"PYTHONDONTWRITEBYTECODE": "1"}


def _tell(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def _verbs(sources: str, place: str, out: str, *names: str) -> None:
    for name in names:
        VERBS[name].play(World(sources, place, Storage(), out))
        _tell(name)


def _map(uri: str) -> None:
    _tell("begun")
    cd.map_column(uri, Width(3), "thrice", batch_rows=2)


def _write(uri: str, who: str) -> None:
    _tell("begun")
    write_rows(uri, who)


def write_rows(uri: str, who: str) -> None:
    """Write rows of one's own and a row that others write as well, in several commits."""
    for number in range(NUM_WRITES):
        fresh = {"path": [f"{who}-{number}", "shared"], "number": [number, number], "text": [who, who]}
        rows.upsert(cd.open_table(uri), pa.table(fresh), changed="number")


def _clean(uri: str, *more: str) -> None:
    cd.clean(uri, dry_run="dry run" in more)


def _train(uri: str, model: str, config: str, out: str) -> None:
    encoder = cd.load_encoder(model, device="cpu")
    cd.train(cd.open_table(uri), encoder, cd.TrainConfig.from_json(config), out=out)


TASKS = {"verbs": _verbs, "map": _map, "write": _write, "clean": _clean, "train": _train}

if __name__ == "__main__":
    TASKS[sys.argv[1]](*sys.argv[2:])
