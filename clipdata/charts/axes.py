"""Axes: round ticks, scales, and the room that a chart has. It knows numbers, and no chart."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path

from markupsafe import Markup

from clipdata.printable import printable

Scale = Callable[[float], float]

# Told apart by most people who see colours otherwise, on white and on black. Source: Okabe and Ito, 2008.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


@dataclass(frozen=True)
class Frame:
    """Where a chart is drawn, in the units of its SVG.

    Args:
        left, right, top, bottom: edges of the part between the axes.
    """

    left: float
    right: float
    top: float
    bottom: float


NARROW = Frame(left=44.0, right=380.0, top=10.0, bottom=184.0)
"""Of a chart beside others, whose letters can be read on a telephone."""
NARROW_SIZE = (400, 222)


@cache
def style() -> str:
    """CSS of all charts but that of `svg`, which brings its own: colours as variables, for light, dark and print."""
    return (Path(__file__).parent / "charts.css").read_text(encoding="utf-8")


def opened(width: float, height: float, label: str, kind: str = "chart") -> str:
    """The beginning of an inline SVG, which is told as one picture to who does not see it."""
    return f'<svg class="{kind}" viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{text(label)}">'


def drawn(*parts: str) -> Markup:
    """Parts of a chart as markup; the texts in them are escaped already."""
    return Markup("\n".join(parts))  # noqa: S704 - see above


def colour(number: int) -> str:
    """Of the so-manieth of several curves."""
    return COLOURS[number % len(COLOURS)]


def scale(low: float, high: float, start: float, end: float) -> Scale:
    """From values to places."""
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


def y_axis(frame: Frame, values: Sequence[float], at_y: Scale, *, as_percent: bool = False) -> list[str]:
    """A rule and a number for each tick."""
    parts = []
    decimals = next((n for n in range(6) if len({f"{y:.{n}%}" for y in values}) == len(values)), 6)
    for y in values:
        told, place = f"{y:.{decimals}%}" if as_percent else f"{y:g}", at_y(y)
        parts.append(f'<line class="rule" x1="{frame.left:g}" x2="{frame.right:g}" y1="{place:.1f}" y2="{place:.1f}"/>')
        parts.append(f'<text x="{frame.left - 8:g}" y="{place + 4:.1f}" text-anchor="end">{told}</text>')
    return parts


def x_axis(frame: Frame, values: Sequence[float], at_x: Scale, label: str) -> list[str]:
    """The line below a chart, a mark and a number for each tick, and what they count."""
    bottom, parts = frame.bottom, []
    for x in values:
        place = at_x(x)
        parts.append(f'<line class="axis" x1="{place:.1f}" x2="{place:.1f}" y1="{bottom:g}" y2="{bottom + 4:g}"/>')
        parts.append(f'<text x="{place:.1f}" y="{bottom + 18:g}" text-anchor="middle">{x:,g}</text>')
    parts.append(f'<line class="axis" x1="{frame.left:g}" x2="{frame.right:g}" y1="{bottom:g}" y2="{bottom:g}"/>')
    parts.append(f'<text x="{frame.right:g}" y="{bottom + 34:g}" text-anchor="end">{text(label)}</text>')
    return parts


def text(said: str) -> str:
    """What stands in a chart, escaped."""
    return escape(printable(said))
