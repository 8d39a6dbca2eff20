"""Live: whether a table has a newer version, and what a training run has told since. Keeps nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from clipdata.errors import NotFoundError
from clipdata.viewer.sources import LanceTable, Source

MOST_LINES, _MOST_BYTES = 2_000, 4 << 20


class Live:
    """What changes while a page is open.

    Args:
        source: that is looked at.
        run: folder of a training run, or None.

    Raises:
        NotFoundError: there is no such folder.
    """

    def __init__(self, source: Source, run: str | Path | None = None) -> None:
        self._source = source
        self._run = Path(run) if run is not None else None
        if self._run is not None and not self._run.is_dir():
            raise NotFoundError(f"there is no folder {run}; expected a training run's", hint="clipdata runs FOLDER")

    def now(self, since: int = 0) -> dict[str, Any]:
        """The newest version, and the run's metrics.

        Args:
            since: byte of metrics.jsonl from which on lines are wanted.
        """
        newest = self._source.table.latest().version if isinstance(self._source, LanceTable) else None
        return {"version": newest, "run": self._metrics(since) if self._run is not None else None}

    def _metrics(self, since: int) -> dict[str, Any]:
        assert self._run is not None, "asked by the caller"
        file = self._run / "metrics.jsonl"
        if not file.exists():
            return {"name": self._run.name, "until": 0, "restarted": False, "lines": []}
        with file.open("rb") as opened:
            size = opened.seek(0, 2)
            restarted = since > size  # a run that went on from a checkpoint cut its file back
            start = max(0 if restarted else since, size - _MOST_BYTES)
            opened.seek(start)
            data = opened.read()
        whole = data[: data.rfind(b"\n") + 1]
        lines = [_figures(line) for line in whole.splitlines()]
        kept = [line for line in lines if line][-MOST_LINES:]
        return {"name": self._run.name, "until": start + len(whole), "restarted": restarted, "lines": kept}


def _figures(line: bytes) -> dict[str, float]:
    """The numbers of a line, by name; nothing of one that is no JSON."""
    try:
        told = json.loads(line)
    except ValueError:
        return {}
    if not isinstance(told, dict):
        return {}
    return {name: value for name, value in told.items() if isinstance(value, int | float) and abs(value) < 1e300}
