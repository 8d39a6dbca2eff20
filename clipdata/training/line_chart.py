"""Line charts as SVG that any browser draws, in light and in dark: axes, ticks, a legend, a marked point.

It knows numbers and names, and nothing of what they mean. Every name is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from clipdata.printable import printable

Points = Sequence[tuple[float, float]]

_WIDTH, _PANEL, _TITLE = 760, 270, 34
_LEFT, _RIGHT, _TOP, _BOTTOM = 66, 28, 40, 42
# Told apart by most people who see colours otherwise, on white and on black. Source: Okabe and Ito, 2008.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_STYLE = """
:root { --paper: #ffffff; --ink: #24292f; --rule: #d0d7de }
@media (prefers-color-scheme: dark) { :root { --paper: #0d1117; --ink: #e6edf3; --rule: #30363d } }
text { fill: var(--ink); font: 12px system-ui, sans-serif }
.title { font-weight: 600; font-size: 14px }
.axis { stroke: var(--ink); stroke-width: 1 }
.rule { stroke: var(--rule); stroke-width: 1 }
.curve { fill: none; stroke-width: 2; stroke-linejoin: round }
.faint { fill: none; stroke-width: 1; opacity: 0.35 }
.best { fill: var(--paper); stroke: var(--ink); stroke-width: 2 }
"""


@dataclass(frozen=True)
class Curve:
    """One line.

    Args:
        name: in the legend.
        points: ascending in x.
        faint: the same before it was smoothed.
        dots: draw each point.
    """

    name: str
    points: Points
    faint: Points = ()
    dots: bool = False


@dataclass(frozen=True)
class Panel:
    """One chart.

    Args:
        title: above it.
        curves: that it shows; one at least with a point.
        x_label: what x is.
        as_percent: y is a share from 0 to 1.
        best: a point to mark, and what to write beside it.
    """

    title: str
    curves: Sequence[Curve]
    x_label: str = "step"
    as_percent: bool = False
    best: tuple[tuple[float, float], str] | None = None


def svg(title: str, panels: Sequence[Panel]) -> str:
    """Charts below each other, as the text of an SVG file."""
    height = _TITLE + _PANEL * len(panels)
    drawn = "".join(_panel(panel, _TITLE + _PANEL * number) for number, panel in enumerate(panels))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        f'role="img" aria-label="{_text(title)}">\n<style>{_STYLE}</style>\n'
        f'<rect width="{_WIDTH}" height="{height}" style="fill: var(--paper)"/>\n'
        f'<text class="title" x="{_LEFT}" y="24">{_text(title)}</text>\n{drawn}</svg>\n'
    )


def _panel(panel: Panel, top: float) -> str:
    every = [point for curve in panel.curves for point in (*curve.points, *curve.faint)]
    x_ticks, y_ticks = ticks([x for x, _ in every]), ticks([y for _, y in every])
    bottom, right = top + _PANEL - _BOTTOM, _WIDTH - _RIGHT
    at_x = _scale(min(x_ticks[0], every[0][0]), max(x_ticks[-1], *(x for x, _ in every)), _LEFT, right)
    at_y = _scale(y_ticks[0], y_ticks[-1], bottom, top + _TOP)
    parts = [f'<text x="{_LEFT}" y="{top + 18:.0f}">{_text(panel.title)}</text>', _legend(panel.curves, top + 18)]
    for y in y_ticks:
        told = f"{y:.0%}" if panel.as_percent else f"{y:g}"
        parts.append(f'<line class="rule" x1="{_LEFT}" x2="{right}" y1="{at_y(y):.1f}" y2="{at_y(y):.1f}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{at_y(y) + 4:.1f}" text-anchor="end">{told}</text>')
    for x in x_ticks:
        parts.append(f'<line class="axis" x1="{at_x(x):.1f}" x2="{at_x(x):.1f}" y1="{bottom}" y2="{bottom + 4}"/>')
        parts.append(f'<text x="{at_x(x):.1f}" y="{bottom + 18}" text-anchor="middle">{x:,g}</text>')
    parts.append(f'<line class="axis" x1="{_LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/>')
    parts.append(f'<text x="{right}" y="{bottom + 34}" text-anchor="end">{_text(panel.x_label)}</text>')
    for curve, colour in zip(panel.curves, _colours(len(panel.curves)), strict=True):
        parts += _curve(curve, colour, at_x, at_y)
    if panel.best is not None:
        (x, y), said = panel.best
        side, anchor = (-9, "end") if at_x(x) > (_LEFT + right) / 2 else (9, "start")
        below = 18 if at_y(y) < top + _TOP + 20 else -9
        parts.append(f'<circle class="best" cx="{at_x(x):.1f}" cy="{at_y(y):.1f}" r="5"/>')
        parts.append(
            f'<text x="{at_x(x) + side:.1f}" y="{at_y(y) + below:.1f}" text-anchor="{anchor}">{_text(said)}</text>'
        )
    return "\n".join(parts) + "\n"


def _curve(curve: Curve, colour: str, at_x: Callable[[float], float], at_y: Callable[[float], float]) -> list[str]:
    parts = []
    for kind, points in (("faint", curve.faint), ("curve", curve.points)):
        if len(points) > 1:
            path = " ".join(f"{at_x(x):.1f},{at_y(y):.1f}" for x, y in points)
            parts.append(f'<polyline class="{kind}" stroke="{colour}" points="{path}"/>')
    if curve.dots or len(curve.points) == 1:
        parts += [f'<circle cx="{at_x(x):.1f}" cy="{at_y(y):.1f}" r="3" fill="{colour}"/>' for x, y in curve.points]
    return parts


def _legend(curves: Sequence[Curve], y: float) -> str:
    """Names with their colours, from the right."""
    x, parts = float(_WIDTH - _RIGHT), []
    for curve, colour in reversed(list(zip(curves, _colours(len(curves)), strict=True))):
        parts.append(f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="end">{_text(curve.name)}</text>')
        x -= 7.0 * len(curve.name) + 8
        parts.append(
            f'<line x1="{x - 18:.0f}" x2="{x:.0f}" y1="{y - 4:.0f}" y2="{y - 4:.0f}" stroke="{colour}" '
            'stroke-width="3"/>'
        )
        x -= 32
    return "\n".join(parts)


def _colours(num: int) -> list[str]:
    return [_COLOURS[number % len(_COLOURS)] for number in range(num)]


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    span = (high - low) or 1.0
    return lambda value: start + (value - low) / span * (end - start)


def ticks(values: Sequence[float], most: int = 6) -> list[float]:
    """Round numbers that span values, evenly spaced, at least two."""
    low, high = min(values), max(values)
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        low, high = low - (abs(low) * 0.1 or 1.0), high + (abs(high) * 0.1 or 1.0)
    rough = (high - low) / (most - 1)
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def _text(said: str) -> str:
    return escape(printable(said))
