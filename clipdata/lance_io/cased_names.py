"""Cased names: which column a word of SQL means where columns are called in capitals, or differ in case alone.

A condition's word is the column of its very case, or else one of another case; a SELECT's word is made small, and then
no column is called `Score`. Here both are one: the very case first, else the only column that differs in case alone. It
knows words, and no table.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from clipdata.column_names import column_meant, is_readable
from clipdata.lance_io.select_statement import Token, tokens_of

_WORD = re.compile(r"(?<![\w.@])[^\W\d]\w*(?!\w|\s*\()")
# Words that SQL reads as its own; a column that is called like one in capitals and small letters is the column: Date.
_OWN = frozenset(
    """
    all and any as asc at between both by case cast collate cross cube current desc distinct else end escape
    except exists extract false fetch filter first following for from full group grouping having ilike in
    inner intersect interval is join last lateral leading left like limit natural next not null nulls offset
    on only or order outer over partition position preceding qualify range recursive right rollup row rows
    select semi sets similar some then ties to trailing trim true try_cast unbounded union unnest using values
    when where window with within zone year month day hour minute second date time timestamp bigint boolean
    double float int integer smallint string text tinyint varchar
    """.split()  # noqa: SIM905 - a list would be a hundred lines
)


def check_cased(words: str, columns: Sequence[str]) -> None:
    """Refuse a word of a condition that stands for several columns, none of which has its very case.

    Args:
        words: the condition without its texts and quoted names.

    Raises:
        SchemaError: it names them.
    """
    if len({name.casefold() for name in columns}) == len(columns):
        return
    for found in _WORD.finditer(words):
        if found[0].casefold() not in _OWN:
            column_meant(found[0], columns)


def with_columns_quoted(sql: str, columns: Sequence[str]) -> str:
    """A SELECT with each word that means a column in capitals in quotes, so that it is not made small.

    Names that the statement gives itself, as in `max(Score) AS score`, stay what they are, unless they are a column's
    very name.

    Raises:
        SchemaError: a word stands for several columns, none of which has its very case.
        UsageError: it cannot be told how a part of the statement is read.
    """
    names = [name for name in columns if is_readable(name) and '"' not in name]
    if all(name == name.lower() for name in names):
        return sql
    tokens = list(tokens_of(sql))
    given = {after.text.casefold() for one, after in pairwise(tokens) if _is_as(one)}  # and WITH name AS (
    given |= {one.text.casefold() for one, after, then in zip(tokens, tokens[1:], tokens[2:], strict=False)
              if _is_as(after) and then.text == "("}  # fmt: skip
    parts, done = [], 0
    for place, token in enumerate(tokens):
        column = _column(tokens, place, names, given)
        if column is not None:
            parts += [sql[done : token.start], f'"{column}"']
            done = token.start + len(token.text)
    return "".join([*parts, sql[done:]])


def _is_as(token: Token) -> bool:
    return token.kind == "word" and token.text.upper() == "AS"


def _column(tokens: Sequence[Token], place: int, names: Sequence[str], given: set[str]) -> str | None:
    """The column that a word means and that is not found by the word in small letters; None of any other token."""
    kind, text, _ = tokens[place]
    before = tokens[place - 1] if place else Token("sign", "", 0)
    after = tokens[place + 1] if place + 1 < len(tokens) else Token("sign", "", 0)
    if kind != "word" or after.text == "(" or after.kind == "text" or before.kind == "text":
        return None
    is_column = text in names  # in its very case, also where the statement gives that name: max(Score) AS Score
    is_own = text.casefold() in _OWN and not (is_column and text not in (text.lower(), text.upper()))
    if before.text in ("@", ":") or text.casefold() == "dataset" or is_own:
        return None
    if _is_as(before) and (not is_column or text.casefold() in _OWN):
        return None
    if not is_column and text.casefold() in given:
        return None
    if before.text == "." and place > 1 and _is_one(tokens[place - 2].text, names):
        return None  # a field of a column
    column = column_meant(text, names)
    return column if column in names and column != text.lower() else None


def _is_one(text: str, names: Sequence[str]) -> bool:
    return text.strip('"`').casefold() in {name.casefold() for name in names}
