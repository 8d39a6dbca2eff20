"""What a report tells of a training, as records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Curve:
    """A line of a chart.

    Args:
        name: of it.
        points: (step, value).
        faint: the same before it was smoothed.
        dots: whether each point is a measurement by itself.
    """

    name: str
    points: tuple[tuple[float, float], ...]
    faint: tuple[tuple[float, float], ...] = ()
    dots: bool = False


@dataclass(frozen=True)
class Chart:
    """Curves of a run over its steps.

    Args:
        title: of the chart.
        x_label: what is counted.
        as_percent: whether values are shares.
        curves: that it shows.
        best: (step, value) of the best report, and the same in words.
    """

    title: str
    x_label: str
    as_percent: bool
    curves: tuple[Curve, ...]
    best: tuple[float, float, str] | None = None


@dataclass(frozen=True)
class RunFigure:
    """What was measured on held-out rows: a name, and the value before training and of the exported model."""

    name: str
    before: float | None
    after: float | None


@dataclass(frozen=True)
class RunSection:
    """A training.

    Args:
        path: of its folder.
        finished: whether the model is exported.
        encoder: what it began with.
        figures: of held-out rows, the chief one first.
        charts: losses and figures by step.
        data, training, changed: facts by name; `changed` are fields of the config that are not the default.
        canary: what the training cost elsewhere, in words; None where nobody looked.
        canary_verdict: of that.
        mixture: how the weights were mixed; None where they were not.
        warnings: told during the training.
    """

    path: str
    finished: bool
    encoder: str
    figures: tuple[RunFigure, ...]
    charts: tuple[Chart, ...]
    data: Mapping[str, str]
    training: Mapping[str, str]
    changed: Mapping[str, str]
    canary: str | None = None
    canary_verdict: str | None = None
    mixture: str | None = None
    warnings: tuple[str, ...] = ()
