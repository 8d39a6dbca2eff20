"""Intervals: a change with its two ends on a scale that all lines of a table share; and a bar for a count."""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup

from clipdata.charts.axes import drawn, opened, scale

_WIDTH, _HEIGHT, _MARGIN = 200.0, 20.0, 6.0


def interval_scale(numbers: Iterable[float | None]) -> tuple[float, float]:
    """The ends of a scale on which all these numbers and zero can be shown."""
    known = [0.0, *(number for number in numbers if number is not None)]
    low, high = min(known), max(known)
    return (low, high) if low < high else (-1.0, 1.0)


def interval_bar(
    difference: float, low: float | None, high: float | None, *, ends: tuple[float, float], verdict: str, label: str
) -> Markup:
    """A point at a difference, a line over its interval, and a dotted line at zero; as wide as the page makes it.

    Args:
        difference: the point.
        low, high: of the interval; None where there is none.
        ends: of the scale; see `interval_scale`.
        verdict: "better" and "worse" have a colour, whatever else has that of "unclear".
        label: the figures in words, for who does not see them.
    """
    at_x = scale(*ends, _MARGIN, _WIDTH - _MARGIN)
    kind, middle = verdict if verdict in ("better", "worse") else "unclear", _HEIGHT / 2
    zero = f'<line class="zero" x1="{at_x(0.0):.1f}" x2="{at_x(0.0):.1f}" y1="0" y2="{_HEIGHT:g}"/>'
    span = ""
    if low is not None and high is not None:
        span = f'<line class="span {kind}" x1="{at_x(low):.1f}" x2="{at_x(high):.1f}" y1="{middle:g}" y2="{middle:g}"/>'
    place = at_x(difference)  # a line of no length with round ends stays round however the picture is stretched
    point = f'<line class="end {kind}" x1="{place:.1f}" x2="{place:.1f}" y1="{middle:g}" y2="{middle:g}"/>'
    begun = opened(_WIDTH, _HEIGHT, label, "interval").replace("<svg ", '<svg preserveAspectRatio="none" ', 1)
    return drawn(begun, zero, span, point, "</svg>")


def count_bar(share: float) -> Markup:
    """A bar as long as a share of the longest; the count itself stands beside it, so it is decoration."""
    return drawn(
        f'<svg class="counted" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect width="{100.0 * min(max(share, 0.0), 1.0):.1f}" height="10"/></svg>'
    )
