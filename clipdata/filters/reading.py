"""Reading: filters from the text that a person types, the way they are written in Python.

    laion-400m                              a recipe with its own columns
    datacomp_clip_score(share=0.2)          a recipe with others
    top_share(clip_score, 0.3)              a threshold; names need no quotes
    quality.sharpness >= 100                     anything else is an SQL condition

It knows what filters there are, and nothing of tables.
"""

from __future__ import annotations

import ast
import difflib
import inspect
import re
from collections.abc import Callable
from typing import Any

from clipdata.errors import UsageError
from clipdata.filters.recipes import RECIPES
from clipdata.filters.records import Filter
from clipdata.filters.thresholds import at_least, at_most, top_share
from clipdata.lance_io.table import AnyTable

_THRESHOLDS: dict[str, Callable[..., Filter]] = {
    "at_least": at_least,
    "at_most": at_most,
    "top_share": top_share,
}
_NAME = re.compile(r"\s*([A-Za-z][\w-]*)\s*(\(.*\))?\s*", re.DOTALL)
_LIKE_ENOUGH = 0.75


def read_filters(table: AnyTable, text: str, *, where: str | None = None) -> tuple[Filter, ...]:
    """The filters that a text names: a recipe gives several, a condition or a threshold one.

    Args:
        table: that is filtered, or where it is.
        text: as typed.
        where: SQL condition of the rows that a share is one of, where the text does not say.

    Raises:
        UsageError: it is blank, nearly the name of a recipe, or a filter's arguments are not such.
        SchemaError: the table lacks a column that the filter needs.
    """
    if not isinstance(text, str) or not text.strip():
        raise UsageError(f"a filter is {text!r:.80}; expected a condition, or one of {', '.join(_known())}")
    found = _NAME.fullmatch(text)
    name = found.group(1) if found else ""
    make = RECIPES.get(name.replace("_", "-")) or _THRESHOLDS.get(name.replace("-", "_"))
    if found is None or make is None:
        _hold_spelling(name, text)
        return (Filter(text.strip(), text.strip()),)
    arguments, named = _arguments(found.group(2), text)
    try:
        inspect.signature(make).bind(table, *arguments, **named)
    except TypeError as error:
        takes = ", ".join(list(inspect.signature(make).parameters)[1:])
        raise UsageError(f"filter {text.strip()!r}: {error}", hint=f"{name} takes {takes}") from error
    asked = {"where": where} if "where" in inspect.signature(make).parameters else {}
    made = make(table, *arguments, **{**asked, **named})
    return (made,) if isinstance(made, Filter) else tuple(made)


def _known() -> list[str]:
    return [*RECIPES, *_THRESHOLDS]


def _hold_spelling(name: str, text: str) -> None:
    """Refuse a lone word that is nearly a recipe; a lone word may also be a column of yes and no.

    Raises:
        UsageError: it is.
    """
    near = difflib.get_close_matches(name.replace("_", "-"), RECIPES, n=1, cutoff=_LIKE_ENOUGH)
    if name and near and name == text.strip():
        raise UsageError(f"there is no filter {name!r}; did you mean {near[0]}?", hint=f"known: {', '.join(_known())}")


def _arguments(call: str | None, text: str) -> tuple[list[Any], dict[str, Any]]:
    """What stands in the brackets.

    Raises:
        UsageError: it cannot be read.
    """
    if call is None:
        return [], {}
    try:
        tree = ast.parse(f"_{call}", mode="eval").body
        if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name):
            raise ValueError("more than one pair of brackets")
        named = {entry.arg: _value(entry.value) for entry in tree.keywords if entry.arg is not None}
        return [_value(entry) for entry in tree.args], named
    except (SyntaxError, ValueError) as error:
        raise UsageError(
            f"filter {text.strip()!r} cannot be read: {error}", hint="such as: top_share(clip_score, 0.3)"
        ) from error


def _value(node: ast.expr) -> Any:
    """A literal; a name, dotted or not, stands for itself as text."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_value(node.value)}.{node.attr}"
    return ast.literal_eval(node)
