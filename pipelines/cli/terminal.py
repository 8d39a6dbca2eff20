"""The terminal: results on stdout, everything else on stderr, as text for people or JSON for scripts.

It knows how things are shown, and nothing of what they mean.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from clipdata.bars import ProgressBar
from clipdata.progress import Counter, Silent

SCHEMA_VERSION = 1


class Terminal:
    """Where a command writes.

    Args:
        as_json: print the result as one JSON object, and errors too.
        quiet: no progress, no hints.
    """

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self.configure(as_json=as_json, quiet=quiet)
        self._bars = ProgressBar()

    def configure(self, *, as_json: bool, quiet: bool) -> None:
        """Take what the person asked for, once it is read."""
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
            self._bars.say(text)

    def hint(self, command: str) -> None:
        """Name the next sensible command."""
        self.say(f"next: {command}")

    def task(self, label: str, total: int | None, unit: str = "rows") -> AbstractContextManager[Counter]:
        """Show how a piece of work goes: a bar on a terminal, a line every ten seconds elsewhere."""
        return (Silent() if self.quiet else self._bars).task(label, total, unit)


def use_color() -> bool:
    """Whether text may carry colours."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def columns(rows: list[list[str]], *, header: list[str]) -> str:
    """Rows as aligned text; the last column is not padded."""
    lines = [header, *rows]
    widths = [max(len(line[place]) for line in lines) for place in range(len(header))]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)
    return "\n".join(padded)
