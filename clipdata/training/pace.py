"""Pace: how fast a run's steps go, how long they wait for data, and what making that data costs.

Evaluations, checkpoints and exports are no steps, and their time counts in no rate. The first batch comes after
opening, reading a group and starting workers: that wait is told by itself, and the share of waiting is that of the
steps behind it. It knows clocks, batches and a stream's shares, and nothing of losses.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from clipdata.progress import Counter, note
from clipdata.stream.assembly import Batch
from clipdata.stream.shares import STAGES, Shares, Work, told

PROMISED_WAIT = 0.05
"""Largest part of the time that a model should wait for data, where decoder and disk allow it."""
_TELLING_S = 10.0  # a shorter run says little of its waits
_NOTE_EVERY_S = 1.0


@dataclass(frozen=True)
class Measured:
    """What steps took.

    Args:
        rows: that were trained on.
        start_s: waited for the first batch of the process, where it is among these.
        wait_s: waited for the others.
        step_s: in steps.
        work: what making the batches cost.
    """

    rows: int = 0
    start_s: float = 0.0
    wait_s: float = 0.0
    step_s: float = 0.0
    work: Work = field(default_factory=Work)

    def __sub__(self, other: Measured) -> Measured:
        return Measured(
            self.rows - other.rows,
            self.start_s - other.start_s,
            self.wait_s - other.wait_s,
            self.step_s - other.step_s,
            self.work - other.work,
        )

    @property
    def wait(self) -> float:
        """Part of the time behind the first batch that was spent waiting, from 0 to 1."""
        return self.wait_s / max(self.wait_s + self.step_s, 1e-9)

    @property
    def rows_s(self) -> float:
        """Rows a second, behind the first wait."""
        return self.rows / max(self.wait_s + self.step_s, 1e-9)

    @property
    def bytes_s(self) -> float:
        """Bytes a second that were read, behind the first wait."""
        return self.work.read_bytes / max(self.wait_s + self.step_s, 1e-9)

    @property
    def keeps_promise(self) -> bool:
        """Whether waits are as short as promised, or all of it too short to tell."""
        return self.wait < PROMISED_WAIT or self.wait_s + self.step_s < _TELLING_S

    def to_json(self) -> dict[str, float]:
        """JSON values: rates, and shares from 0 to 1."""
        figures = {"rows_s": self.rows_s, "bytes_s": self.bytes_s, "wait": self.wait}
        figures |= {stage: self.work.share(stage) for stage in STAGES}
        return {name: float(f"{value:.4g}") for name, value in figures.items()} | {"start_s": round(self.start_s, 3)}

    def __str__(self) -> str:
        return told(self.rows_s, self.bytes_s, self.wait, self.work)


class Pace:
    """Measures the steps of a process.

    Args:
        shares: of the stream that feeds it, so far.
        num_processes: that train together; each reads as much as this one.
    """

    def __init__(self, shares: Callable[[], Shares], num_processes: int = 1) -> None:
        self._shares, self._num_processes = shares, num_processes
        self._rows, self._start_s, self._wait_s, self._step_s = 0, 0.0, 0.0, 0.0
        self._reported = Measured()
        self._noted_s = 0.0

    def groups(self, batches: Iterator[Batch], most: int) -> Iterator[tuple[list[Batch], float]]:
        """Batches of one step, and the seconds they were waited for; a step never reaches into the next epoch."""
        together: list[Batch] = []
        waited_s, is_first = 0.0, True
        while True:
            asked_s = time.perf_counter()
            batch = next(batches, None)
            if batch is None:
                return
            wait_s = time.perf_counter() - asked_s
            waited_s += wait_s
            if is_first:
                self._start_s += wait_s
            else:
                self._wait_s += wait_s
            is_first = False
            together.append(batch)
            if len(together) == most or batch["cursor"][1] == 0:
                yield together, waited_s
                together, waited_s = [], 0.0

    def add(self, num_rows: int, step_s: float) -> None:
        """Take in a step."""
        self._rows, self._step_s = self._rows + num_rows, self._step_s + step_s

    def whole(self) -> Measured:
        """All steps of this process, with what all of them read."""
        work = self._shares().work
        work = replace(work, read_bytes=work.read_bytes * self._num_processes)
        return Measured(self._rows, self._start_s, self._wait_s, self._step_s, work)

    def since_report(self) -> Measured:
        """The steps since the last report."""
        return self.whole() - self._reported

    def report(self) -> Measured:
        """The steps since the last report, which this is."""
        found = self.since_report()
        self._reported = self.whole()
        return found

    def show(self, counter: Counter, loss: float | None) -> None:
        """Say in the line of progress how it goes, now and then, what is asked for most first.

        Args:
            loss: mean of the newest steps.
        """
        now_s = time.monotonic()
        if now_s - self._noted_s > _NOTE_EVERY_S:
            self._noted_s = now_s
            found = self.since_report()
            told_loss = "" if loss is None else f"mean loss {loss:.4g}, "
            note(counter, f"{told_loss}waited {found.wait:.0%}, {found.rows_s:,.0f} rows/s")


def told_at_the_end(found: Measured, command: str) -> str:
    """What a run says of its pace.

    Args:
        command: what tells what limits it.
    """
    first = f"; the first batch came after {found.start_s:.1f} s" if found.start_s >= 1 else ""
    kept = "" if found.keeps_promise else f"; more than {PROMISED_WAIT:.0%} of waiting has a cause: {command}"
    return f"pace: {found}{first}{kept}"
