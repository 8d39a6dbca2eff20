"""metrics.jsonl: one line a step and one an epoch, cut back to a checkpoint when a run goes on. Knows files only.

And how a figure in it is told to people.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clipdata.errors import StorageError
from clipdata.json_parsing import parse_json
from clipdata.plurals import counted
from clipdata.training.state_files import writing

_IS_A_LOG = "it is a log that only training anew writes: --overwrite; a model that is exported already needs it not"


class MetricsFile:
    """Appends lines of JSON.

    Args:
        path: the file.
        num_bytes: keep this much of what is there; the rest was written after the checkpoint that a run goes on from.

    Raises:
        StorageError: what is to be kept is not there, or is something else; or the file cannot be written.
    """

    def __init__(self, path: Path, num_bytes: int) -> None:
        self._path = path
        _require_kept(path, num_bytes)
        with writing(path):
            path.touch()
            os.truncate(path, num_bytes)
            self._file = path.open("ab", buffering=0)  # or a full disk would be met again when the file is closed

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def write(self, line: Mapping[str, Any]) -> None:
        """Append a line; numbers that JSON has no word for become null."""
        plain = {key: None if isinstance(v, float) and not math.isfinite(v) else v for key, v in line.items()}
        left = memoryview(json.dumps(plain).encode() + b"\n")
        with writing(self._path):
            while left:
                left = left[self._file.write(left) :]

    def sync(self) -> int:
        """Have the disk hold all lines, and return how many bytes they are."""
        with writing(self._path):
            os.fsync(self._file.fileno())
            return self._file.tell()


def _require_kept(path: Path, num_bytes: int) -> None:
    """Check that the lines that a run goes on behind are there."""
    try:
        found = path.read_bytes()[:num_bytes] if num_bytes else b""
        parse_lines(found)
    except FileNotFoundError:
        found = b""
    except (OSError, ValueError) as error:
        raise StorageError(f"{path} cannot be read: {error}", hint=_IS_A_LOG) from error
    if len(found) < num_bytes:
        said = f"{len(found):,} of the {counted(num_bytes, 'byte')} that were written before the checkpoint"
        raise StorageError(f"{path} is not whole: found {said}", hint=_IS_A_LOG)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Read all lines; a last one that is being written is left out.

    Raises:
        StorageError: a line is no JSON, or none that a training wrote.
    """
    if not path.exists():
        return []
    try:
        return parse_lines(path.read_bytes())
    except (OSError, ValueError) as error:
        raise StorageError(f"{path} cannot be read: {error}", hint=_IS_A_LOG) from error


def parse_lines(data: bytes) -> list[dict[str, Any]]:
    """The lines in the bytes of a file; what stands behind the last line end is left out.

    Raises:
        ValueError: a line is no JSON, or none that a training wrote.
    """
    lines = []
    for number, text in enumerate(data.decode().rpartition("\n")[0].splitlines(), 1):
        line = parse_json(text)
        names = (
            ("kind", "step", "epoch", "loss")
            if isinstance(line, dict) and line.get("kind") == "epoch"
            else ("kind", "step")
        )
        missing = [name for name in names if name not in line] if isinstance(line, dict) else [*names]
        if missing:
            raise ValueError(f"line {number:,} is none of a training: it has no {' and no '.join(missing)}")
        lines.append(line)
    return lines


def chief_figure(report: Mapping[str, Any]) -> str | None:
    """Name of a report's chief figure, the first one behind the number of rows; None where nothing was measured."""
    names = list(report)
    place = names.index("num_rows") + 1 if "num_rows" in names else len(names)
    return names[place] if place < len(names) else None


def of_exported(reports: Sequence[Mapping[str, Any]], summary: Mapping[str, Any]) -> Mapping[str, Any]:
    """The report of the model that is exported.

    A mixture was measured once it was mixed; another model is that of its step, or of the newest report.

    Args:
        reports: at least one, each with figures.
        summary: of the run; empty before it is finished.
    """
    if summary.get("exported_figures"):
        return dict(summary["exported_figures"])
    exported = summary.get("exported_step")
    return next((line for line in reversed(reports) if line["step"] == exported), reports[-1])


def is_share(name: str) -> bool:
    """Whether a figure is a part of a whole, from 0 to 1, by its name."""
    return any(word in name for word in ("accuracy", "top_", "recall"))


def is_lower_better(name: str) -> bool:
    """Whether a figure is the better the lower it is, by its name."""
    return any(word in name for word in ("loss", "rank"))


def told(name: str, value: float | None) -> str:
    """A figure for people: its name in words, and shares as percent."""
    words = name.replace("_", " ")
    if value is None:
        return f"{words} unknown"
    return f"{words} {value:.1%}" if is_share(name) else f"{words} {value:.3f}"
