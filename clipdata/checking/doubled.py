"""Rows that share a key: which of them say nothing that another does not say, and which contradict each other.

Only a writer that does not go by key leaves such rows: another tool's append, or a fault. Of rows that agree the one
with the most values is kept. It knows tables; it must not know how problems are told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from clipdata.column_names import quoted
from clipdata.lance_io import rows
from clipdata.lance_io.columns import REASONS_OF
from clipdata.lance_io.faults import translated
from clipdata.lance_io.table import Table
from clipdata.schema import is_blob

_AT_ONCE = 256  # rows that are compared
_DELETED_AT_ONCE = 4096
_ID = "_rowid"


@dataclass(frozen=True)
class Doubled:
    """Rows that share a key.

    Args:
        spare: numbers that Lance keeps for rows, of those that can go.
        keys: of these, each once.
        contradicting: keys of rows whose own values differ, or are blobs, which are not compared; each once.
        num_contradicting: these rows, those that stay included.
    """

    spare: Sequence[int]
    keys: tuple[str, ...]
    contradicting: tuple[str, ...]
    num_contradicting: int


def doubled(table: Table) -> Doubled | None:
    """Look for rows that share a key; None where there are none.

    Args:
        table: at the version to look at.
    """
    key = table.key
    if key is None or not table.num_rows:
        return None
    column = quoted(key)
    twice = f"SELECT {column} AS key FROM dataset GROUP BY {column} HAVING count(*) > 1"  # noqa: S608
    with table.answering(twice) as (_, batches):
        keys = pa.chunked_array([batch.column(0) for batch in batches], table.schema.field(key).type).combine_chunks()
    if not len(keys):
        return None
    own, are_blobs = _own_columns(table), any(map(is_blob, table.schema))
    spare, spare_keys, contradicting, num_contradicting = list[int](), list[str](), list[str](), 0
    for name, alike in groupby(_rows_of(table, key, keys), key=lambda row: row[key]):
        held = sorted(alike, key=lambda row: (sum(value is None for value in row.values()), row[_ID]))
        going = [row[_ID] for row in held[1:] if not are_blobs and _says_no_more(row, held[0], own)]
        if going:
            spare += going
            spare_keys.append(str(name))
        if len(going) < len(held) - 1:
            contradicting.append(str(name))
            num_contradicting += len(held) - len(going)
    return Doubled(spare, tuple(spare_keys), tuple(contradicting), num_contradicting)


def keep_one(table: Table) -> int:
    """Remove the rows that can go; how many there were.

    Args:
        table: at its newest version.
    """
    found = doubled(table)
    spare = found.spare if found is not None else ()
    for first in range(0, len(spare), _DELETED_AT_ONCE):
        rows.delete_rows(table, spare[first : first + _DELETED_AT_ONCE])
    return len(spare)


def _rows_of(table: Table, key: str, keys: pa.Array) -> Iterator[Mapping[str, Any]]:
    """Rows of some keys with their numbers, those of one key one behind the other."""
    columns = [column.name for column in table.schema if not is_blob(column)]
    with translated(table.uri, "reading"):
        found = []
        for batch in table.dataset.scanner(columns=[key], with_row_id=True).to_batches():
            found.append(batch.filter(pc.is_in(batch.column(key), value_set=keys)))
        ids = pa.Table.from_batches(found).sort_by([(key, "ascending"), (_ID, "ascending")]).column(_ID).to_pylist()
        for first in range(0, len(ids), _AT_ONCE):
            some = ids[first : first + _AT_ONCE]
            where = f"{_ID} IN ({', '.join(map(str, some))})"
            read = table.dataset.scanner(columns=columns, filter=where, with_row_id=True).to_table().to_pylist()
            by_id = {row[_ID]: row for row in read}
            yield from (by_id[number] for number in some)


def _own_columns(table: Table) -> list[str]:
    """Columns that no step made; what one made, it can make again."""
    columns = [column for column in table.schema if not is_blob(column) and REASONS_OF not in (column.metadata or {})]
    return [column.name for column in columns if table.lineage(column.name) is None]


def _says_no_more(row: Mapping[str, Any], kept: Mapping[str, Any], names: Sequence[str]) -> bool:
    return all(row[name] is None or _are_alike(row[name], kept[name]) for name in names)


def _are_alike(one: Any, other: Any) -> bool:
    """Equality, for which a NaN is the same as a NaN, be it in a list or in a field."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_are_alike, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_are_alike(value, other[name]) for name, value in one.items())
    return bool(one == other or (isinstance(one, float) and one != one and other != other))
