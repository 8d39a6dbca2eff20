"""A bar for long work, for whoever waits at a terminal or in a notebook; elsewhere a line every ten seconds.

    clipdata.map_column(table, step, "scores", progress=clipdata.progress_bar())

Everything goes to stderr, and no text from data gives the terminal an order. It knows how work is shown, and nothing of
what the work is.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
import time
from collections import Counter as Tally
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from clipdata.printable import printable
from clipdata.progress import Counter, Progress, pace

if TYPE_CHECKING:
    import rich.progress

LINE_EVERY_S = 10.0
_WATCHED_S = 1.0  # work that is done sooner needs no line


def progress_bar() -> Progress:
    """What to pass as `progress=` to see how far the work is."""
    return ProgressBar()


class ProgressBar:
    """Shows each piece of work as a bar, one below the other; as lines where nothing can be drawn again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._drawn: rich.progress.Progress | None = None
        self._num_tasks = 0

    @contextmanager
    def task(self, label: str, total: int | None, unit: str = "rows") -> Iterator[Counter]:
        """Show how a piece of work goes, until the block ends."""
        label = printable(label)
        if total == 0:
            yield _Lines(label, total, unit, silent=True)
        elif _can_draw():
            drawn = self._begin()
            try:
                yield _Bar(drawn, drawn.add_task(label, total=total, unit=unit, refused=""))
            finally:
                self._end()
        else:
            lines = _Lines(label, total, unit)
            yield lines
            lines.close()

    def say(self, text: str) -> None:
        """Write a line, above the bars that are drawn."""
        text = printable(text, keep="\n")
        with self._lock:
            if self._drawn is not None:
                self._drawn.console.print(text, markup=False, highlight=False, soft_wrap=True)
                return
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()

    def _begin(self) -> rich.progress.Progress:
        """One display for all tasks: rich draws no second one beside it."""
        with self._lock:
            if self._drawn is None:
                self._drawn = _display()
                self._drawn.start()
            self._num_tasks += 1
            return self._drawn

    def _end(self) -> None:
        with self._lock:
            self._num_tasks -= 1
            if self._num_tasks == 0 and self._drawn is not None:
                self._drawn.stop()
                self._drawn = None


class _Bar:
    """Progress as a bar."""

    def __init__(self, drawn: rich.progress.Progress, task: rich.progress.TaskID) -> None:
        self._drawn, self._task, self._refused = drawn, task, 0

    def advance(self, num: int = 1) -> None:
        self._drawn.advance(self._task, num)

    def refuse(self, reason: str, num: int = 1) -> None:
        self._refused += num
        self._drawn.update(self._task, refused=f"{self._refused:,} refused")


class _Lines:
    """Progress as lines."""

    def __init__(self, label: str, total: int | None, unit: str, *, silent: bool = False) -> None:
        self.label, self.total, self.unit, self.silent = label, total, unit, silent
        self.done = self.written = 0
        self.refused: Tally[str] = Tally()
        self.started = self.last = time.monotonic()

    def advance(self, num: int = 1) -> None:
        self.done += num
        if not self.silent and time.monotonic() - self.last > LINE_EVERY_S:
            self.last = time.monotonic()
            self._write()

    def refuse(self, reason: str, num: int = 1) -> None:
        self.refused[reason] += num

    def close(self) -> None:
        """Write the last line, of work that took long enough to be watched, unless it stands there."""
        if time.monotonic() - self.started > _WATCHED_S and self.done != self.written:
            self._write()

    def _write(self) -> None:
        self.written = self.done
        of = f" of {self.total:,}" if self.total is not None else ""
        rate = pace(self.done, self.unit, time.monotonic() - self.started)
        refused = f", {self.refused.total():,} refused" if self.refused else ""
        sys.stderr.write(f"{self.label}: {self.done:,}{of} {self.unit}, {rate}{refused}\n")
        sys.stderr.flush()


def _can_draw() -> bool:
    """Whether what was written can be drawn over: on a terminal, and in a notebook that has widgets."""
    if sys.stderr.isatty():
        return True
    return _in_notebook() and importlib.util.find_spec("ipywidgets") is not None


def _in_notebook() -> bool:
    shell = sys.modules.get("IPython")
    running = shell.get_ipython() if shell is not None else None
    return type(running).__name__ == "ZMQInteractiveShell"


def _display() -> rich.progress.Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Any) -> Text:
            speed = task.finished_speed or task.speed
            if not speed:
                return Text("starting …" if not task.completed else "")
            return Text(pace(speed, task.fields["unit"], 1.0))

    return Progress(
        TextColumn("{task.description}", markup=False),  # a column may be called [red]
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[refused]}", style="red", markup=False),
        console=Console() if _in_notebook() else Console(stderr=True),
    )
