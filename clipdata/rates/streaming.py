"""Streaming: how fast whole batches come, from threads or from workers, to somebody who only takes them."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing

from clipdata.rates.records import Rate
from clipdata.stream import Stream, load


class Streaming:
    """Measures a stream.

    Args:
        name: for people.
        make: makes the stream anew; each turn is an iteration of its own.
        num_workers: processes that make its batches.
    """

    def __init__(self, name: str, make: Callable[[], Stream], num_workers: int = 0) -> None:
        self._name, self._make, self.num_workers = name, make, num_workers
        self._rows, self._bytes, self._seconds, self._start_s = 0, 0, 0.0, 0.0
        self._said = ""

    def turn(self, seconds: float) -> None:
        """Take batches for so long behind the first one, and at least one."""
        stream = self._make()
        with closing(load(stream, self.num_workers)) as batches:
            asked_s = time.perf_counter()
            if next(batches, None) is None:
                return
            begun_s = ended_s = time.perf_counter()
            first = stream.shares.work
            while ended_s - begun_s < seconds and next(batches, None) is not None:
                ended_s = time.perf_counter()
            work = stream.shares.work
            self._start_s = max(self._start_s, begun_s - asked_s)
        if ended_s == begun_s:  # there was one batch alone
            first, begun_s = type(work)(), asked_s
            ended_s = time.perf_counter()
        self._rows += work.rows - first.rows
        self._bytes += work.read_bytes - first.read_bytes
        self._seconds += ended_s - begun_s
        made = [
            f"{stage} {work.share(stage) * 100:.0f} %" for stage in ("read", "decode") if work.share(stage) >= 0.005
        ]
        self._said = ", ".join([*made, f"first in {self._start_s:.1f} s"])

    def close(self) -> None:
        """Nothing is held between turns."""

    def rate(self) -> Rate:
        """What was found."""
        seconds = max(self._seconds, 1e-9)
        return Rate(
            "stream", self._name, self._rows / seconds, self._rows, self._seconds, self._bytes / seconds, self._said
        )
