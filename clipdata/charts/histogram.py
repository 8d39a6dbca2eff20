"""Histograms: how values are distributed, before and after over each other; and a small one for a line of a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from clipdata.charts.axes import NARROW, NARROW_SIZE, Frame, Scale, drawn, opened, scale, text, ticks, x_axis, y_axis

_SMALL_WIDTH, _SMALL_HEIGHT = 120.0, 24.0


@dataclass(frozen=True)
class Bars:
    """The numbers of one side.

    Args:
        name: of the side, as its CSS class too: "before" is filled, "after" is drawn over it as a line.
        counts: in each bin.
    """

    name: str
    counts: Sequence[int]


def histogram(edges: Sequence[float], sides: Sequence[Bars], *, x_label: str, label: str) -> Markup:
    """Sides over each other, each as shares of its own total.

    Args:
        edges: of the bins, ascending; one more than there are bins.
        sides: at least one; each with a count a bin.
        x_label: what the numbers are.
        label: the chart in words, for who does not see it.
    """
    shares = [[count / max(sum(side.counts), 1) for count in side.counts] for side in sides]
    y_ticks = ticks([0.0, max((share for found in shares for share in found), default=0.0) or 1.0], 4)
    at_x, at_y = scale(edges[0], edges[-1], NARROW.left, NARROW.right), scale(0, y_ticks[-1], NARROW.bottom, NARROW.top)
    marks = [x for x in ticks([edges[0], edges[-1]], 5) if edges[0] - 1e-9 <= x <= edges[-1] + 1e-9]
    parts = y_axis(NARROW, y_ticks, at_y, as_percent=y_ticks[-1] - y_ticks[0] > 0.02)
    for side, found in zip(sides, shares, strict=True):
        parts.append(f'<path class="{text(side.name)}" d="{_outline(edges, found, at_x, at_y, NARROW)}"/>')
    parts += x_axis(NARROW, marks, at_x, x_label)
    return drawn(opened(*NARROW_SIZE, label), *parts, "</svg>")


def small_histogram(counts: Sequence[int], label: str) -> Markup:
    """A histogram for a line of a table: a bar a bin, and at least a stroke where there is a single number."""
    most, width = max(counts, default=0) or 1, _SMALL_WIDTH / max(len(counts), 1)
    bars = "".join(
        f'<rect class="bin" x="{number * width:.1f}" y="{_SMALL_HEIGHT - height:.1f}" '
        f'width="{max(width - 1.0, 0.5):.1f}" height="{height:.1f}"/>'
        for number, count in enumerate(counts)
        if count and (height := max(1.5, count / most * (_SMALL_HEIGHT - 2)))
    )
    base = f'<line class="base" x1="0" x2="{_SMALL_WIDTH:g}" y1="{_SMALL_HEIGHT:g}" y2="{_SMALL_HEIGHT:g}"/>'
    return drawn(opened(_SMALL_WIDTH, _SMALL_HEIGHT, label, "small"), base, bars, "</svg>")


def _outline(edges: Sequence[float], shares: Sequence[float], at_x: Scale, at_y: Scale, frame: Frame) -> str:
    """Steps from bin to bin, down to the axis at both ends."""
    corners = [f"M{at_x(edges[0]):.1f},{frame.bottom:g}"]
    for low, high, share in zip(edges, edges[1:], shares, strict=False):
        corners.append(f"L{at_x(low):.1f},{at_y(share):.1f} L{at_x(high):.1f},{at_y(share):.1f}")
    return " ".join([*corners, f"L{at_x(edges[-1]):.1f},{frame.bottom:g} Z"])
