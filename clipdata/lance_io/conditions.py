"""Conditions: where every filter of every verb is read, before Lance is asked.

What says the same in another dialect of SQL and something else here is refused, `@name` becomes the rows that it means
(`selected_rows.py`), and what Lance does not understand is explained. It knows no verb.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from clipdata.arguments import check_condition
from clipdata.column_names import is_readable, quoted
from clipdata.errors import SchemaError, UsageError
from clipdata.lance_io.cased_names import check_cased
from clipdata.lance_io.faults import NotUnderstoodError, translated
from clipdata.lance_io.misread import told_of
from clipdata.lance_io.other_sql import (
    compared_with_null,
    instead_of,
    prefixed_text,
    taken_as_text,
    with_functions_named,
    without_texts,
)
from clipdata.lance_io.selected_rows import Meant, names_in, spelled, with_names_as, without_names

if TYPE_CHECKING:
    import pyarrow as pa

    from clipdata.lance_io.table import Table

_TEXT_OR_NAME = re.compile(r"'(?:[^']|'')*'|`[^`]*`|\"(?P<doubled>[^\"]*)\"")
_OPEN = re.compile(r"\?|\$\w+")  # of a statement whose values come later


@contextmanager
def asked(
    table: Table, where: str | None, doing: str, *, said: Sequence[str] = (), plain: str | None = None
) -> Iterator[str | None]:
    """A condition as Lance takes it, for as long as it is asked; its errors come out in clipdata's words.

    Args:
        where: as a person wrote it; None for all rows.
        doing: what is done, as in "reading".
        said: more words of the person's.
        plain: the same condition with something else in place of its names.

    Raises:
        UsageError: it is no condition, or draws anew.
        SchemaError: it names a column that is not there, or Lance does not understand it.
        NotFoundError: it says an `@name` that nobody gave.
    """
    check_condition(where)
    plain = read_condition(table, where if plain is None else plain)
    with explained(table, where), translated(table.uri, doing, said=[plain, where, *said]):
        yield plain


@contextmanager
def explained(table: Table, where: str | None) -> Iterator[None]:
    """Say what is wrong with a condition that Lance does not understand, or cannot answer of a row that it comes to.

    Args:
        where: as a person wrote it; None for all rows, of which nothing is said here.

    Raises:
        SchemaError: what, and what to type instead.
    """
    try:
        yield
    except NotUnderstoodError as error:
        if where is None:
            raise
        told = told_of(_of_names(table, where, error), [name for name in table.schema.names if is_readable(name)])
        hint = instead_of(where, table.schema.names) or told.hint
        raise SchemaError(f"where is {where!r:.80}; {_named(told.what, where)}", hint=hint) from error


def _of_names(table: Table, where: str, error: BaseException) -> BaseException:
    """What Lance says of the condition where a short term stands for each `@name`, and not the keys of its rows."""
    if not (names := names_in(where)):
        return error
    short = with_names_as(where, {name: f"(1 = {-place})" for place, name in enumerate(names, 1)})
    try:
        with translated(table.uri, "reading", said=[short]):
            table.dataset.scanner(columns=[], with_row_id=True, filter=f"({short}\n)", limit=1).to_table()
    except NotUnderstoodError as found:
        return found
    return error


def _named(text: str, where: str) -> str:
    """A text with each `@name` again in place of the term that stood for it."""
    for place, name in enumerate(names_in(where), 1):
        text = re.sub(rf"\(?1 = -{place}\)?", f"@{name}", text)
    return text


def read_condition(table: Table, where: str | None, meant: Mapping[str, Meant] | None = None) -> str | None:
    """A condition without names of selected rows, held to what means the same to everybody; see `asked`.

    Args:
        meant: what its names mean; looked up where it is not given.
    """
    check_condition(where)
    if where is None:
        return None
    _check_quotes(where, table.schema)
    check_cased(without_texts(where), table.schema.names)
    if instead := compared_with_null(where):
        raise UsageError(f"where is {where!r:.80}; nothing equals null, and nothing differs from it", hint=instead)
    if prefix := prefixed_text(where):
        raise UsageError(f"where is {where!r:.80}; {prefix} stands before a text", hint="write the text alone: 'test'")
    if taken := taken_as_text(where, table.schema):
        raise SchemaError(f"where is {where!r:.80}; {taken[0]}", hint=taken[1])
    if found := _OPEN.search(without_texts(where)):
        raise UsageError(
            f"where is {where!r:.80}; {found[0]} stands for a value that nothing gives", hint="write the value itself"
        )
    # In brackets, for what comes behind a whole condition Lance passes over: score > 0.5 split = 'test'.
    asked = with_functions_named(where)
    return f"({without_names(table, asked) if meant is None else spelled(asked, meant)}\n)"


def _check_quotes(where: str, schema: pa.Schema) -> None:
    """Refuse a column in double quotes, which Lance takes for a text: `"split" = 'test'` would find nothing."""
    names = {name.casefold(): name for name in schema.names if is_readable(name)}
    for found in _TEXT_OR_NAME.finditer(where):
        name = names.get((found["doubled"] or "").casefold())
        if name is not None:
            raise SchemaError(
                f'the condition holds "{name}", which is a text in a condition, and not the column',
                hint=f"write {quoted(name)} for the column, or '{name}' for the text",
            )
