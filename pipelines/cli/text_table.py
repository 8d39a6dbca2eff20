"""Rows as text for people: aligned columns that fit the width there is, or a line for every value.

It knows text, and nothing of what the rows mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size

from clipdata.printable import printable

_GAP = 2
_READABLE = 12
_NARROWEST = 6  # columns that cannot have so much are no columns any more


@dataclass(frozen=True)
class Layout:
    """How rows are shown.

    Args:
        width: of a line, in the cells of a terminal.
        full: cut nothing, however long a line gets.
        vertical: a line for every value instead of a row.
    """

    width: int = 80
    full: bool = False
    vertical: bool = False


def lay_out(rows: Sequence[Sequence[str]], header: Sequence[str], layout: Layout) -> str:
    """Rows as text, without a newline at the end; the last column is not padded."""
    shown = [[printable(cell) for cell in line] for line in rows]
    names = [printable(name) for name in header]
    widths = [max(cell_len(line[place]) for line in [names, *shown]) for place in range(len(names))]
    fitted = widths if layout.full else _fit(widths, layout.width)
    if layout.vertical or fitted is None:
        return _vertical(shown, names, layout)
    lines = ("".join(_cell(*one) for one in zip(line, fitted, strict=True)).rstrip() for line in [names, *shown])
    return "\n".join(lines)


def _cell(text: str, width: int) -> str:
    return set_cell_size(_cut(text, width), width) + " " * _GAP


def _cut(text: str, width: int) -> str:
    return text if cell_len(text) <= width else f"{set_cell_size(text, max(width - 1, 0)).rstrip()}…"


def _fit(widths: Sequence[int], available: int) -> list[int] | None:
    """Widths that fit: short columns keep theirs, the longest ones are cut. None where there are too many."""
    room = available - _GAP * (len(widths) - 1)
    if sum(widths) <= room:
        return list(widths)
    for least in (_READABLE, _NARROWEST):
        fitted = [min(width, least) for width in widths]
        left = room - sum(fitted)
        if left < 0:
            continue
        for place in sorted(range(len(widths)), key=lambda place: widths[place]):
            more = min(widths[place] - fitted[place], left)
            fitted[place] += more
            left -= more
        return fitted
    return None


def _vertical(rows: Sequence[Sequence[str]], names: Sequence[str], layout: Layout) -> str:
    widest = max(map(cell_len, names), default=0)
    if not layout.full:
        widest = min(widest, layout.width // 2)
    blocks = []
    for line in rows:
        pairs = zip(names, line, strict=True)
        lines = (f"{set_cell_size(_cut(name, widest), widest)}  {text}".rstrip() for name, text in pairs)
        blocks.append("\n".join(one if layout.full else _cut(one, layout.width) for one in lines))
    return "\n\n".join(blocks)
