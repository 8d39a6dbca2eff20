"""Kills the caption contest at chosen moments, lets it finish, and compares the tables with an undisturbed run's.

Used by the tests for a few moments, and by `benchmarks/kill_and_resume.py` for all of them.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import clipdata as cd
from tests.forked import Forked, run_forked
from tests.pictures import write_pictures

TABLES = ("images.lance", "meta.lance", "contest.lance")
POLL_S = 0.002
LIMIT_S = 300.0


def _exists(*pattern: str) -> Callable[[Path], bool]:
    return lambda work: any(any(work.glob(one)) for one in pattern)


def _versions(table: str, at_least: int) -> Callable[[Path], bool]:
    return lambda work: len(list(work.glob(f"{table}/_versions/*.manifest"))) >= at_least


# The moment when a condition on the work folder becomes true, spread over all stages.
MOMENTS: dict[str, Callable[[Path], bool]] = {
    "ingest: images table made": _exists("images.lance/_versions/*"),
    "ingest: images written": _exists("images.lance/data/*"),
    "ingest: metadata table made": _exists("meta.lance/_versions/*"),
    "merge: table made": _exists("contest.lance/_versions/*"),
    "merge: rows written": _exists("contest.lance/data/*"),
    "map: label column made": _versions("contest.lance", 6),
    "map: trunk features begun": _exists("contest.lance.state/map/image_trunk-*"),
    "map: trunk features committed": _versions("contest.lance", 9),
    "map: scores begun": _exists("contest.lance.state/map/scores-*"),
    "train: begun": _exists("runs/*/config.json"),
    "train: first checkpoint": _exists("runs/*/checkpoints/step-*"),
    "train: steps after a checkpoint": lambda work: _steps(work) >= 7,
    "train: export begun": _exists("runs/*/export*"),
    "map: tuned scores begun": _exists("contest.lance.state/map/scores_fine_tune-*"),
}


@dataclass(frozen=True)
class Killed:
    """What one killed and resumed run cost.

    Args:
        moment: at which it was killed.
        kept: what had been committed by then, in rows of each column and steps.
        seconds_before: of the killed run.
        seconds_after: of the run that finished it.
        repeated_steps: training steps taken twice.
        differences: tables that are not equal to the undisturbed run's; empty when all is well.
    """

    moment: str
    kept: dict[str, int]
    seconds_before: float
    seconds_after: float
    repeated_steps: int
    differences: list[str]


def write_contest(folder: Path, num_pictures: int) -> None:
    """Pictures and questions for a small contest."""
    write_pictures(folder / "in", num_pictures)
    questions = [
        {
            "filename": f"{n:04d}.jpg",
            "caption_choices": [f"caption number {(n + k) % num_pictures}" for k in range(4)],
            "label": "A",
            "split": "test" if n % 4 == 0 else "train",
        }
        for n in range(num_pictures)
        for _ in range(2)
    ]
    pq.write_table(pa.Table.from_pylist(questions), folder / "meta.parquet")


def command(folder: Path, model: str, work: Path) -> list[str]:
    """The main job on that contest: what would follow `python`."""
    words = ["run", "caption-contest", "--images", str(folder / "in"), "--metadata", str(folder / "meta.parquet")]
    settings = ["epochs=3", "batch_size=16", "checkpoint_every_steps=4"]
    code = "from clipdata.__main__ import entry; entry()"
    return ["-c", code, *words, "--model", model, "--out", str(work), "--json"] + [
        word for setting in settings for word in ("--set", setting)
    ]


def finish(arguments: Sequence[str]) -> dict[str, Any]:
    """Run to the end."""
    done = run_forked(arguments, env=_environment())
    if done.returncode:
        raise AssertionError(f"exit code {done.returncode}: {done.stderr}")
    return json.loads(done.stdout)


def kill_and_finish(arguments: Sequence[str], work: Path, moment: str, undisturbed: Path) -> Killed:
    """Kill the job with SIGKILL at a moment, run it again to its end, and compare with an undisturbed run."""
    reached = MOMENTS[moment]
    started = time.monotonic()
    process = Forked(arguments, env=_environment(), leads=True)
    while not reached(work):
        if process.poll() is not None or time.monotonic() - started > LIMIT_S:
            raise AssertionError(f"the job ended before {moment!r} came")
        time.sleep(POLL_S)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before_s = time.monotonic() - started
    kept, steps = committed(work), _steps(work)
    checkpoint = _checkpoint(work)
    started = time.monotonic()
    finish(arguments)
    differences = compare_tables(work, undisturbed)
    repeated = max(0, steps - checkpoint)
    return Killed(moment, kept, before_s, time.monotonic() - started, repeated, differences)


def committed(work: Path) -> dict[str, int]:
    """Rows of each table, and values of each column that a step makes, as a reader sees them."""
    found: dict[str, int] = {}
    for name in TABLES:
        if not any(work.glob(f"{name}/_versions/*.manifest")):
            continue
        table = cd.open_table(work / name)
        found[name] = table.num_rows
        for column in table.schema.names:
            if table.lineage(column):
                found[column] = table.count_rows(f"`{column}` IS NOT NULL")
    return found


def compare_tables(left: Path, right: Path) -> list[str]:
    """Names of tables and columns that differ: rows by key, floats within 1e-5, everything else exactly."""
    differences = []
    for name in TABLES:
        one, other = (cd.open_table(folder / name) for folder in (left, right))
        if one.schema.names != other.schema.names:
            differences.append(f"{name}: columns {one.schema.names} and {other.schema.names}")
            continue
        first, second = (table.to_table().sort_by(str(table.key)) for table in (one, other))
        for column in first.schema.names:
            if not _equal(first[column], second[column]):
                differences.append(f"{name}: {column}")
        one.dataset.validate()
    return differences


def _equal(left: pa.ChunkedArray, right: pa.ChunkedArray) -> bool:
    if left.equals(right):
        return True
    flat = [_flat(column) for column in (left, right)]
    if len(left) != len(right) or not all(pa.types.is_floating(values.type) for values in flat):
        return False
    return len(flat[0]) == len(flat[1]) and bool(np.allclose(*(v.to_numpy() for v in flat), rtol=1e-5, atol=1e-6))


def _flat(column: pa.ChunkedArray) -> pa.ChunkedArray:
    while pa.types.is_nested(column.type) and not pa.types.is_struct(column.type):
        column = pa.compute.list_flatten(column)
    return column


def _steps(work: Path) -> int:
    lines = [line for file in work.glob("runs/*/metrics.jsonl") for line in file.read_text().splitlines()]
    return sum('"kind": "step"' in line or '"kind":"step"' in line for line in lines)


def _checkpoint(work: Path) -> int:
    numbers = [p.name.removeprefix("step-") for p in work.glob("runs/*/checkpoints/step-*")]
    return max((int(number) for number in numbers if number.isdecimal()), default=0)


def _environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}
