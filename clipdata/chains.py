"""Tables as DataChain chains: for whoever goes on there. The way back is `ingest.from_chain`.

DataChain keeps rows in SQLite, so a value comes out as that holds it:

    pictures, bytes, texts, booleans, nulls, times      as they are; a picture that a row only refers to stays a `uri`
    lists and vectors, nested or empty, with nulls      as they are, of no fixed length
    whole numbers, floats                               of 64 bits; a NaN is a null
    dates                                               texts, "2024-02-01"
    structs                                             mappings, which come back as JSON
    whole numbers above 2**63 - 1; maps, decimals …     refused
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from clipdata.errors import SchemaError
from clipdata.lance_io.pictures import place_columns
from clipdata.lance_io.table import AnyTable, Table, as_table
from clipdata.schema import is_binary

if TYPE_CHECKING:
    from datachain import DataChain


def to_datachain(
    table: AnyTable, columns: Sequence[str] | None = None, *, where: str | None = None, name: str = "", **options: Any
) -> DataChain:
    """Make a chain of a table's rows, with its columns as signals; image bytes are signals of bytes.

    Args:
        table: read at its version, batch by batch.
        columns: names; all by default, but those that say in which other table a picture stands: it is read from there.
        where: SQL condition on the rows.
        name: saves the chain as a dataset of this name; without it the chain is temporary.
        options: of `datachain.read_records` (`session`, `settings`).

    Raises:
        SchemaError: a column does not exist, or its type has no counterpart in DataChain.
    """
    import datachain

    table = as_table(table)
    places = place_columns(table.schema)
    chosen = list(columns) if columns is not None else [name for name in table.schema.names if name not in places]
    table.require(chosen, verb="to_datachain")
    signals = {column: _python_type(table.schema.field(column)) for column in chosen}
    # DataChain asks for all rows at once where it is given a list; a generator is read as it goes.
    chain = datachain.read_records(_records(table, chosen, where), schema=signals, **options)
    return chain.save(name) if name else chain


def _records(table: Table, columns: list[str], where: str | None) -> Iterator[dict[str, Any]]:
    for batch in table.scan(columns, where=where, batch_rows=256):
        held = [_as_held(values, name) for name, values in zip(batch.schema.names, batch.columns, strict=True)]
        yield from pa.RecordBatch.from_arrays(held, names=batch.schema.names).to_pylist()


def _as_held(values: pa.Array, name: str) -> pa.Array:
    """Values as DataChain's types have them.

    Raises:
        SchemaError: a number is larger than SQLite's.
    """
    if pa.types.is_date(values.type):
        return values.cast(pa.date32()).cast(pa.string())
    if pa.types.is_uint64(values.type):
        try:
            return values.cast(pa.int64())
        except pa.ArrowInvalid as error:
            raise SchemaError(
                f"to_datachain: column {name!r} holds {pc.max(values)}, and DataChain holds none above {2**63 - 1}",
                hint="leave the column out: columns=[…]",
            ) from error
    return values


def _python_type(column: pa.Field) -> Any:
    """The Python type that DataChain stores a column as; nulls are allowed wherever the table allows them."""
    plain = _plain_type(column.type, column.name)
    return plain | None if column.nullable and isinstance(plain, type) else plain


def _plain_type(kind: pa.DataType, name: str) -> Any:
    tests: list[tuple[Any, Any]] = [
        (pa.types.is_boolean, bool),
        (pa.types.is_integer, int),
        (pa.types.is_floating, float),
        (pa.types.is_string, str),
        (pa.types.is_large_string, str),
        (is_binary, bytes),
        (pa.types.is_date, str),
        (pa.types.is_timestamp, datetime),
        (pa.types.is_struct, dict),
    ]
    for matches, python_type in tests:
        if matches(kind):
            return python_type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return list[_plain_type(kind.value_type, name)]  # type: ignore[misc]
    raise SchemaError(f"to_datachain: column {name!r} is {kind}, which DataChain cannot hold")
