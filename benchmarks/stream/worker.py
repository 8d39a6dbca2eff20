"""The process in which one side lives, and what is measured there.

    python -m benchmarks.stream.worker SIDE      orders as JSON lines in, figures as JSON lines out

    {"do": "turn", "asked": {…}, "rows": 512, "seconds": 2, "num_rows": 4000}   a part of an epoch, well under way
    {"do": "epoch", "asked": {…}, "seconds": 4}                               a whole one, opening included
    {"do": "memory", "asked": {…}, "rows": 512}                               what it holds at most, on the way
    {"do": "error", "asked": {…}}                                             how far off its pixels are

A turn lets the first batches go by and stops long before the epoch ends, so that what was made ahead before it and what
is made ahead after it cancel out: some loaders hold hundreds of finished rows a worker. Processor time is that of the
process and of all that it started.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import resource
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from benchmarks.stream.sides import Asked, Side, UnableError, all_sides

SAMPLE_S = 0.05
AHEAD_ROWS = 512
"""More than any worker holds ready: so many rows before its end a turn stops."""


def cpu_seconds() -> float:
    """Processor time of this process and its descendants, the ended ones too."""
    total = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        used = resource.getrusage(who)
        total += used.ru_utime + used.ru_stime
    for child in psutil.Process().children(recursive=True):
        try:
            total += sum(child.cpu_times()[:4])
        except psutil.Error:  # it ended in between, and is counted with its parent's from now on
            continue
    return total


def own_memory() -> float:
    """MiB that this process and its descendants hold, pages of mapped files left out."""
    total = 0
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        try:
            held = process.memory_info()
        except psutil.Error:
            continue
        total += held.rss - getattr(held, "shared", 0)
    return total / 2**20


def batches(side: Side, asked: Asked) -> Iterator[Any]:
    """Batches of epoch after epoch."""
    for number in itertools.count():
        made = False
        for batch in side.epoch(asked, number):
            made = True
            yield batch
        if not made:
            raise UnableError(f"an epoch holds no batch of {asked.batch_size}")


def turn(side: Side, asked: Asked, rows: int, seconds: float, num_rows: int) -> dict[str, Any]:
    """Rates over at least `rows` rows and `seconds`, where an epoch of `num_rows` has so many."""
    lead = 2 + 2 * asked.workers
    most = num_rows - lead * asked.batch_size - AHEAD_ROWS * max(asked.workers, 1)
    begun = time.perf_counter()
    made = batches(side, asked)
    batch = next(made)
    found = {"first_s": time.perf_counter() - begun, "shape": list(batch.shape), "dtype": str(batch.dtype)}
    for _ in range(lead - 1):
        next(made)
    done, cpu_s, begun = 0, cpu_seconds(), time.perf_counter()
    while done < rows or (done < most and time.perf_counter() - begun < seconds):
        done += len(next(made))
    wall_s = time.perf_counter() - begun
    cpu_s = cpu_seconds() - cpu_s
    made.close()
    return {**found, "rows": done, "wall_s": wall_s, "cpu_s": cpu_s}


def whole_epoch(side: Side, asked: Asked, seconds: float) -> dict[str, Any]:
    """Rates over an epoch, from nothing to the last batch, or to the first one after `seconds`."""
    cpu_s, begun, done = cpu_seconds(), time.perf_counter(), 0
    for batch in side.epoch(asked, 0):
        done += len(batch)
        if time.perf_counter() - begun > seconds:
            break
    return {"rows": done, "wall_s": time.perf_counter() - begun, "cpu_s": cpu_seconds() - cpu_s}


def error(side: Side, asked: Asked) -> dict[str, Any]:
    """How far its levels are from those of open_clip's transform."""
    assert side.error is not None, f"{side.name} is that transform"
    return dict(side.error(asked))


def memory(side: Side, asked: Asked, rows: int) -> dict[str, Any]:
    """MiB held at most while so many rows are read, and before."""
    before = peak = own_memory()
    ended = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not ended.wait(SAMPLE_S):
            peak = max(peak, own_memory())

    watching = threading.Thread(target=watch)
    watching.start()
    done, made = 0, batches(side, asked)
    try:
        while done < rows:
            done += len(next(made))
    finally:
        ended.set()
        watching.join()
        made.close()
    return {"rows": done, "before_mib": before, "peak_mib": peak}


ORDERS = {"turn": turn, "epoch": whole_epoch, "memory": memory, "error": error}


def answer(side: Side, order: dict[str, Any]) -> dict[str, Any]:
    """Do what one order says."""
    more = dict(order)
    do, given = ORDERS[more.pop("do")], more.pop("asked")
    try:
        return do(side, Asked(**{**given, "folder": Path(given["folder"])}), **more)
    except UnableError as reason:
        return {"unable": str(reason)}
    except Exception as error:  # a peer's own: it is told, and the others go on
        traceback.print_exc()
        return {"failed": f"{type(error).__name__}: {error}"[:300]}
    finally:
        gc.collect()


def main() -> None:
    """Answer orders until there are no more."""
    import cv2
    import torch

    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints is not an answer
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    side = all_sides()[sys.argv[1]]
    answers.write(json.dumps({"version": side.version, "settings": side.settings}) + "\n")
    for line in sys.stdin:
        answers.write(json.dumps(answer(side, json.loads(line))) + "\n")


if __name__ == "__main__":
    main()
