"""Deciding: decisions that come close together are written as one version, and told as written only then.

A column of decisions is made anew with each write. So what comes within a moment waits for the rest, and while a write
is on its way the next ones gather. Nothing that waits is lost when the viewer ends; a killed one never said it wrote.
What somebody else decided otherwise meanwhile is held back until the page that it came from says which stands.
"""

from __future__ import annotations

import atexit
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from clipdata.errors import ClipdataError, UsageError
from clipdata.lance_io.table import Table
from clipdata.viewer import edits
from clipdata.viewer.decisions import newest_of, write_decisions
from clipdata.viewer.disputes import Dispute, Taken, disputes_of, told
from clipdata.viewer.held_back import HeldBack
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
        self._waiting: dict[str, dict[Any, Taken]] = {}
        self._on_its_way: dict[str, dict[Any, Taken]] = {}
        self._in_table: dict[str, dict[Any, Taken]] = {}
        self._held_back = HeldBack()
        self._source: LanceTable | None = None
        self._given = self._written = 0
        self._first_at = self._last_at = 0.0
        self._version: int | None = None
        self._error: str | None = None
        self._thread: threading.Thread | None = None
        self._ended = False

    def take(self, source: LanceTable, positions: np.ndarray, column: str, value: str, page: str) -> dict[str, Any]:
        """Take a decision on rows; see `edits.checked_keys` for what is refused.

        Args:
            page: which of this viewer's it came from, by the id that it gave itself; those without one are one page.

        Returns:
            JSON values: its `ticket`, which is written once `written` of `now` is as high, the `rows` that it holds
            for, and the `disputes`: those that it waits for `settle` with, or None.
        """
        key, keys = edits.checked_keys(source, positions, column, value)
        assert source.version is not None, "a table has one"
        taken = dict.fromkeys(keys, Taken(value, page, source.version, datetime.now(UTC)))
        disputes = self._disputed_in_table(source, key, column, taken)
        with self._changed:
            disputes += self._disputed_by_other_pages(column, taken)
            held = {one.key for one in disputes}
            free = {name: one for name, one in taken.items() if name not in held}
            self._held_back.drop(page, column, taken)
            self._held_back.hold(column, disputes)
            self._source = source
            ticket = self._gather(column, free)
        return {
            "ticket": ticket, "rows": len(free), "column": column,
            "disputes": told(disputes, column) if disputes else None,
        }  # fmt: skip

    def settle(self, column: str, page: str, *, over: bool) -> dict[str, Any]:
        """Say of a page's decisions that were held back whether they take the place of what others decided.

        Returns:
            JSON values, as of `take`; disputes are those on which others decided again before this answer.

        Raises:
            UsageError: none of this page's is held back.
        """
        with self._changed:
            held = self._held_back.release(page, column)
            if not held:
                raise UsageError(f"no decision of column {column!r} that this page made is held back any more")
            stand = {
                one.key: replace(one.mine, over=one.mine.over | {one.theirs})
                for one in held
                if over and one.theirs is not None
            }
            again = self._disputed_by_other_pages(column, stand)
            self._held_back.hold(column, again)
            for one in again:
                del stand[one.key]
            return {
                "ticket": self._gather(column, stand), "rows": len(stand), "column": column,
                "disputes": told(again, column) if again else None,
            }  # fmt: skip

    def now(self, page: str) -> dict[str, Any]:
        """The last ticket whose decision is in the table, its version, how many rows wait, and a page's disputes."""
        with self._changed:
            return {
                "written": self._written, "taken": self._given, "version": self._version,
                "waiting": sum(map(len, self._waiting.values())), "error": self._error,
                "disputes": self._held_back.told(page),
            }  # fmt: skip

    def close(self) -> list[str]:
        """Write what waits, and end.

        Returns:
            In words, the decisions that were held back and that nobody settled: they are not in the table.

        Raises:
            ClipdataError: it cannot be written.
        """
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._write(raising=True)
        with self._changed:
            return self._held_back.release_all()

    def _disputed_in_table(self, source: LanceTable, key: str, column: str, taken: dict[Any, Taken]) -> list[Dispute]:
        """What the table says otherwise; while a write of this viewer is on its way, the next one finds that out."""
        if not self._writing.acquire(blocking=False):
            return []
        try:
            return disputes_of(newest_of(source.table, column), key, column, taken, self._in_table.get(column, {}))
        finally:
            self._writing.release()

    def _disputed_by_other_pages(self, column: str, taken: dict[Any, Taken]) -> list[Dispute]:
        pending = {**self._on_its_way.get(column, {}), **self._waiting.get(column, {})}
        return [
            Dispute(name, taken[name], other.value, "another page of this viewer", None, other.at)
            for name, other in pending.items()
            if name in taken
            and other.page != taken[name].page
            and other.value not in (taken[name].value, *taken[name].over)
        ]

    def _gather(self, column: str, taken: dict[Any, Taken]) -> int:
        """Let decisions wait to be written; the ticket of the last ones."""
        if not taken:
            return self._given
        self._last_at = time.monotonic()
        self._first_at = self._first_at if self._waiting else self._last_at
        self._error = None
        self._waiting.setdefault(column, {}).update(taken)
        self._given += 1
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="clipdata view decisions", daemon=True)
            self._thread.start()
            atexit.register(self.close)
        self._changed.notify_all()
        return self._given

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
                source, ticket, waiting = self._source, self._given, self._waiting
                self._waiting, self._on_its_way = {}, dict(waiting)
            for column in list(waiting):
                assert source is not None, "it came with the first decision"
                try:
                    self._write_column(source, column, waiting[column])
                except ClipdataError as error:
                    self._give_back(waiting, error.message)
                    if raising:
                        raise
                    return
                del waiting[column]
            with self._changed:
                self._written, self._on_its_way = ticket, {}

    def _write_column(self, source: LanceTable, column: str, taken: dict[Any, Taken]) -> None:
        """Write those that nobody disputes, and hold the others back."""
        key, in_table = edits.key_of(source), self._in_table.setdefault(column, {})
        disputes: dict[Any, Dispute] = {}

        def values_at(newest: Table) -> dict[Any, str]:
            disputes.clear()
            disputes.update((one.key, one) for one in disputes_of(newest, key, column, taken, in_table))
            return {name: one.value for name, one in taken.items() if name not in disputes}

        version, theirs = write_decisions(source.table, key, column, values_at)
        for name in taken.keys() & theirs.keys() - disputes.keys():
            if taken[name].value != theirs[name]:
                disputes[name] = Dispute(name, taken[name], theirs[name], "another viewer", None, None)
        in_table |= {name: one for name, one in taken.items() if name not in disputes}
        with self._changed:
            self._held_back.hold(column, disputes.values())
            self._version = version or self._version

    def _give_back(self, waiting: dict[str, dict[Any, Taken]], why: str) -> None:
        with self._changed:
            for column, values in waiting.items():
                self._waiting[column] = {**values, **self._waiting.get(column, {})}
            self._error, self._on_its_way = why, {}
