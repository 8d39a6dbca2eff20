"""A comparison as a notebook shows it: the figures of `text`, as tables. Knows the record; nothing of tables."""

from __future__ import annotations

from html import escape
from typing import Any

from clipdata.comparison.records import Change, Compared, Row
from clipdata.comparison.text import header
from clipdata.notebook import html_table

_MAX_GROUPS = 12


def render(comparison: Compared) -> str:
    """The whole comparison as HTML; everything that came from a table is escaped."""
    figures = [_figures("mean", comparison.mean)]
    if comparison.accuracy:
        figures.append(_figures("right", comparison.accuracy.change))
    title, *lines = header(comparison)
    blocks = [html_table(figures, title=title)]
    blocks.append("".join(f"<div>{escape(line)}</div>" for line in lines))
    if comparison.groups:
        groups = [
            _figures("(none)" if group.value is None else group.value, group.mean)
            for group in comparison.groups[:_MAX_GROUPS]
        ]
        hidden = len(comparison.groups) - len(groups) + comparison.num_groups_left_out
        blocks.append(html_table(groups, title=f"by {comparison.by}" + (f", and {hidden:,} more" if hidden else "")))
    for word, rows in (("lost most", comparison.worst), ("gained most", comparison.best)):
        if rows:
            blocks.append(html_table((_row(row) for row in rows), title=word))
    blocks.append("".join(f"<div>note: {escape(note)}</div>" for note in comparison.notes))
    return "".join(blocks)


def _figures(name: str, change: Change) -> dict[str, Any]:
    interval = "" if change.low is None or change.high is None else f"{change.low:+.3g} … {change.high:+.3g}"
    return {
        "": name,
        "rows": f"{change.num_rows:,}",
        "before": change.before,
        "after": change.after,
        "change": f"{change.difference:+.3g}",
        "95 % interval": interval,
        "verdict": change.verdict,
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "change": f"{row.difference:+.3g}",
        "before": row.before,
        "after": row.after,
        "where": row.where,
        "shown": ", ".join(row.shown.values()),
    }
