"""Rendering: templates in which every text is escaped, shown as it is read, and cut where it is endless.

A text from a table cannot become markup, cannot turn the line around it (a right-to-left override is spelled out), and
cannot fill the page. This module knows templates, and nothing of what they show.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from clipdata.charts import style as chart_style
from clipdata.printable import printable

if TYPE_CHECKING:
    from jinja2 import Environment

MOST_CHARS = 600
"""Of a text that the page shows whole."""
_MOST_OF_LINES = 40_000
_FOLDER = Path(__file__).parent / "templates"


def rendered(template: str, /, **values: Any) -> Markup:
    """A template with these values."""
    return Markup(environment().get_template(template).render(**values))  # noqa: S704 - the environment escapes


@cache
def environment() -> Environment:
    """Where templates are found and how texts come into them."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["lines"] = lines
    return made


@cache
def page_style() -> Markup:
    """CSS of pages: letters of every script, light, dark and print, cards, tables and charts."""
    return Markup(chart_style() + (_FOLDER / "page.css").read_text(encoding="utf-8"))  # noqa: S704 - files of ours


def shown(value: Any) -> Any:
    """What a template writes for a value: markup as it is, any other text printable and of a bounded length."""
    return cut(printable(value, keep="\n")) if isinstance(value, str) and not isinstance(value, Markup) else value


def lines(text: str) -> Markup:
    """Lines that are to be copied or read as they stand, such as a command: cut far later than a value is."""
    return escape(cut(printable(text, keep="\n"), _MOST_OF_LINES))


def cut(text: str, most: int = MOST_CHARS) -> str:
    """At most so many letters, the last of them telling that there are more."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
