"""Bodies: what a page may send with each edit, field by field, and what it is told of anything else.

One table says it for all. It knows kinds of JSON values, and neither rows nor columns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from clipdata.errors import UsageError
from clipdata.json_values import is_text
from clipdata.plurals import counted

_MOST_LETTERS = 1_000
_MOST_WHOLE = 2**53
"""Up to which every reader of JSON holds whole numbers."""


@dataclass(frozen=True)
class Field:
    """What a field holds.

    Args:
        words: for it.
        fits: whether a value is such a one.
        parts: of an object.
        needed: whether it has to be there; null stands for one that is not.
    """

    words: str
    fits: Callable[[Any], bool]
    parts: Mapping[str, Field] | None = None
    needed: bool = True


def _is_number(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return _is_whole(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _MOST_WHOLE


def _is_short(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _MOST_LETTERS and is_text(value)


def _maybe(field: Field) -> Field:
    return replace(field, needed=False)


TEXT = Field(f"a text of at most {counted(_MOST_LETTERS, 'letter')}", _is_short)
WHOLE = Field(f"a whole number of at most {_MOST_WHOLE:,}", _is_whole)
NUMBER = Field("a number", _is_number)
TRUTH = Field("true or false", lambda value: isinstance(value, bool))
ROWS = Field("a list of rows' positions", lambda value: isinstance(value, list) and all(map(_is_whole, value)))
GROUPS = Field(
    "an object", lambda value: isinstance(value, dict), {"column": TEXT, "score": _maybe(TEXT), "least": _maybe(NUMBER)}
)
CHOSEN = {"rows": _maybe(ROWS), "groups": _maybe(GROUPS), "all": _maybe(TRUTH)}
BODIES: dict[str, dict[str, Field]] = {
    "tag": {"name": TEXT},
    "decide": {**CHOSEN, "column": TEXT, "value": TEXT, "page": _maybe(TEXT)},
    "settle": {"column": TEXT, "over": TRUTH, "page": _maybe(TEXT)},
    "keep": {**CHOSEN, "name": TEXT, "overwrite": _maybe(TRUTH)},
    "forget": {"name": TEXT},
    "delete": {**CHOSEN, "confirmed": WHOLE},
    "places": {"rows": ROWS, "to": _maybe(TEXT)},
}
"""Fields of each edit, by its name."""


def checked(edit: str, body: Any) -> dict[str, Any]:
    """What a page sent, held to the fields of an edit.

    Args:
        edit: one of `BODIES`.
        body: a JSON value of any kind.

    Returns:
        its fields, without those that are null.

    Raises:
        UsageError: names the first field that is wrong, missing or not known, and what was expected.
    """
    given = _fields(edit, Field("an object", lambda value: isinstance(value, dict), BODIES[edit]), body)
    meant = [name for name in CHOSEN if given.get(name) not in (None, False)]
    if BODIES[edit].keys() >= CHOSEN.keys() and len(meant) != 1:
        what = f"{' and '.join(meant)} are given" if meant else "no row is chosen"
        raise UsageError(f"{edit}: {what}; expected one of {', '.join(CHOSEN)}")
    return given


def _fields(place: str, field: Field, value: Any) -> Any:
    """A value, if it is what a field holds."""
    if not field.fits(value):
        parts = f" with {', '.join(field.parts)}" if field.parts else ""
        raise UsageError(f"{place} is {_kind_of(value)}; expected {field.words}{parts}")
    if field.parts is None:
        return value
    given = {name: one for name, one in value.items() if one is not None}
    for name in given.keys() - field.parts.keys():
        raise UsageError(f"{place} has no field {name!r:.60}; expected {', '.join(field.parts)}")
    for name, part in field.parts.items():
        if part.needed and name not in given:
            raise UsageError(f"{place}: {name} is missing; expected {part.words}")
    return {name: _fields(f"{place}: {name}", field.parts[name], one) for name, one in given.items()}


def _kind_of(value: Any) -> str:
    """A JSON value in words; one that may be long is not quoted."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return f"{value!r}" if _is_number(value) else "a number that is not finite, or too large"
    if isinstance(value, str):
        return f"a text of {counted(len(value), 'letter')}" if is_text(value) else "a text with half a letter"
    return f"a list of {counted(len(value), 'value')}" if isinstance(value, list) else "an object"
