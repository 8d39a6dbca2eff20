"""A bar for long work, for whoever waits at a terminal or in a notebook; elsewhere a line every ten seconds.

    clipdata.map_column(table, step, "scores", progress=clipdata.progress_bar())

Everything goes to stderr. It knows how work is shown, and nothing of what the work is.
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
from clipdata.progress import Counter, Progress

if TYPE_CHECKING:
    import rich.progress

LINE_EVERY_S = 10.0
_BAR, _LEAST_BAR, _LEAST_NAME = 30, 5, 12  # cells
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
                yield _Bar(drawn, drawn.add_task(label, total=total, unit=unit, refused="", note=""))
            finally:
                self._end()
        else:
            lines = _Lines(label, total, unit)
            try:
                yield lines
            finally:
                lines.close()

    def say(self, text: str) -> None:
        """Write a line, above the bars that are drawn."""
        text = printable(text, keep="\n")
        with self._lock:
            if self._drawn is not None:
                self._drawn.console.print(text, markup=False, highlight=False, soft_wrap=True)
                return
        _write(text)

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

    def note(self, text: str) -> None:
        self._drawn.update(self._task, note=printable(text))


class _Lines:
    """Progress as lines."""

    def __init__(self, label: str, total: int | None, unit: str, *, silent: bool = False) -> None:
        self.label, self.total, self.unit, self.silent = label, total, unit, silent
        self.done = self.written = 0
        self.refused: Tally[str] = Tally()
        self.noted = ""
        self.started = self.last = time.monotonic()
        self._waiting = threading.Timer(LINE_EVERY_S, self._say_starting)
        self._waiting.daemon = True
        if not silent:
            self._waiting.start()

    def advance(self, num: int = 1) -> None:
        self._waiting.cancel()
        self.done += num
        if not self.silent and time.monotonic() - self.last > LINE_EVERY_S:
            self.last = time.monotonic()
            self._write()

    def refuse(self, reason: str, num: int = 1) -> None:
        self.refused[reason] += num

    def note(self, text: str) -> None:
        self.noted = f", {printable(text)}"

    def close(self) -> None:
        """Write the last line, of work that took long enough to be watched, unless it stands there."""
        self._waiting.cancel()
        if time.monotonic() - self.started > _WATCHED_S and self.done != self.written:
            self._write()

    def _write(self) -> None:
        self.written = self.done
        of = f" of {self.total:,}" if self.total is not None else ""
        rate = rate_of(self.done, time.monotonic() - self.started, self.unit)
        refused = f", {self.refused.total():,} refused" if self.refused else ""
        _write(f"{self.label}: {self.done:,}{of} {self.unit}, {rate}{self.noted}{refused}")

    def _say_starting(self) -> None:
        """Tell who waits that the work has begun, when nothing is done for long, as while a model is loaded."""
        if not self.done:
            of = f", {self.total:,} {self.unit} to do" if self.total is not None else ""
            _write(f"{self.label}: starting{of}")


def rate_of(done: float, seconds: float, unit: str) -> str:
    """How fast work goes: "150/s", or "2.5 s/row" where less than one is done in a second."""
    rate = done / max(1e-9, seconds)
    if rate >= 1 or not rate:
        return f"{rate:,.0f}/s"
    each = unit.removesuffix("s")
    return f"{1 / rate:,.1f} s/{each}" if rate > 0.01 else f"{1 / rate:,.0f} s/{each}"


def _write(line: str) -> None:
    """Write a line to stderr; where it is closed, or its disk is full, the work goes on without."""
    if sys.stderr is None:
        return
    try:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
    except BrokenPipeError:
        raise
    except OSError:
        return


def _can_draw() -> bool:
    """Whether what was written can be drawn over: on a terminal, and in a notebook that has widgets."""
    if sys.stderr is not None and sys.stderr.isatty():
        return True
    return _in_notebook() and importlib.util.find_spec("ipywidgets") is not None


def _in_notebook() -> bool:
    shell = sys.modules.get("IPython")
    running = shell.get_ipython() if shell is not None else None
    return type(running).__name__ == "ZMQInteractiveShell"


def _display() -> rich.progress.Progress:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn
    from rich.table import Column
    from rich.text import Text

    console = Console() if _in_notebook() else Console(stderr=True)

    class Line(ProgressColumn):
        """The whole line: rich's own columns fold or vanish where a terminal is narrow."""

        def render(self, task: Any) -> Text:
            label, filled, rest, figures, refused = parts_of_line(task, console.width)
            drawn = "-" if console.options.ascii_only else "━"
            return Text.assemble(
                label, " ", (drawn * filled, "bar.complete"), (drawn * rest, "bar.back"), figures, (refused, "red"),
                no_wrap=True, overflow="ellipsis",
            )  # fmt: skip

    return Progress(Line(table_column=Column(no_wrap=True, overflow="ellipsis")), console=console)


def parts_of_line(task: Any, width: int) -> tuple[str, int, int, str, str]:
    """A task as one line of at most so many cells: the name is cut and the bar shrinks, then vanishes, before figures.

    Args:
        task: of rich.
        width: of the terminal.

    Returns:
        Name, cells of the bar that are filled and that are not, the figures, and what was refused.
    """
    from rich.cells import cell_len, set_cell_size

    figures, refused = _figures(task), f"  {task.fields['refused']}" if task.fields["refused"] else ""
    for noted in (task.fields.get("note") or "").split(", "):  # as many of them as fit
        if noted and cell_len(f"{figures}, {noted}{refused}") + _LEAST_NAME + 2 <= width:
            figures += f", {noted}"
        else:
            break
    free = max(0, width - 2 - cell_len(figures + refused))
    name = task.description
    if cell_len(name) > max(_LEAST_NAME, free - _BAR):
        name = set_cell_size(name, max(_LEAST_NAME, free - _BAR) - 1) + "…"
    bar = min(_BAR, free - cell_len(name))
    bar = bar if bar >= _LEAST_BAR else 0
    filled = int(bar * min(1.0, task.completed / task.total)) if task.total else 0
    return name, filled, bar - filled, figures, refused


def _figures(task: Any) -> str:
    unit = task.fields["unit"]
    of = f"/{task.total:,.0f}" if task.total is not None else ""
    if not task.completed:
        return f" 0{of} {unit}, starting"
    speed = task.finished_speed or task.speed or task.completed / max(1e-9, task.elapsed or 0.0)
    seconds = task.time_remaining or 0
    left = f", {seconds / 60:,.0f} min left" if seconds > 99 else f", {seconds:,.0f} s left" if seconds else ""
    return f" {task.completed:,.0f}{of} {unit}, {rate_of(speed, 1.0, unit)}{left}"
