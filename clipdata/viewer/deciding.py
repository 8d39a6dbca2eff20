"""Deciding: decisions that come close together are written as one version, and told as written only then.

A column of decisions is made anew with each write. So what comes within a moment waits for the rest, and while a write
is on its way the next ones gather. Nothing that waits is lost when the viewer ends; a killed one never said it wrote.
"""

from __future__ import annotations

import atexit
import threading
import time
from typing import Any

import numpy as np

from clipdata.errors import ClipdataError
from clipdata.viewer import edits
from clipdata.viewer.sources.lance_table import LanceTable

QUIET_S, MOST_S = 1.0, 8.0


class Decider:
    """Takes decisions, and writes them from a thread of its own.

    Args:
        quiet_s: seconds without another decision after which those that wait are written.
        most_s: seconds after which they are written all the same.
    """

    def __init__(self, *, quiet_s: float = QUIET_S, most_s: float = MOST_S) -> None:
        self._quiet_s, self._most_s = quiet_s, most_s
        self._changed = threading.Condition()
        self._writing = threading.Lock()
        self._waiting: dict[str, dict[Any, str]] = {}
        self._source: LanceTable | None = None
        self._taken = self._written = 0
        self._first_at = self._last_at = 0.0
        self._version: int | None = None
        self._error: str | None = None
        self._thread: threading.Thread | None = None
        self._ended = False

    def take(self, source: LanceTable, positions: np.ndarray, column: str, value: str) -> dict[str, Any]:
        """Take a decision on rows; see `edits.checked_keys` for what is refused.

        Returns:
            JSON values: its `ticket`, which is written once `written` of `now` is as high, and the `rows`.
        """
        keys = edits.checked_keys(source, positions, column, value)
        with self._changed:
            at = time.monotonic()
            self._first_at = at if not self._waiting else self._first_at
            self._last_at = at
            self._source, self._error = source, None
            self._waiting.setdefault(column, {}).update(dict.fromkeys(keys, value))
            self._taken += 1
            ticket = self._taken
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="clipdata view decisions", daemon=True)
                self._thread.start()
                atexit.register(self.close)
            self._changed.notify_all()
        return {"ticket": ticket, "rows": len(keys), "column": column}

    def now(self) -> dict[str, Any]:
        """The last ticket whose decision is in the table, the version that has it, and how many rows still wait."""
        with self._changed:
            waiting = sum(map(len, self._waiting.values()))
            return {
                "written": self._written, "taken": self._taken, "version": self._version, "waiting": waiting,
                "error": self._error,
            }  # fmt: skip

    def close(self) -> None:
        """Write what waits, and end.

        Raises:
            ClipdataError: it cannot be written.
        """
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._write(raising=True)

    def _run(self) -> None:
        while not self._ended:
            with self._changed:
                self._changed.wait_for(lambda: self._ended or self._is_due(), timeout=self._quiet_s / 4)
                if self._ended or not self._is_due():
                    continue
            self._write(raising=False)

    def _is_due(self) -> bool:
        now = time.monotonic()
        is_late = now - self._last_at >= self._quiet_s or now - self._first_at >= self._most_s
        return bool(self._waiting) and self._error is None and is_late

    def _write(self, *, raising: bool) -> None:
        """Write all that waits; what could not be written waits on, for the next decision or the end to try again."""
        with self._writing:
            with self._changed:
                source, ticket, waiting = self._source, self._taken, self._waiting
                self._waiting = {}
            for column in list(waiting):
                assert source is not None, "it came with the first decision"
                try:
                    version = edits.write_decisions(source, column, waiting[column])
                except ClipdataError as error:
                    self._give_back(waiting, error.message)
                    if raising:
                        raise
                    return
                with self._changed:
                    self._version = version
                del waiting[column]
            with self._changed:
                self._written = ticket

    def _give_back(self, waiting: dict[str, dict[Any, str]], why: str) -> None:
        with self._changed:
            for column, values in waiting.items():
                self._waiting[column] = {**values, **self._waiting.get(column, {})}
            self._error = why
