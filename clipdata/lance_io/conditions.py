"""Conditions: where every filter of every verb is read, before Lance is asked.

What says the same in another dialect of SQL and something else here is refused, `@name` becomes the rows that it means
(`selected_rows.py`), and what Lance does not understand is explained. It knows no verb.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from clipdata.arguments import check_condition
from clipdata.column_names import is_readable, quoted
from clipdata.errors import SchemaError
from clipdata.lance_io.faults import translated
from clipdata.lance_io.selected_rows import without_names

if TYPE_CHECKING:
    import pyarrow as pa

    from clipdata.lance_io.table import Table

_TEXT_OR_NAME = re.compile(r"'(?:[^']|'')*'|`[^`]*`|\"(?P<doubled>[^\"]*)\"")
_TYPE_WANTED = re.compile(r"literal of type '(?P<type>[A-Za-z]+)\d*(?P<rest>\([^']*\))?'")
_LITERALS = {
    "Timestamp": "a time is written timestamp '2026-01-31 12:00:00'",
    "Date": "a date is written date '2026-01-31'",
    "Time": "a time of day is compared as a number: arrow_cast(COLUMN, 'Int64') >= …, in the column's own unit",
    "Decimal": "a decimal is written cast(1.5 as decimal{rest})",
    "Duration": "a duration is compared as a number: cast(COLUMN as bigint) >= …, in the column's own unit",
}


@contextmanager
def asked(table: Table, where: str | None, doing: str) -> Iterator[str | None]:
    """A condition as Lance takes it, for as long as it is asked; its errors come out in clipdata's words.

    Args:
        where: as a person wrote it; None for all rows.
        doing: what is done, as in "reading".

    Raises:
        UsageError: it is no condition, or draws anew.
        SchemaError: it names a column that is not there, or Lance does not understand it.
        NotFoundError: it says an `@name` that nobody gave.
    """
    plain = read_condition(table, where)
    try:
        with translated(table.uri, doing, said=[plain, where]):
            yield plain
    except SchemaError as error:
        if where is not None and error.hint is None:
            error.hint = _explained(error.message)
        raise


def read_condition(table: Table, where: str | None) -> str | None:
    """A condition without names of selected rows, held to what means the same to everybody; see `asked`."""
    check_condition(where)
    if where is None:
        return None
    _check_quotes(where, table.schema)
    return without_names(table, where)


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


def _explained(message: str) -> str | None:
    """What to type for a value of a type that Lance found something else in place of."""
    wanted = _TYPE_WANTED.search(message)
    literal = _LITERALS.get(wanted["type"]) if wanted else None
    return literal.format(rest=wanted["rest"] or "(10, 2)") if literal and wanted else None
