"""The terminal: results on stdout, everything else on stderr, as text for people or JSON for scripts.

It knows how things are shown, and nothing of what they mean.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter as Tally
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from clipdata.progress import Counter

LINE_EVERY_S = 10.0
SCHEMA_VERSION = 1


class Terminal:
    """Where a command writes.

    Args:
        as_json: print the result as one JSON object, and errors too.
        quiet: no progress, no hints.
    """

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self.as_json, self.quiet = as_json, quiet

    def result(self, text: str, data: Mapping[str, Any]) -> None:
        """Print what the command found or did."""
        if self.as_json:
            text = json.dumps({"schema_version": SCHEMA_VERSION, **data}, default=str, ensure_ascii=False)
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    def say(self, text: str) -> None:
        """Tell a fact on the way."""
        if not self.quiet:
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()

    def hint(self, command: str) -> None:
        """Name the next sensible command."""
        self.say(f"next: {command}")

    @contextmanager
    def task(self, label: str, total: int | None, unit: str = "rows") -> Iterator[Counter]:
        """Show how a piece of work goes: a bar on a terminal, a line every ten seconds elsewhere."""
        if self.quiet or total == 0:
            yield _Counted(label, total, unit, silent=True)
        elif sys.stderr.isatty():
            with _bar(label, total, unit) as bar:
                yield bar
        else:
            lines = _Counted(label, total, unit)
            yield lines
            lines.close()


class _Counted:
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
        if time.monotonic() - self.started > 1.0 and self.done != self.written:
            self._write()

    def _write(self) -> None:
        self.written = self.done
        of = f" of {self.total:,}" if self.total is not None else ""
        rate = self.done / max(1e-9, time.monotonic() - self.started)
        refused = f", {self.refused.total():,} refused" if self.refused else ""
        sys.stderr.write(f"{self.label}: {self.done:,}{of} {self.unit}, {rate:,.0f}/s{refused}\n")
        sys.stderr.flush()


class _RichCounter:
    """Progress as a bar."""

    def __init__(self, progress: Any, task: Any) -> None:
        self._progress, self._task, self._refused = progress, task, 0

    def advance(self, num: int = 1) -> None:
        self._progress.advance(self._task, num)

    def refuse(self, reason: str, num: int = 1) -> None:
        self._refused += num
        self._progress.update(self._task, refused=f"{self._refused:,} refused")


@contextmanager
def _bar(label: str, total: int | None, unit: str) -> Iterator[_RichCounter]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Any) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:,.0f} {unit}/s" if speed else "")

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(),
        TextColumn("[red]{task.fields[refused]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield _RichCounter(progress, progress.add_task(label, total=total, refused=""))


def use_color() -> bool:
    """Whether text may carry colours."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def columns(rows: list[list[str]], *, header: list[str]) -> str:
    """Rows as aligned text; the last column is not padded."""
    lines = [header, *rows]
    widths = [max(len(line[place]) for line in lines) for place in range(len(header))]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)
    return "\n".join(padded)
