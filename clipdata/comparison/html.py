"""A comparison as a notebook shows it: the figures of `text`, as tables. Knows the record; nothing of tables."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from clipdata.charts import interval_bar, interval_scale, style
from clipdata.comparison import sections
from clipdata.comparison.changes import Change
from clipdata.comparison.records import Compared, Group, Row
from clipdata.comparison.text import header
from clipdata.notebook import html_table

_MAX_GROUPS = 12


def render(comparison: Compared, pictures: Mapping[str, Any] | None = None) -> str:
    """The whole comparison as HTML; everything that came from a table is escaped.

    Args:
        pictures: markup of the pictures of rows, by their keys.
    """
    figures = [_figures("mean", comparison.mean)]
    if comparison.accuracy:
        figures.append(_figures("right", comparison.accuracy.change))
    title, *lines = header(comparison)
    lines += [f"{margin.figure}: {margin.verdict}" for margin in comparison.margins]
    blocks = [f"<style>{style()}</style>", html_table(figures, title=title)]
    blocks.append("".join(f"<div>{escape(line)}</div>" for line in lines))
    blocks += [_more(comparison)]
    if comparison.groups:
        shown = comparison.groups[:_MAX_GROUPS]
        means = [group.mean for group in shown]
        ends = interval_scale(end for mean in means for end in (mean.low, mean.difference, mean.high))
        groups = [_group(group, ends) for group in shown]
        hidden = len(comparison.groups) - len(groups) + comparison.num_groups_left_out
        blocks.append(html_table(groups, title=f"by {comparison.by}" + (f", and {hidden:,} more" if hidden else "")))
    for word, rows in (("lost most", comparison.worst), ("gained most", comparison.best)):
        if rows:
            blocks.append(html_table((_row(row, pictures or {}) for row in rows), title=word))
    blocks.append("".join(f"<div>note: {escape(note)}</div>" for note in comparison.notes))
    return "".join(blocks)


def _more(comparison: Compared) -> str:
    """Ranks and probabilities: the changes as tables, and what is said beside them."""
    found, ranks, blocks = comparison.probabilities, comparison.ranks, []
    if ranks:
        recalls = [_figures(f"R@{k}", change) for k, change in ranks.recall.items()]
        others = [_figures("MRR", ranks.reciprocal), _figures("median rank", ranks.median)]
        blocks.append(html_table([*recalls, *others], title="ranks"))
    if found:
        named = {"log loss": found.log_loss, "Brier score": found.brier, "calibration": found.calibration_error}
        blocks.append(html_table([_figures(*one) for one in named.items()], title="probabilities"))
        blocks += [f"<div>{escape(line)}</div>" for line in sections.said_of(found)]
    return "".join(blocks)


def _group(group: Group, ends: tuple[float, float]) -> dict[str, Any]:
    name = "(none)" if group.value is None else group.value
    told = {"Holm": group.p_value, "BH": group.q_value}
    return {**_figures(name, group.mean, ends), **{word: "" if p is None else f"{p:.3g}" for word, p in told.items()}}


def _figures(name: str, change: Change, ends: tuple[float, float] | None = None) -> dict[str, Any]:
    interval = "" if change.low is None or change.high is None else f"{change.low:+.3g} … {change.high:+.3g}"
    return {
        "": name,
        "rows": f"{change.num_rows:,}",
        "before": change.before,
        "after": change.after,
        "change": f"{change.difference:+.3g}",
        "95 % interval": interval,
        " ": interval_bar(
            change.difference,
            change.low,
            change.high,
            ends=ends or interval_scale((change.low, change.difference, change.high)),
            verdict=change.verdict,
            label=f"{name}: {change.difference:+.3g} ({interval})" if interval else f"{name}: {change.difference:+.3g}",
        ),
        "verdict": change.verdict,
    }


def _row(row: Row, pictures: Mapping[str, Any]) -> dict[str, Any]:
    picture = {"picture": pictures.get(row.key, "")} if pictures else {}
    return picture | {
        "change": f"{row.difference:+.3g}",
        "before": row.before,
        "after": row.after,
        "where": row.where,
        "shown": ", ".join(row.shown.values()),
    }
