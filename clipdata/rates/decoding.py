"""Decoding: how many of a table's own pictures one core prepares in a second, and what the quicker ways cost in levels.

The loop is bare: no thread, no batch, no row around it. It is what a stream cannot exceed for each core.
Shapes: B pictures, C = 3 channels, H and W as the model wants them.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import torch

from clipdata.encoder.preparation import Preparation
from clipdata.errors import ImageRefused
from clipdata.images import decode
from clipdata.images.batches import distinct_images, fill_slots
from clipdata.images.threads import DecodingThreads
from clipdata.rates.records import LevelError, Rate, shown_rate
from clipdata.stream import Stream

MOST_PICTURES = 64
MOST_BYTES = 64 * 2**20
COMPARED = 32
_BUSY = 1.25


def sample_of(stream: Stream, column: str) -> list[pa.Buffer]:
    """Different pictures of a stream's first rows, encoded, within a bound of bytes."""
    found: list[pa.Buffer] = []
    num_bytes = 0
    coming = stream.fetched()
    for fetched in itertools.islice(coming, MOST_PICTURES):
        for data in distinct_images(fetched.encoded[column]).encoded:
            if found and (len(found) == MOST_PICTURES or num_bytes + data.size > MOST_BYTES):
                coming.close()
                return found
            found.append(data)
            num_bytes += data.size
        if len(found) >= min(MOST_PICTURES, stream.plan.num_rows):
            break
    coming.close()
    return found


class Decoding:
    """Measures one fidelity.

    Args:
        prepare: at that fidelity.
        sample: encoded pictures.
    """

    def __init__(self, prepare: Preparation, sample: Sequence[pa.Buffer]) -> None:
        self.fidelity, self._prepare = prepare.fidelity, prepare
        self._coming = itertools.cycle(sample)
        self._threads, self._out_BHWC = DecodingThreads(1), np.empty((1, *prepare.size, 3), np.uint8)
        self._num, self._wall_s, self._cpu_s = 0, 0.0, 0.0

    def turn(self, seconds: float) -> None:
        """Decode for so long, or one picture."""
        with _one_thread():
            begun_s, begun_cpu_s = time.perf_counter(), time.process_time()
            for data in self._coming:
                fill_slots([data], self._prepare, self._out_BHWC, self._threads)
                self._num += 1
                if time.perf_counter() > begun_s + seconds:
                    break
            self._wall_s += time.perf_counter() - begun_s
            self._cpu_s += time.process_time() - begun_cpu_s

    def close(self) -> None:
        """End the threads."""
        self._threads.close()

    def rate(self) -> Rate:
        """What was found, for one core."""
        rows_s, cpu_rows_s = (self._num / max(seconds, 1e-9) for seconds in (self._wall_s, self._cpu_s))
        # What else the machine does takes its part of a core.
        busy = f"; {shown_rate(cpu_rows_s)} if nothing else ran" if cpu_rows_s > _BUSY * rows_s else ""
        return Rate("decode", f"decode, {self.fidelity}", rows_s, self._num, self._wall_s, None, f"a core{busy}")


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep torch's resizing to the core that is measured."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)


def refused_of(sample: Sequence[pa.Buffer]) -> dict[str, int]:
    """Count the pictures of a sample that cannot be used, by reason."""
    reasons: Counter[str] = Counter()
    for data in sample:
        try:
            decode(memoryview(data))
        except ImageRefused as refused:
            reasons[refused.reason] += 1
    return dict(reasons)


def error_of(prepare: Preparation, sample: Sequence[pa.Buffer]) -> LevelError | None:
    """Compare a fidelity with the exact one, whose levels are those of open_clip's transform."""
    exact = prepare.with_fidelity("exact")
    compared, threads = list(sample[:COMPARED]), DecodingThreads(1)
    ours_BHWC, theirs_BHWC = np.empty((2, len(compared), *prepare.size, 3), np.uint8)
    refused = fill_slots(compared, prepare, ours_BHWC, threads).refused
    fill_slots(compared, exact, theirs_BHWC, threads)
    threads.close()
    usable = [place for place in range(len(compared)) if place not in refused]
    if not usable:
        return None
    off_BHWC = np.abs(ours_BHWC[usable].astype(np.int16) - theirs_BHWC[usable])
    counts = np.bincount(off_BHWC.ravel(), minlength=256)
    levels = np.arange(256)
    p99 = int(np.searchsorted(np.cumsum(counts), 0.99 * counts.sum()))
    largest = int(levels[counts > 0].max())
    return LevelError(prepare.fidelity, float((counts * levels).sum() / counts.sum()), p99, largest, len(usable))
