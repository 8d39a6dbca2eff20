"""Notebook: small HTML tables, the one way in which Table, Run, Mapped and Comparison show themselves in a notebook.

Everything is escaped: what stands in a table came from strangers. This module knows HTML, and nothing of what it shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from clipdata.plurals import counted
from clipdata.printable import printable

MAX_CELL_CHARS = 120


def html_table(rows: Iterable[Mapping[str, Any]], *, title: str = "", names: Sequence[str] | None = None) -> str:
    """Rows as an HTML table.

    Args:
        rows: column → value; what is markup already, such as a chart or a thumbnail, stays as it is.
        title: a line above, as text.
        names: columns to show, in order; those of the first row by default.
    """
    listed = list(rows)
    shown = list(names) if names is not None else list(listed[0]) if listed else []
    head = "".join(f"<th style='text-align:left'>{escape(printable(name))}</th>" for name in shown)
    body = "".join(
        "<tr>" + "".join(f"<td style='text-align:left'>{_shown(row.get(name))}</td>" for name in shown) + "</tr>"
        for row in listed
    )
    above = f"<div><b>{escape(printable(title))}</b></div>" if title else ""
    return f"{above}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>" if shown else above


def html_facts(facts: Mapping[str, Any], *, title: str = "") -> str:
    """One line a fact, its name beside it."""
    return html_table(({"": name, "value": value} for name, value in facts.items()), title=title)


def _shown(value: Any) -> str:
    return str(value.__html__()) if hasattr(value, "__html__") else escape(_cell(value))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):
        return f"<{counted(len(value), 'byte')}>"
    text = printable(f"{value:.6g}" if isinstance(value, float) else str(value))
    return text if len(text) <= MAX_CELL_CHARS else f"{text[: MAX_CELL_CHARS - 1]}…"
