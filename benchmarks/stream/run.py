"""Turns of all the sides, interleaved: one JSON file, and a page of it.

    python -m benchmarks.stream.run --folder FOLDER --out FILE.json [--page FILE.md]
    python -m benchmarks.stream.run --folder FOLDER --out FILE.json --pictures 500 --sizes 500x375 --turns 1   # short

Each side lives in a process of its own for the whole run and idles while others are measured; the order of the sides
moves on by one every turn. Parts, all by default: `rates` (each size, each number of workers), `bucket` (30 ms a
request and none), `memory` (as many pictures and ten times as many). Stores are written into the folder on first use,
and found there by the next run. It needs the environment of `environment.py`, and no network.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.stream.processes import SideProcess, is_error
from benchmarks.stream.sides import Side, all_sides
from benchmarks.stream.stores import size_of, write_stores

WARM_ROWS = 64
BUCKET_ROWS = 1024
BUCKET_S = 4.0
BUCKET_TURNS = 3
REQUESTS_S = 20.0


@dataclass
class Run:
    """What was found, and by what.

    Args:
        sides: those that take part.
        root: folder of the stores.
        turns: repeats of everything.
        out: file that is written after every part.
    """

    sides: Sequence[Side]
    root: Path
    turns: int
    out: Path
    found: list[dict[str, Any]] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)

    def add(self, part: str, side: Side, figures: dict[str, Any], **where: Any) -> None:
        """Keep and print one figure."""
        entry = {"part": part, "side": side.name, **where, "load": os.getloadavg()[0], **figures}
        self.found.append(entry)
        cpu = f"{figures['rows'] / figures['cpu_s']:8.0f} /CPU-s" if figures.get("cpu_s") else ""
        wall = f"{figures['rows'] / figures['wall_s']:8.0f} /s" if figures.get("wall_s") else ""
        shown = ("failed", "unable", "mean", "p99", "most", "requests", "before_mib", "peak_mib", "first_s")
        more = {name: value for name, value in figures.items() if name in shown}
        print(f"{part} {' '.join(map(str, where.values())):16} {side.name:22} {wall}{cpu} {more or ''}", flush=True)

    def write(self) -> None:
        """Write what there is so far."""
        self.out.write_text(
            json.dumps(
                {**self.about, "load": [*self.about["load"][:1], os.getloadavg()[0]], "found": self.found}, indent=1
            )
        )

    def stores(self, num: int, size: tuple[int, int], sides: Sequence[Side], times: int = 1) -> Path:
        """The folder of the stores that the sides read."""
        return write_stores(self.root, num, size, times, sorted({side.store for side in sides}))


@dataclass(frozen=True)
class Scene:
    """One size of pictures, and what is measured of it.

    Args:
        place: of its stores.
        num_rows: of an epoch.
        rows, seconds: least of a turn.
        workers: numbers of worker processes.
        sides: those that take part.
    """

    place: Path
    num_rows: int
    rows: int
    seconds: float
    workers: Sequence[int]
    sides: Sequence[Side]

    @property
    def size(self) -> str:
        """Width and height."""
        return self.place.name.split("-")[0]


def measure_rates(run: Run, alive: dict[str, SideProcess], scene: Scene, workers: int) -> None:
    """Turns of every side, one after the other."""
    unable: set[str] = set()
    for turn in range(run.turns):
        for side in _rotated(scene.sides, turn):
            if side.name in unable or workers > side.max_workers:
                continue
            asked = {"folder": str(scene.place), "workers": workers}
            figures = alive[side.name].ask(
                do="turn", asked=asked, rows=scene.rows, seconds=scene.seconds, num_rows=scene.num_rows
            )
            if is_error(figures):
                unable.add(side.name)
            run.add("rates", side, figures, size=scene.size, workers=workers, turn=turn)
    run.write()


def measure_errors(run: Run, alive: dict[str, SideProcess], scene: Scene) -> None:
    """Level differences to open_clip's own transform."""
    for side in scene.sides:
        if side.error is not None:
            figures = alive[side.name].ask(do="error", asked={"folder": str(scene.place)})
            run.add("error", side, figures, size=scene.size)


def measure_bucket(run: Run, alive: dict[str, SideProcess], few: Path, many: Path) -> None:
    """Requests of one epoch of few rows; the rate of one of many, with and without latency."""
    from benchmarks.stream.bucket import bucket_stores

    sides = [side for side in run.sides if side.in_buckets]
    stores = sorted({side.store for side in sides})
    with bucket_stores() as bucket:
        for place, turns in ((few, 1), (many, min(run.turns, BUCKET_TURNS))):
            at = bucket.put(place, stores)
            unable: set[str] = set()
            for turn in range(turns):
                for side in _rotated(sides, turn):
                    for late in (False, True)[:: 1 if turn % 2 else -1] if place is many else (False,):
                        if side.name in unable:
                            continue
                        with bucket.late(late) as counts:
                            asked = {"folder": str(place), **at}
                            seconds = BUCKET_S if place is many else REQUESTS_S
                            figures = alive[side.name].ask(do="epoch", asked=asked, seconds=seconds)
                        if is_error(figures):
                            unable.add(side.name)
                        figures |= {"requests": len(counts.log), "down_mib": counts.down_bytes / 2**20}
                        what = "requests" if place is few else "bucket"
                        run.add(what, side, figures, late=late, turn=turn)
    run.write()


