"""The section of a training: what it began with, how it went, what it was worth, and what it cost elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from clipdata.charts import Panel
from clipdata.reporting.rendering import cut
from clipdata.reporting.run_records import Chart, Curve, RunFigure, RunSection
from clipdata.storage import redact
from clipdata.training.curves import panels_of
from clipdata.training.model_card import changed_fields, data_facts, held_out_figures, training_facts
from clipdata.training.run import Run

_MOST_CURVES, _MOST_FACTS, _MOST_WARNINGS = 12, 60, 20


def run_section(run: Run) -> RunSection:
    """Tell of a run, finished or not.

    Raises:
        StorageError: its files cannot be read.
    """
    summary = run.summary
    figures = held_out_figures(run.epochs, summary)
    canary, mixture = run.canary, run.mixture
    warnings = [str(one.get("text", one)) if isinstance(one, dict) else str(one) for one in summary.get("warnings", [])]
    warnings = [f"its model is damaged: {damage}", *warnings] if (damage := run.damage) else warnings
    return RunSection(
        path=str(run.path),
        finished=run.is_finished,
        encoder=str(run.record["encoder"]["name"]),
        figures=tuple(RunFigure(name, before, after) for name, before, after in figures[:_MOST_FACTS]),
        charts=tuple(_chart(panel) for panel in panels_of(run.path)),
        data=_facts(data_facts(run, summary)),
        training=_facts(training_facts(run, summary)),
        changed=_facts(changed_fields(run.config)),
        canary=str(canary) if canary is not None else None,
        canary_verdict=canary.verdict if canary is not None else None,
        mixture=str(mixture) if mixture is not None else None,
        warnings=tuple(cut(one) for one in warnings[:_MOST_WARNINGS]),
    )


def _facts(found: Iterable[tuple[str, Any]]) -> dict[str, str]:
    known = [(name, value) for name, value in found if value not in (None, "")]
    return {name: cut(redact(_said(value))) for name, value in known[:_MOST_FACTS]}


def _said(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _chart(panel: Panel) -> Chart:
    best = (*panel.best[0], panel.best[1]) if panel.best is not None else None
    curves = tuple(
        Curve(curve.name, tuple(map(_point, curve.points)), tuple(map(_point, curve.faint)), curve.dots)
        for curve in panel.curves[:_MOST_CURVES]
    )
    return Chart(panel.title, panel.x_label, panel.as_percent, curves, best)


def _point(point: tuple[float, float]) -> tuple[float, float]:
    return float(point[0]), float(f"{point[1]:.6g}")
