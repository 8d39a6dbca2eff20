"""Shares: what a stream's batches cost to make, and how long whoever trains on them waited for the next.

In each process one thread makes batches: it waits for rows, which others read ahead of it; decodes their pictures, with
more threads beside it; and makes tensors and tokens of the rest. The shares of making are those of its seconds on the
clock. So a share of reading is what reading ahead did not hide. Waiting is the consumer's own.
It knows clocks and numbers; it must not know tables, pictures or batches.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar

Item = TypeVar("Item")

_MB = 1e6


@dataclass(frozen=True)
class Took:
    """Time that a piece of work took.

    Args:
        wall_s: seconds by the clock of the wall.
        cpu_s: seconds of the processor, in the threads of this program; those of Lance's reader are not among them.
    """

    wall_s: float = 0.0
    cpu_s: float = 0.0

    def __add__(self, other: Took) -> Took:
        return Took(self.wall_s + other.wall_s, self.cpu_s + other.cpu_s)

    def __sub__(self, other: Took) -> Took:
        return Took(self.wall_s - other.wall_s, self.cpu_s - other.cpu_s)


@dataclass(frozen=True)
class Work:
    """What making batches cost, in all processes that made them.

    Args:
        rows: that were read.
        read_bytes: of their values as they lie in memory; a compressed column is less on disk.
        pictures: that were decoded, each distinct one of a batch once.
        read: waiting for rows that are read ahead.
        decode: encoded pictures to one tensor; its processor's time is that of all threads that decode.
        rest: tokens and tensors.
    """

    rows: int = 0
    read_bytes: int = 0
    pictures: int = 0
    read: Took = Took()
    decode: Took = Took()
    rest: Took = Took()

    def __add__(self, other: Work) -> Work:
        return Work(**{one.name: getattr(self, one.name) + getattr(other, one.name) for one in fields(self)})

    def __sub__(self, other: Work) -> Work:
        return Work(**{one.name: getattr(self, one.name) - getattr(other, one.name) for one in fields(self)})

    def share(self, stage: str) -> float:
        """Part of the seconds of making that went into "read", "decode" or "rest", from 0 to 1."""
        took: Took = getattr(self, stage)
        return took.wall_s / max(self.read.wall_s + self.decode.wall_s + self.rest.wall_s, 1e-9)


@dataclass(frozen=True)
class Shares:
    """Where the time of an iteration went, from its first batch on; the difference of two is what lies between.

    Args:
        work: what making its batches cost, those included that lie ready.
        start_s: from the ask for the first batch to the first batch: opening, starting workers, reading a group.
        wait_s: waited for later batches, by whoever iterates.
        busy_s: what whoever iterates did between them.
    """

    work: Work = field(default_factory=Work)
    start_s: float = 0.0
    wait_s: float = 0.0
    busy_s: float = 0.0

    def __sub__(self, other: Shares) -> Shares:
        return Shares(
            self.work - other.work, self.start_s - other.start_s, self.wait_s - other.wait_s, self.busy_s - other.busy_s
        )

    @property
    def seconds(self) -> float:
        """Of the iteration, the first wait included."""
        return self.start_s + self.wait_s + self.busy_s

    @property
    def wait(self) -> float:
        """Part of the time after the first batch that was spent waiting, from 0 to 1."""
        return self.wait_s / max(self.wait_s + self.busy_s, 1e-9)

    @property
    def rows_s(self) -> float:
        """Rows a second."""
        return self.work.rows / max(self.seconds, 1e-9)

    @property
    def bytes_s(self) -> float:
        """Bytes a second, of values as they lie in memory."""
        return self.work.read_bytes / max(self.seconds, 1e-9)

    def to_dict(self) -> dict[str, Any]:
        """JSON values: rates, shares from 0 to 1, and the seconds they are made of."""
        return {
            "rows_s": self.rows_s,
            "bytes_s": self.bytes_s,
            "wait": self.wait,
            **{stage: self.work.share(stage) for stage in STAGES},
            "start_s": self.start_s,
            "seconds": self.seconds,
            "work": asdict(self.work),
        }

    def __str__(self) -> str:
        return told(self.rows_s, self.bytes_s, self.wait, self.work)


STAGES = ("read", "decode", "rest")


def told(rows_s: float, bytes_s: float, wait: float, work: Work) -> str:
    """Rates and shares for people, as in "412 rows/s · 24.8 MB/s · waited 2 % (read 8 %, decode 91 %, rest 1 %)"."""
    stages = [(stage, work.share(stage)) for stage in STAGES]
    made = ", ".join(f"{stage} {share * 100:.0f} %" for stage, share in stages if share >= 0.005)
    rates = f"{_rate(rows_s)} rows/s · {_rate(bytes_s / _MB)} MB/s · waited {wait * 100:.0f} %"
    return f"{rates} ({made})" if made else rates


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2g}"


class Stopwatch:
    """Adds up the time of one thread's pieces of work: `with stopwatch: …`."""

    def __init__(self) -> None:
        self._took = Took()
        self._begun = (0.0, 0.0)

    def __enter__(self) -> Stopwatch:
        self._begun = (time.perf_counter(), time.thread_time())
        return self

    def __exit__(self, *_: object) -> None:
        wall_s, cpu_s = self._begun
        self._took += Took(time.perf_counter() - wall_s, time.thread_time() - cpu_s)

    def taken(self) -> Took:
        """The time since this was asked the last time."""
        took, self._took = self._took, Took()
        return took


class MeteredThreads(ThreadPoolExecutor):
    """Threads that add up the processor's time of what they are given."""

    def __init__(self, num_threads: int, name: str) -> None:
        super().__init__(num_threads, thread_name_prefix=name)
        self._lock, self._cpu_s = threading.Lock(), 0.0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have a thread call a function."""
        return super().submit(self._metered, fn, args, kwargs)

    def _metered(self, fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        begun_s = time.thread_time()
        try:
            return fn(*args, **kwargs)
        finally:
            cpu_s = time.thread_time() - begun_s
            with self._lock:
                self._cpu_s += cpu_s

    def taken(self) -> Took:
        """The processor's time since this was asked the last time; whoever gave the work knows how long it took."""
        with self._lock:
            cpu_s, self._cpu_s = self._cpu_s, 0.0
        return Took(0.0, cpu_s)


def clocked(source: Iterator[Item]) -> Generator[tuple[Item, Took], None, None]:
    """Pair every item with the time that making it took; closes `source` when it is closed, if that can be."""
    stopwatch = Stopwatch()
    try:
        while True:
            with stopwatch:
                try:
                    item = next(source)
                except StopIteration:
                    return
            yield item, stopwatch.taken()
    finally:
        if isinstance(source, Generator):
            source.close()


@dataclass
class Watch:
    """Follows one iteration: what is handed out, and the waits before it."""

    work: Work = field(default_factory=Work)
    start_s: float = 0.0
    wait_s: float = 0.0
    busy_s: float = 0.0

    def over(self, items: Iterator[Item]) -> Generator[Item, None, None]:
        """Yield the items as they come."""
        asked_s, is_first = time.perf_counter(), True
        for item in items:
            got_s = time.perf_counter()
            if is_first:
                self.start_s += got_s - asked_s
            else:
                self.wait_s += got_s - asked_s
            is_first = False
            yield item
            asked_s = time.perf_counter()
            self.busy_s += asked_s - got_s

    def shares(self) -> Shares:
        """As they are now."""
        return Shares(self.work, self.start_s, self.wait_s, self.busy_s)
