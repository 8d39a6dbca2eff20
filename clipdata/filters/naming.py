"""Naming: a column, or a field of a struct column, as a condition names it, and the type it has.

It knows Arrow schemas and how Lance reads names, and nothing of thresholds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import pyarrow as pa

from clipdata.column_names import columns_named, quoted
from clipdata.errors import SchemaError, UsageError
from clipdata.lance_io.table import Table
from clipdata.storage import redact

_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")
# Words of SQL that Lance does not take for a column's name unless they are quoted.
_RESERVED = frozenset(
    {"all", "and", "any", "array", "between", "case", "cast", "current_date", "current_time", "current_timestamp"}
    | {"distinct", "else", "end", "exists", "false", "from", "in", "interval", "is", "like", "not", "null", "or"}
    | {"select", "some", "struct", "then", "trim", "true", "when", "where", "with"}
)


@dataclass(frozen=True)
class Named:
    """What a filter judges.

    Args:
        column: of the table.
        field: of a struct column, or None.
        kind: type of its values.
    """

    column: str
    field: str | None
    kind: pa.DataType

    @property
    def sql(self) -> str:
        """As a condition names it; quoted only where it must be, for backticks are orders to a shell."""
        return ".".join(_named(part) for part in (self.column, self.field) if part is not None)

    def __str__(self) -> str:
        return ".".join(part for part in (self.column, self.field) if part is not None)


def find(table: Table, name: str, *, hint: str | None = None) -> Named:
    """Find a column, or a field of a struct column: "quality.sharpness".

    Args:
        hint: how the column is made, if it is not there.

    Raises:
        UsageError: the name is no text.
        SchemaError: the table has no such column, or the column no such field.
    """
    if not isinstance(name, str) or not name:
        raise UsageError(
            f"filter: {name!r:.80} is no name of a column", hint='"clip_score", or a field: "quality.sharpness"'
        )
    column, dot, field = name.partition(".")
    table.require([column], verb="filter", hint=hint)
    kind = table.schema.field(column).type
    if not dot:
        return Named(column, None, kind)
    fields = [entry.name for entry in kind.fields] if pa.types.is_struct(kind) else []
    if field not in fields:
        found = f"its fields are {', '.join(fields)}" if fields else f"it holds {kind}, which has no fields"
        raise SchemaError(
            f"filter: column {column!r} of {redact(table.uri)} has no field {field!r}; {found}", hint=hint
        )
    return Named(column, field, kind.field(field).type)


def require_numbers(table: Table, named: Named) -> None:
    """Hold what is judged to numbers.

    Raises:
        SchemaError: it holds something else.
    """
    kind = named.kind
    if pa.types.is_struct(kind):
        fields = [f"{named}.{entry.name}" for entry in kind.fields]
        raise SchemaError(f"filter: {named} holds several figures", hint=f"name one of them: {', '.join(fields)}")
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise SchemaError(
            f"filter: {named} of {redact(table.uri)} holds {kind}; expected numbers",
            hint="clipdata show TABLE lists the columns and what they hold",
        )


def floats_named(table: Table, condition: str) -> list[Named]:
    """Columns, and fields of struct columns, of floats that a condition names, as far as its words tell."""
    floats: dict[str, Named] = {}
    for column in table.schema:
        kind = column.type
        fields = kind.fields if pa.types.is_struct(kind) else []
        named = [Named(column.name, entry.name, entry.type) for entry in fields] or [Named(column.name, None, kind)]
        floats |= {str(one): one for one in named if pa.types.is_floating(one.kind)}
    return [floats[name] for name in columns_named(condition.replace("`", ""), floats)]


def _named(part: str) -> str:
    return part if _PLAIN.fullmatch(part) and part not in _RESERVED else quoted(part)
