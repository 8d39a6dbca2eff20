"""curves.svg: losses and held-out figures of a run, drawn from metrics.jsonl.

It knows the lines of that file, and nothing of how a training goes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clipdata.charts.line_chart import Curve, Panel, Points, svg
from clipdata.training.metrics import chief_figure, is_lower_better, is_share, read_metrics, told
from clipdata.training.state_files import write_bytes

FILE = "curves.svg"
_MOST_POINTS = 400
_SMOOTHED = 0.05
"""Part of the run over which a loss is smoothed."""
_NO_FIGURES = frozenset({"kind", "epoch", "step", "loss", "num_rows"})

Line = Mapping[str, Any]


def write_curves(run: Path) -> None:
    """Draw the curves of a run into its folder; nothing where no step is done.

    Raises:
        StorageError: it cannot be written.
    """
    if panels := panels_of(run):
        write_bytes(run / FILE, svg(run.name, panels).encode())


def panels_of(run: Path) -> list[Panel]:
    """The charts of a run: its losses, and the figures of held-out rows; those that there are.

    Raises:
        StorageError: its metrics cannot be read.
    """
    lines = read_metrics(run / "metrics.jsonl")
    return [panel for panel in (_losses(lines), _figures(lines)) if panel is not None]


def _losses(lines: Sequence[Line]) -> Panel | None:
    steps = _binned(_points([line for line in lines if line["kind"] == "step"], "loss"))
    if not steps:
        return None
    curves = [Curve("training, smoothed", smoothed(steps), faint=steps)]
    reports = [line for line in lines if line["kind"] == "epoch"]
    names = dict.fromkeys(name for line in reports for name in line if "loss" in name and name != "loss")
    curves += [Curve(name.replace("_", " "), _points(reports, name), dots=True) for name in names]
    return Panel("loss", [curve for curve in curves if curve.points])


def _figures(lines: Sequence[Line]) -> Panel | None:
    """The chief figure of the reports, and beside it those that are shares if it is one."""
    reports = [line for line in lines if line["kind"] == "epoch"]
    chief = next((name for line in reports if (name := chief_figure(line))), None)
    if chief is None or not _points(reports, chief):
        return None
    names = dict.fromkeys(name for line in reports for name in line if name not in _NO_FIGURES and is_share(name))
    shown = [chief, *(name for name in names if is_share(chief) and name != chief)]
    curves = [Curve(name.replace("_", " "), points, dots=True) for name in shown if (points := _points(reports, name))]
    choose = min if is_lower_better(chief) else max
    step, value = choose(_points(reports, chief), key=lambda point: point[1])
    best = ((step, value), f"best {told(chief, value)}, step {step:,.0f}")
    return Panel("held-out rows", curves, as_percent=is_share(chief), best=best)


def _points(lines: Sequence[Line], name: str) -> Points:
    found = [(line["step"], line.get(name)) for line in lines]
    return [(step, value) for step, value in found if isinstance(value, (int, float)) and math.isfinite(value)]


def _binned(points: Points) -> Points:
    """No more points than can be told apart, each the mean of those it stands for."""
    each = math.ceil(len(points) / _MOST_POINTS)
    groups = [points[start : start + each] for start in range(0, len(points), each or 1)]
    return [(group[-1][0], sum(value for _, value in group) / len(group)) for group in groups]


def smoothed(points: Points, part: float = _SMOOTHED) -> Points:
    """A moving average that begins as the plain mean of what there is; each point weighs less than the one after it."""
    keep = 1 - 1 / max(len(points) * part, 1.0)
    total = weight = 0.0
    found = []
    for x, value in points:
        total, weight = keep * total + value, keep * weight + 1
        found.append((x, total / weight))
    return found
