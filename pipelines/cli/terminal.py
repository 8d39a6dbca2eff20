"""The terminal: results on stdout, everything else on stderr, as text for people or one JSON object for scripts.

Nothing that comes from data gives it an order: control characters are spelled out, whoever wrote them. It knows how
things are shown, and nothing of what they mean.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout, suppress
from typing import Any, TextIO

from clipdata.bars import ProgressBar
from clipdata.printable import printable
from clipdata.progress import Counter, Silent
from pipelines.cli.json_output import SCHEMA_VERSION, encode

_PATIENCE_S = 1.0  # whoever waits longer is told what for


class ReaderGoneError(Exception):
    """Whoever read what is written has gone, as in `clipdata log … | head`."""


class UnwritableError(Exception):
    """Stdout takes nothing, as on a full disk, or is closed."""


class Terminal:
    """Where a command writes.

    Args:
        as_json: print one JSON object at the end, with the result or the error or both.
        quiet: no progress, no hints.

    Attributes:
        process: which of the processes that torchrun started this is, "process 1 of 2"; None for the first, or the only
            one. The others tell nothing but errors.
    """

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self.process = _process()
        self._bars = ProgressBar()
        self._stdout = sys.stdout
        self._found: dict[str, Any] = {}
        self._waiting: threading.Timer | None = None
        self.configure(as_json=as_json, quiet=quiet)

    def configure(self, *, as_json: bool, quiet: bool) -> None:
        """Take what the person asked for, once it is read."""
        self.as_json, self.quiet = as_json, quiet or self.process is not None

    @contextmanager
    def only_results(self) -> Iterator[None]:
        """Keep stdout for the one JSON object, also from what a step of somebody's own prints."""
        with redirect_stdout(sys.stderr) if self.as_json else nullcontext():
            yield

    def wait(self, place: str | None) -> None:
        """Say what is waited for, unless something else is to be told within a second.

        Args:
            place: that is reached through a network, if there is one.
        """
        self._has_news()
        what = f"connecting to {place} …" if place else "starting …"
        if not self.quiet and (place or _is_terminal(sys.stderr)):
            self._waiting = threading.Timer(_PATIENCE_S, self._bars.say, [what])
            self._waiting.daemon = True
            self._waiting.start()

    def result(self, text: str, data: Mapping[str, Any]) -> None:
        """Tell what the command found or did."""
        self._has_news()
        if self.process is not None:
            return
        self._found |= {**data, "next": None}
        if not self.as_json:
            write(self._stdout, f"{text}\n")

    def say(self, text: str) -> None:
        """Tell a fact on the way."""
        self._has_news()
        if not self.quiet:
            self._bars.say(text)

    def hint(self, command: str | None) -> None:
        """Name the next sensible command, if there is one."""
        if command is not None:
            self._found["next"] = command
            self.say(f"next: {command}")

    def task(self, label: str, total: int | None, unit: str = "rows") -> AbstractContextManager[Counter]:
        """Show how a piece of work goes: a bar on a terminal, a line every ten seconds elsewhere."""
        self._has_news()
        return (Silent() if self.quiet else self._bars).task(label, total, unit)

    def fail(self, name: str, code: int, message: str, hint: str | None = None) -> int:
        """Tell what ended the command; returns its exit code."""
        self._has_news()
        self._found["error"] = {"name": name, "code": code, "message": message, "hint": hint}
        what = name if name in ("interrupted", "terminated") else "error"
        whose = f"{self.process}: " if self.process is not None else ""
        with suppress(UnwritableError, ReaderGoneError):  # the exit code still tells
            write(sys.stderr, f"{what}: {whose}{message}\n" + (f"  hint: {hint}\n" if hint else ""))
        return code

    def close(self) -> None:
        """Print what is printed last: the JSON object, when one was asked for."""
        self._has_news()
        if self.as_json and self._found and self.process is None:
            ascii_only = "utf" not in (getattr(self._stdout, "encoding", None) or "utf").lower()
            text = encode({"schema_version": SCHEMA_VERSION, **self._found}, ascii_only=ascii_only)
            write(self._stdout, f"{text}\n")

    def table(
        self, rows: Sequence[Sequence[str]], header: Sequence[str], *, full: bool = False, vertical: bool = False
    ) -> str:
        """Rows as text that fits this terminal; see `Layout`."""
        from pipelines.cli.text_table import Layout, lay_out

        return lay_out(rows, header, Layout(width=_width(), full=full, vertical=vertical))

    def _has_news(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None


def _process() -> str | None:
    rank, world = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
    return None if rank == "0" or world == "1" else f"process {rank} of {world}"


def _width() -> int:
    """Cells of a line: what the terminal or `COLUMNS` says, else 80, as in a pipe."""
    return max(shutil.get_terminal_size().columns, 40)


def write(stream: TextIO | None, text: str) -> None:
    """Write text that may hold data, whatever the stream can show.

    Args:
        stream: None for one that is closed, as by `>&-`.

    Raises:
        ReaderGoneError: whoever read it has gone.
        UnwritableError: it takes nothing.
    """
    if stream is None:
        raise UnwritableError("its stream is closed")
    shown = printable(text, keep="\n\t")
    try:
        try:
            stream.write(shown)
        except UnicodeEncodeError:
            encoding = stream.encoding or "ascii"
            stream.write(shown.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()
    except BrokenPipeError as error:
        raise ReaderGoneError from error
    except OSError as error:
        raise UnwritableError(error.strerror or str(error)) from error


def can_ask() -> bool:
    """Whether somebody sees a question, which goes to stderr, and can answer it."""
    return _is_terminal(sys.stdin) and _is_terminal(sys.stderr)


def _is_terminal(stream: TextIO | None) -> bool:
    """Whether a person is at the other end; Python has None for a stream that was closed before, as by `<&-`."""
    return stream is not None and not stream.closed and stream.isatty()


def hold_streams() -> None:
    """Let no file that is opened later take the number of a standard stream that is closed, and be written to.

    Stdin and stderr are then as with `</dev/null` and `2>/dev/null`. A closed stdout stays None, and that is told: a
    result is written there.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
    # Libraries ask what stdin is, and write to stderr, without a look whether there is one.
    sys.stdin = sys.stdin or open(os.devnull)  # noqa: SIM115 - as long as the program
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115


def let_go(stream: TextIO | None) -> None:
    """Point a stream that takes nothing nowhere, so that the interpreter does not stumble over it when it ends."""
    if stream is None:
        return
    try:
        stream.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
