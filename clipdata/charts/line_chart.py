"""Line charts as SVG that any browser draws, in light and in dark: axes, ticks, a legend, a marked point.

    svg(title, panels)    a file by itself, with its own style
    line_chart(panel)     one chart within a page, and legend(names) to put beside it

It knows numbers and names, and nothing of what they mean. Every name is escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from clipdata.charts.axes import (
    NARROW,
    NARROW_SIZE,
    Frame,
    Scale,
    colour,
    drawn,
    opened,
    scale,
    text,
    ticks,
    x_axis,
    y_axis,
)

Points = Sequence[tuple[float, float]]

_WIDTH, _PANEL, _TITLE = 760, 270, 34
_LEFT, _RIGHT, _TOP, _BOTTOM = 66, 28, 40, 42
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
    charts = "".join(_titled(panel, _TITLE + _PANEL * number) for number, panel in enumerate(panels))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        f'role="img" aria-label="{text(title)}">\n<style>{_STYLE}</style>\n'
        f'<rect width="{_WIDTH}" height="{height}" style="fill: var(--paper)"/>\n'
        f'<text class="title" x="{_LEFT}" y="24">{text(title)}</text>\n{charts}</svg>\n'
    )


def line_chart(panel: Panel) -> Markup:
    """One chart as inline SVG; its width, title and legend, and what the marked point is, are the page's.

    Args:
        panel: what it shows.
    """
    best = f"; {panel.best[1]}" if panel.best is not None else ""
    label = f"{panel.title}: {', '.join(curve.name for curve in panel.curves)} by {panel.x_label}{best}"
    return drawn(opened(*NARROW_SIZE, label), *_plotted(panel, NARROW, most_ticks=5, tells_best=False), "</svg>")


def legend(names: Sequence[str]) -> Markup:
    """The names of a chart's curves with their colours, as a list beside it."""
    listed = "".join(
        f'<li><svg viewBox="0 0 18 10" aria-hidden="true"><line x1="0" x2="18" y1="5" y2="5" stroke="{colour(number)}" '
        f'stroke-width="4"/></svg>{text(name)}</li>'
        for number, name in enumerate(names)
    )
    return drawn('<ul class="legend">', listed, "</ul>")


def _titled(panel: Panel, top: float) -> str:
    frame = Frame(_LEFT, _WIDTH - _RIGHT, top + _TOP, top + _PANEL - _BOTTOM)
    title = f'<text x="{_LEFT}" y="{top + 18:.0f}">{text(panel.title)}</text>'
    return "\n".join([title, _legend(panel.curves, top + 18), *_plotted(panel, frame)]) + "\n"


def _plotted(panel: Panel, frame: Frame, most_ticks: int = 6, *, tells_best: bool = True) -> list[str]:
    """Axes, curves and the marked point."""
    every = [point for curve in panel.curves for point in (*curve.points, *curve.faint)]
    x_ticks, y_ticks = ticks([x for x, _ in every], most_ticks), ticks([y for _, y in every], most_ticks)
    at_x = scale(min(x_ticks[0], every[0][0]), max(x_ticks[-1], *(x for x, _ in every)), frame.left, frame.right)
    at_y = scale(y_ticks[0], y_ticks[-1], frame.bottom, frame.top)
    parts = y_axis(frame, y_ticks, at_y, as_percent=panel.as_percent) + x_axis(frame, x_ticks, at_x, panel.x_label)
    for number, curve in enumerate(panel.curves):
        parts += _curve(curve, colour(number), at_x, at_y)
    if panel.best is not None:
        (x, y), said = panel.best
        side, anchor = (-9, "end") if at_x(x) > (frame.left + frame.right) / 2 else (9, "start")
        below = 18 if at_y(y) < frame.top + 20 else -9
        parts.append(f'<circle class="best" cx="{at_x(x):.1f}" cy="{at_y(y):.1f}" r="5"/>')
    if panel.best is not None and tells_best:
        parts.append(
            f'<text class="said" x="{at_x(x) + side:.1f}" y="{at_y(y) + below:.1f}" text-anchor="{anchor}">'
            f"{text(said)}</text>"
        )
    return parts


def _curve(curve: Curve, stroke: str, at_x: Scale, at_y: Scale) -> list[str]:
    parts = []
    for kind, points in (("faint", curve.faint), ("curve", curve.points)):
        if len(points) > 1:
            path = " ".join(f"{at_x(x):.1f},{at_y(y):.1f}" for x, y in points)
            parts.append(f'<polyline class="{kind}" stroke="{stroke}" points="{path}"/>')
    if curve.dots or len(curve.points) == 1:
        parts += [f'<circle cx="{at_x(x):.1f}" cy="{at_y(y):.1f}" r="3" fill="{stroke}"/>' for x, y in curve.points]
    return parts


def _legend(curves: Sequence[Curve], y: float) -> str:
    """Names with their colours, from the right."""
    x, parts = float(_WIDTH - _RIGHT), []
    for number, curve in reversed(list(enumerate(curves))):
        parts.append(f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="end">{text(curve.name)}</text>')
        x -= 7.0 * len(curve.name) + 8
        parts.append(
            f'<line x1="{x - 18:.0f}" x2="{x:.0f}" y1="{y - 4:.0f}" y2="{y - 4:.0f}" stroke="{colour(number)}" '
            'stroke-width="3"/>'
        )
        x -= 32
    return "\n".join(parts)
