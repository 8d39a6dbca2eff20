"""What a tracker does, and the figures of a line of metrics.jsonl as it takes them. Knows no tracker."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

_PREFIX = {"step": "train", "epoch": "report"}
_NO_FIGURES = frozenset({"kind", "step"})


class Tracker(Protocol):
    """Shows the figures of a run.

    Attributes:
        has_past: it still has what it was told of this run before; else it is told all of it again.
        place: where to look.
    """

    has_past: bool
    place: str

    def write(self, figures: Mapping[str, float], step: int) -> None:
        """Take in figures of a step."""
        ...

    def close(self, *, failed: bool) -> None:
        """Take in that the training ended, or failed."""
        ...


def figures_of(line: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a line, those of steps as "train/…" and those of reports as "report/…"."""
    prefix = _PREFIX.get(str(line["kind"]), str(line["kind"]))
    return {f"{prefix}/{name}": value for name, value in _numbers(line) if name not in _NO_FIGURES}


def _numbers(values: Mapping[str, Any], inside: str = "") -> Iterator[tuple[str, float]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{inside}{name}/")
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            yield f"{inside}{name}", float(value)


def flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """A run's record with one name a value, as trackers compare runs by: "config.lr", "table.version"."""
    found: dict[str, Any] = {}
    for name, value in record.items():
        inner = flat(value) if isinstance(value, Mapping) else {"": value}
        found |= {f"{name}.{under}" if under else name: one for under, one in inner.items()}
    return found