def measure_memory(run: Run, num: int, size: tuple[int, int], rows: int) -> None:
    """The most that a fresh process holds, with so many pictures and with ten times as many; two at a time."""
    places = {times: run.stores(num, size, run.sides, times) for times in (1, 10)}

    def one(side: Side, times: int) -> None:
        with SideProcess(side.name) as fresh:
            figures = fresh.ask(do="memory", asked={"folder": str(places[times])}, rows=rows)
        run.add("memory", side, figures, times=times)

    with ThreadPoolExecutor(2) as pool:
        tasks = [pool.submit(one, side, times) for side in run.sides for times in places]
        for task in tasks:
            task.result()
    run.write()


def _rotated(sides: Sequence[Side], turn: int) -> list[Side]:
    first = turn % len(sides)
    return [*sides[first:], *sides[:first]]


def _per_size(text: str, num: int) -> list[str]:
    """One value for each size; the last goes for those that are not named."""
    given = text.split(",")
    return [given[min(place, len(given) - 1)] for place in range(num)]


def _asked() -> argparse.Namespace:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--folder", type=Path, required=True, help="of the stores")
    words.add_argument("--out", type=Path, required=True, help="JSON file of every figure")
    words.add_argument("--page", type=Path, help="the report, in Markdown")
    words.add_argument("--notes", type=Path, help="Markdown that tells the reasons in the report")
    words.add_argument("--sizes", default="500x375,1000x750,2000x1500")
    words.add_argument("--pictures", default="4000", help="one number, or one for each size")
    words.add_argument("--rows", default="512,256,128", help="least of a turn, for each size")
    words.add_argument("--seconds", type=float, default=2.0, help="least of a turn, where an epoch has enough rows")
    words.add_argument("--workers", default="0+2", help="for each size, such as 0+2,0,0")
    words.add_argument("--turns", type=int, default=5)
    words.add_argument("--sides", default="", help="names, all by default")
    words.add_argument("--large-sides", default="", help="names for the sizes after the first; by default as --sides")
    words.add_argument("--parts", default="rates,bucket,memory")
    words.add_argument("--memory-pictures", type=int, default=1000)
    return words.parse_args()


def _named(text: str, known: dict[str, Side]) -> list[Side]:
    names = text.split(",") if text else list(known)
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.exit(f"unknown sides {', '.join(unknown)}; expected some of {', '.join(known)}")
    return [known[name] for name in names]


def _scenes(run: Run, given: argparse.Namespace, large: Sequence[Side]) -> list[Scene]:
    """What is to be measured of each size; writes the stores that are not there yet."""
    sizes = given.sizes.split(",")
    amounts = zip(*(_per_size(text, len(sizes)) for text in (given.pictures, given.rows, given.workers)), strict=True)
    scenes = []
    for size, (num, rows, workers) in zip(sizes, amounts, strict=True):
        sides = large if scenes else run.sides
        place = run.stores(int(num), size_of(size), sides)
        numbers = [int(number) for number in workers.split("+")]
        scenes.append(Scene(place, int(num), int(rows), given.seconds, numbers, sides))
    return scenes


def _command(given: argparse.Namespace) -> str:
    """The command as anybody would type it: places of this machine are named for what they are."""
    here = {
        str(given.folder): "FOLDER",
        str(given.out): "FILE.json",
        str(given.page): "PAGE.md",
        str(given.notes): "NOTES.md",
    }
    return shlex.join(["python", "-m", "benchmarks.stream.run", *(here.get(word, word) for word in sys.argv[1:])])


def _measure(run: Run, scenes: Sequence[Scene], parts: str) -> None:
    with ExitStack() as stack:
        alive = {side.name: stack.enter_context(SideProcess(side.name)) for side in run.sides}
        run.about["sides"] = {name: process.about for name, process in alive.items()}
        if "rates" in parts:
            for process in alive.values():  # what is loaded on first use is not measured
                process.ask(do="turn", asked={"folder": str(scenes[0].place)}, rows=WARM_ROWS, seconds=0, num_rows=0)
            for scene in scenes:
                measure_errors(run, alive, scene)
                for workers in scene.workers:
                    measure_rates(run, alive, scene, workers)
        if "bucket" in parts:
            size = size_of(scenes[0].size)
            few = run.stores(
                min(BUCKET_ROWS, scenes[0].num_rows), size, [side for side in run.sides if side.in_buckets]
            )
            measure_bucket(run, alive, few, scenes[0].place)


def main() -> None:
    """Measure what was asked for."""
    given = _asked()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # by an exit, the sides' processes are ended too
    known = all_sides()
    run = Run(_named(given.sides, known), given.folder.resolve(), given.turns, given.out)
    scenes = _scenes(run, given, _named(given.large_sides or given.sides, known))
    begun = time.monotonic()
    run.about = {
        "command": _command(given),
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "load": [os.getloadavg()[0]],
        "pictures": {scene.size: [scene.num_rows, scene.rows] for scene in scenes},
        "memory_pictures": given.memory_pictures,
    }
    _measure(run, scenes, given.parts)
    if "memory" in given.parts:
        measure_memory(run, given.memory_pictures, size_of(scenes[0].size), max(scenes[0].rows // 2, WARM_ROWS))
    run.about["minutes"] = (time.monotonic() - begun) / 60
    run.write()
    if given.page:
        from benchmarks.stream.report import page

        given.page.write_text(page(json.loads(run.out.read_text()), given.notes and given.notes.read_text()))


if __name__ == "__main__":
    main()
