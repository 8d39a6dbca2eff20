"""Rows that a person names: by their key, by the name of their picture, or by their number.

It knows tables, and nothing of what is done with a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from clipdata import hints
from clipdata import schema as schemas
from clipdata.errors import NotFoundError, SchemaError, UsageError
from clipdata.lance_io.indices import equals
from clipdata.lance_io.table import Table
from clipdata.plurals import counted
from clipdata.storage import redact

NAMES = ("filename", "file_name", "image_id", "path", "uri")
"""Columns that say how a picture is called, the first that is there."""
_ROW_NAMES = (*NAMES, "id")
_SHOWN = 3


@dataclass(frozen=True)
class NamedRow:
    """A row that was named.

    Args:
        name: as it is shown.
        id: Lance's number of it at this version.
        values: of the columns that were asked for.
    """

    name: str
    id: int
    values: dict[str, Any]


def named_row(table: Table, name: str, columns: Sequence[str]) -> NamedRow:
    """The row of a name.

    Args:
        name: its key; the name of its picture, or its `id`; or "#12", its number among the rows from 0.
        columns: to read of it.

    Raises:
        NotFoundError: there is no such row.
        UsageError: several rows have that name.
    """
    looked_in = [
        one for one in dict.fromkeys([table.key, *_ROW_NAMES]) if one is not None and one in table.schema.names
    ]
    for column in looked_in:
        value = _as_value(table.schema.field(column).type, name)
        if value is None:
            continue
        found = table.to_table(
            ["_rowid", *dict.fromkeys([column, *columns])], where=equals(column, value), limit=_SHOWN
        )
        if found.num_rows > 1:
            raise _ambiguous(table, column, name)
        if found.num_rows:
            return _row(found, name, columns)
    number = name.removeprefix("#")
    if name.startswith("#") and number.isascii() and number.isdigit():
        if int(number) >= table.num_rows:
            raise NotFoundError(
                f"{redact(table.uri)} has {counted(table.num_rows, 'row')}, which count from 0; there is no {name}"
            )
        return _row(table.take(np.array([int(number)]), ["_rowid", *dict.fromkeys(columns)]), name, columns)
    looked = f"in {', '.join(looked_in)}" if looked_in else "and the table has no column that names rows"
    sql = hints.query(table.uri, " ".join(("SELECT", ", ".join(looked_in) or "*", "FROM dataset")))
    raise NotFoundError(
        f"{redact(table.uri)} has no row {name!r} {looked}",
        hint=f"see what rows are called: {sql}; or name one by its number among the rows: '#0'",
    )


def _as_value(kind: pa.DataType, name: str) -> str | int | None:
    """A name as a value of a column's type; None when it cannot be one."""
    if schemas.is_text(kind):
        return name
    if pa.types.is_integer(kind) and name.removeprefix("-").isascii() and name.removeprefix("-").isdigit():
        return int(name)
    return None


def _row(found: pa.Table, name: str, columns: Sequence[str]) -> NamedRow:
    values = {column: found.column(column)[0].as_py() for column in columns}
    return NamedRow(name, found.column("_rowid")[0].as_py(), values)


def _ambiguous(table: Table, column: str, name: str) -> UsageError:
    value = _as_value(table.schema.field(column).type, name)
    where = equals(column, value)
    offsets = table.offsets(where)
    told = [f"#{offset}" for offset in offsets[:_SHOWN].tolist()]
    if table.key is not None and table.key != column:
        told = table.take(offsets[:_SHOWN], [table.key]).column(0).to_pylist()
    more = ", …" if len(offsets) > _SHOWN else ""
    return UsageError(
        f"{counted(len(offsets), 'row')} of {redact(table.uri)} have {column} {name!r}; expected one",
        hint=f"name one of them: {', '.join(map(repr, map(str, told)))}{more}",
    )


def names_of(table: Table, ids: np.ndarray) -> list[str]:
    """How rows are called: by key, else by their picture or `id`, else by their number among the rows.

    Args:
        ids: Lance's numbers of them, uint64 [K].
    """
    column = table.key or next((name for name in _ROW_NAMES if name in table.schema.names), None)
    if column is not None:
        return [str(value) for value in table.take_ids(ids, [column]).column(column).to_pylist()]
    numbers: dict[int, str] = {}
    start = 0
    for batch in table.scan(["_rowid"], batch_rows=65_536):  # Lance makes these numbers up; nothing is read
        met = batch.column(0).to_numpy()
        for place in np.flatnonzero(np.isin(met, ids)).tolist():
            numbers[int(met[place])] = f"#{start + place}"
        start += len(met)
    return [numbers[row] for row in ids.tolist()]


def check_groups(table: Table, column: str) -> None:
    """Hold a column whose values tell rows apart to one whose values can be compared.

    Raises:
        SchemaError: there is no such column, or it holds lists, bytes or structs.
    """
    table.require([column], verb="search: distinct")
    kind = table.schema.field(column).type
    if schemas.is_list(kind) or schemas.is_binary(kind) or pa.types.is_struct(kind):
        raise SchemaError(
            f"search: distinct is {column!r}, which holds {kind}; expected texts, numbers or the like",
            hint="such as filename, sha256, or a column of clusters",
        )
