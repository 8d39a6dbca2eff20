"""What a query may say: one SELECT, or WITH … SELECT, over the table and nothing else.

Lance hands a statement to DataFusion as it is, and DataFusion also writes files (`COPY … TO`), opens any file of the
machine (`CREATE EXTERNAL TABLE`) and changes its own settings. So a statement is taken apart first, into comments,
quoted texts, names and words, and what is not plainly a SELECT is refused. Wherever dialects of SQL read a sign
differently (texts with a prefix, dollar quotes, comments inside comments), it is refused too: nothing may hide from us
what DataFusion then sees. This module knows SQL's signs, and nothing of tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from clipdata.errors import UsageError
from clipdata.printable import printable

_TOKEN = re.compile(
    r"""(?P<blank>\s+ | --[^\n\r]*(?:\r?\n|\Z) | /\*(?!!)(?:(?!/\*)(?!\*/).)*\*/)
    |   (?P<text>'(?:[^']|'')*')
    |   (?P<name>"(?:[^"]|"")*" | `(?:[^`]|``)*`)
    |   (?P<word>[^\W\d]\w*)
    |   (?!--|/\*)(?P<sign>\d\w* | [^\w\s'"`$\\])""",
    re.VERBOSE | re.DOTALL,
)
_BEGINS = {"SELECT", "WITH"}
_WRITES = {"INSERT", "UPDATE", "DELETE", "MERGE"}  # what may stand in the place of a SELECT, after WITH or in brackets
_AFTER_FROM = {
    *("SELECT", "WHERE", "GROUP", "ORDER", "HAVING", "LIMIT", "OFFSET", "FETCH", "UNION", "EXCEPT", "INTERSECT"),
    *("WINDOW", "QUALIFY", "FOR", "VALUES"),
}
_TABLE_WORDS = {"LATERAL", "UNNEST"}  # may stand before brackets where a table is named: neither reads or makes more
_ALLOWED = "expected one SELECT, or WITH … SELECT, over the table, which is called dataset"
_EXAMPLE = "SELECT path, bytes FROM dataset WHERE width > 512 ORDER BY bytes DESC LIMIT 10"


class Token(NamedTuple):
    """A part of a statement.

    Args:
        kind: "text", "name" (in quotes), "word" or "sign".
        text: as it was typed.
        start: where it stands in the statement.
    """

    kind: str
    text: str
    start: int


@dataclass
class _Level:
    """What is known of the brackets that a token stands in."""

    is_query: bool = False
    in_from: bool = False
    table_comes: bool = False
    is_empty: bool = True


def check_select(sql: Any) -> None:
    """Refuse what is not one SELECT over the table.

    Raises:
        UsageError: says what was found instead.
    """
    if not isinstance(sql, str) or not sql.strip():
        raise _refusal(f"{sql!r:.80} is no statement")
    tokens = list(tokens_of(sql))
    while tokens and tokens[-1].text == ";":
        tokens.pop()
    begins = next((one.text for one in tokens if one.text != "("), "nothing")
    if begins.upper() not in _BEGINS:
        raise _refusal(f"the statement begins with {begins!r:.40}")
    levels = [_Level(is_query=True)]
    for place, (kind, text, _) in enumerate(tokens):
        if not levels:
            raise _refusal("a bracket closes that none opened")
        before = [each.text.upper() for each in tokens[max(0, place - 2) : place]]
        after = tokens[place + 1].text if place + 1 < len(tokens) else ""
        if kind == "sign":
            _take_sign(text, levels)
        elif kind == "word":
            _take_word(text.upper(), before, after, levels)
        if kind in ("word", "name"):
            _take_table(text, after, levels)
        if levels and text != "(":
            levels[-1].is_empty = False
    if not levels:
        raise _refusal("a bracket closes that none opened")
    if len(levels) != 1:
        raise _refusal("a bracket is not closed")


def tokens_of(sql: str) -> Iterator[Token]:
    """The tokens of a statement, without blanks and comments.

    Raises:
        UsageError: it cannot be told how a part of it is read.
    """
    place, before = 0, ""
    while place < len(sql):
        found = _TOKEN.match(sql, place)
        if found is None:
            raise _refusal(f"it cannot be told how {sql[place : place + 20]!r} is read")
        kind, text = str(found.lastgroup), found.group()
        if kind == "text" and before in ("word", "sign") and (sql[place - 1].isalnum() or sql[place - 1] == "&"):
            raise _refusal(f"it cannot be told how {sql[place - 1 : place + 20]!r} is read: a text with a prefix")
        if kind != "blank":
            yield Token(kind, text, place)
        place, before = found.end(), kind


def _take_sign(sign: str, levels: list[_Level]) -> None:
    level = levels[-1]
    if sign == ";":
        raise _refusal("there are several statements")
    if sign == "(":
        levels.append(_Level(in_from=level.table_comes, table_comes=level.table_comes))
        level.table_comes = level.is_empty = False
    elif sign == ")":
        levels.pop()
    elif sign == "," and level.in_from:
        level.table_comes = True


def _take_word(word: str, before: list[str], after: str, levels: list[_Level]) -> None:
    level = levels[-1]
    if word == "INTO":
        raise _refusal("INTO writes its rows somewhere")
    if word in _WRITES and before[-1:] in (["("], [")"]) and after not in (")", ",", "."):
        raise _refusal(f"{word} writes")
    if (word in ("SELECT", "FROM") and level.is_empty) or word == "SELECT":
        level.is_query = True
    if word in _AFTER_FROM or (word == "WITH" and level.is_empty):
        level.in_from = level.table_comes = False
    elif (word == "FROM" and level.is_query and not _is_distinct_from(before)) or word == "JOIN":
        level.in_from = level.table_comes = True


def _is_distinct_from(before: list[str]) -> bool:
    return len(before) == 2 and before[0] in ("IS", "NOT") and before[1] == "DISTINCT"


def _take_table(name: str, after: str, levels: list[_Level]) -> None:
    """Refuse a function where a table is named, such as `generate_series(…)`: it makes rows that no table holds."""
    level = levels[-1]
    if not level.table_comes or name.upper() in ("FROM", "JOIN"):
        return
    if after == "(" and name.upper() not in _TABLE_WORDS:
        raise _refusal(f"{name}(…) is not the table")
    level.table_comes = after == "." or name.upper() == "LATERAL"


def _refusal(found: str) -> UsageError:
    return UsageError(f"query: {printable(found)}; {_ALLOWED}", hint=_EXAMPLE)
