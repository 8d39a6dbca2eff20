"""Wording: numbers and changes as they stand in text. Knows changes; nothing of what they are of."""

from __future__ import annotations

import math

from clipdata.comparison.changes import Change

_MOST_DECIMALS = 9


def change_head(title: str, width: int = 13) -> str:
    """The line over lines of changes."""
    return f"  {title:<{width}} {'before':>9} {'after':>9} {'change':>11}   95 % interval"


def change_line(name: str, change: Change, *, percent: bool = False, width: int = 13) -> str:
    """A figure before and after, and its change with the interval."""
    decimals = decimals_for(change.standard_error)
    before, after = (f"{x:.1%}" if percent else number(x, decimals) for x in (change.before, change.after))
    moved = signed(change.difference, decimals, percent=percent)
    return f"  {name:<{width}} {before:>9} {after:>9} {moved:>11}   {interval(change, percent=percent)}".rstrip()


def interval(change: Change, *, percent: bool = False) -> str:
    """The interval of a change and the verdict, or the verdict alone."""
    if change.low is None or change.high is None:
        return change.verdict
    decimals = decimals_for(change.standard_error)
    low, high = (signed(end, decimals, percent=percent) for end in (change.low, change.high))
    return f"{low} … {high}  {change.verdict}"


def signed(x: float, decimals: int = 3, *, percent: bool = False) -> str:
    """A difference; `percent` says that of shares in points."""
    if percent:
        return f"{100.0 * x:+.1f} pts"
    return f"{x:+.4g}" if _out_of_scale(x, decimals) else f"{x:+,.{decimals}f}"


def number(x: float, decimals: int = 3) -> str:
    """A figure."""
    return f"{x:.4g}" if _out_of_scale(x, decimals) else f"{x:,.{decimals}f}"


def _out_of_scale(x: float, decimals: int) -> bool:
    """Whether a number has too many digits before the point, or none that counts after it."""
    return abs(x) >= 1e12 or (decimals >= _MOST_DECIMALS and 0.0 < abs(x) < 1e-6)


def decimals_for(error: float | None) -> int:
    """Digits after the point that an error of this size lets one believe, at least three for probabilities."""
    return 3 if not error else min(_MOST_DECIMALS, max(3, 1 - math.floor(math.log10(error))))


def chance(value: float | None) -> str:
    """A p-value; nothing where there is none."""
    return "" if value is None else "<0.001" if value < 0.001 else f"{value:.3f}"


def aligned(cells: list[list[str]]) -> list[str]:
    """Lines of cells: the first column to the left, figures to the right, what is said of them to the left."""
    widths = [max(len(line[place]) for line in cells) for place in range(len(cells[0]))]
    is_word = [not any(character.isdigit() for line in cells[1:] for character in line[n]) for n in range(len(widths))]
    lined = [
        "  ".join(
            cell.ljust(width) if place == 0 or is_word[place] else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in cells
    ]
    return [f"  {line.rstrip()}" for line in lined]
