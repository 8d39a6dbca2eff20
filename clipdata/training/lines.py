"""Lines: what a training tells as it goes, to metrics.jsonl and to all that show it.

metrics.jsonl is the record: it must be written. A tracker that fails is said once and left alone; it never ends a
training. It knows neither steps nor what the figures mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from clipdata.errors import StorageError
from clipdata.progress import Progress
from clipdata.storage import redact
from clipdata.training import trackers
from clipdata.training.interruption import Stopped
from clipdata.training.metrics import MetricsFile, read_metrics
from clipdata.training.trackers.protocol import Tracker, figures_of


class Lines:
    """Takes lines, while it is entered.

    Args:
        run: the run's folder.
        record: its config.json.
        num_bytes: of metrics.jsonl to keep; the rest was written after the checkpoint that a run goes on from.
        report_to: names of trackers.
        progress: is told where to look, and what failed.
    """

    def __init__(
        self, run: Path, record: Mapping[str, Any], num_bytes: int, report_to: Sequence[str], progress: Progress
    ) -> None:
        self._run, self._record, self._progress = run, record, progress
        self._names = list(dict.fromkeys(report_to))
        self._path = run / "metrics.jsonl"
        told = self._there() if self._names else []
        self._file = MetricsFile(self._path, num_bytes)
        self._kept = self._there() if self._names else []
        self._told = {(line["kind"], line["step"]) for line in told[len(self._kept) :]}
        self._trackers: dict[str, Tracker] = {}

    def __enter__(self) -> Lines:
        for name in self._names:
            self._open(name)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        failed = error is not None and not isinstance(error, (Stopped, KeyboardInterrupt))
        for name in list(self._trackers):
            try:
                self._trackers[name].close(failed=failed)
            except Exception as why:
                self._lose(name, why)
        self._file.close()

    def write(self, line: Mapping[str, Any]) -> None:
        """Tell a line: its kind, its step, and figures."""
        self._file.write(line)
        for name, tracker in list(self._trackers.items()):
            if not (tracker.has_past and (line["kind"], line["step"]) in self._told):
                self._tell(name, tracker, line)

    def sync(self) -> int:
        """Have the disk hold all lines, and return how many bytes of metrics.jsonl they are."""
        return self._file.sync()

    def _there(self) -> list[dict[str, Any]]:
        """The lines of the file; none where a crash of the machine left something else behind those to keep."""
        try:
            return read_metrics(self._path)
        except StorageError:
            return []

    def _open(self, name: str) -> None:
        try:
            tracker = trackers.open_tracker(name, self._run, self._record)
        except Exception as why:
            self._lose(name, why)
            return
        self._trackers[name] = tracker
        self._progress.say(f"metrics go to {name}, too: {tracker.place}")
        for line in [] if tracker.has_past else self._kept:
            self._tell(name, tracker, line)

    def _tell(self, name: str, tracker: Tracker, line: Mapping[str, Any]) -> None:
        figures = figures_of(line)
        try:
            if figures and name in self._trackers:
                tracker.write(figures, line["step"])
        except Exception as why:
            self._lose(name, why)

    def _lose(self, name: str, why: Exception) -> None:
        self._trackers.pop(name, None)
        said = redact(" ".join(str(why).split())[:300]) or type(why).__name__
        self._progress.say(f"{name} failed and is told nothing more: {said}; metrics.jsonl has all lines")


class Unwritten(Lines):
    """Takes lines and tells nobody: that of a process which does not write."""

    def __init__(self) -> None:
        """Open nothing."""

    def __enter__(self) -> Unwritten:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def write(self, line: Mapping[str, Any]) -> None:
        """Tell nothing."""

    def sync(self) -> int:
        """Say that nothing is written."""
        return 0
