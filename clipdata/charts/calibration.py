"""Calibration: of the answers that a model was so sure of, how many were right; the reliability curve of both sides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from clipdata.charts.axes import Frame, drawn, opened, scale, text, x_axis, y_axis

_FRAME = Frame(left=44.0, right=304.0, top=10.0, bottom=270.0)
_SIZE = (320, 308)
_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
_SMALLEST, _LARGEST = 2.5, 6.0


def calibration_chart(sides: Mapping[str, Sequence[tuple[int, float, float]]], *, label: str) -> Markup:
    """Confidence across, share of right answers up; on the diagonal what was said came true.

    Args:
        sides: name ("before", "after"), its CSS class too → bins of (rows, confidence, accuracy), by confidence.
        label: the chart in words, for who does not see it.
    """
    at_x, at_y = scale(0, 1, _FRAME.left, _FRAME.right), scale(0, 1, _FRAME.bottom, _FRAME.top)
    parts = y_axis(_FRAME, _TICKS, at_y, as_percent=True) + x_axis(_FRAME, _TICKS, at_x, "said: confidence")
    parts.append(f'<line class="even" x1="{at_x(0):.1f}" x2="{at_x(1):.1f}" y1="{at_y(0):.1f}" y2="{at_y(1):.1f}"/>')
    most = max((rows for bins in sides.values() for rows, _, _ in bins), default=1)
    for name, bins in sides.items():
        path = " ".join(f"{at_x(said):.1f},{at_y(true):.1f}" for _, said, true in bins)
        parts.append(f'<polyline class="{text(name)}" points="{path}"/>')
        for rows, said, true in bins:
            size = _SMALLEST + (_LARGEST - _SMALLEST) * (rows / most) ** 0.5
            parts.append(f'<circle class="{text(name)}" cx="{at_x(said):.1f}" cy="{at_y(true):.1f}" r="{size:.1f}"/>')
    return drawn(opened(*_SIZE, label), *parts, "</svg>")
