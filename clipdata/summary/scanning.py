"""Scanning: `stats`, all that is told of a table in one scan of the columns that are worth reading.

Bytes and wide vectors are not read: what they take on the disk, and where they are null, is known without. Memory is a
batch, and some megabytes a column, whatever the number of rows.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast

import pyarrow as pa

from clipdata.arguments import check_condition
from clipdata.column_names import column_meant, is_readable, quoted
from clipdata.errors import UsageError
from clipdata.lance_io.layout import advice
from clipdata.lance_io.pictures import place_columns
from clipdata.lance_io.pinned import readable
from clipdata.lance_io.presence import count_missing, is_missing_told
from clipdata.lance_io.refused import read_refused
from clipdata.lance_io.sizes import column_bytes
from clipdata.lance_io.table import AnyTable, Table, as_table
from clipdata.progress import Progress, Silent
from clipdata.staleness import column_states
from clipdata.storage import Storage, redact
from clipdata.summary.files import is_parquet, parquet_stats
from clipdata.summary.gathering import Gatherer, gather, is_read
from clipdata.summary.records import ColumnStats, Split, TableStats

BATCH_BYTES = 32 << 20
MOST_BATCH_ROWS = 65_536
_MOST_CLASSES = 10_000
_CLASS_COLUMNS = ("label_ind", "label_index", "class_name", "label")


def stats(
    table: AnyTable,
    *,
    where: str | None = None,
    columns: Sequence[str] | None = None,
    storage: Storage | None = None,
    progress: Progress | None = None,
) -> TableStats:
    """Tell what a table holds: nulls, sizes, distributions, most common values, splits, refusals, stale columns.

    Of any Lance table, whoever wrote it. All figures are exact but those that say by how much they may be off:
    quantiles of more than 262,144 numbers, and most common values where more than 65,536 are different.

    Args:
        table: at the version that it is opened at; or the location of one, of a Parquet file, or of a folder of these.
        where: SQL condition of the rows to look at; of a table alone.
        columns: names; all by default. One that is there in another case alone is that one.
        storage: how to reach the location.
        progress: watches the rows go by.

    Raises:
        SchemaError: there is no such column, or the condition is not valid for the table.
    """
    started_s = time.monotonic()
    check_condition(where)
    if is_parquet(table):
        if where is not None:
            raise UsageError("stats: Parquet files are told whole", hint="ingest parquet makes a table of them")
        return parquet_stats(cast(str, table), columns, storage or Storage(), progress or Silent())
    opened = as_table(table, storage=storage)
    names = _names(opened, columns)
    sizes = column_bytes(opened)
    read = [name for name in names if is_read(opened.schema.field(name))]
    batches = opened.scan(read, where=where, batch_rows=_batch_rows(opened, read, sizes))
    total = opened.num_rows if where is None else None
    gathered, aspect, num_rows = gather(opened.schema, opened.key, read, batches, total, progress or Silent())
    found = [_column(opened, name, gathered.get(name), sizes.get(name), where) for name in names]
    is_whole = where is None and columns is None
    return TableStats(
        table=redact(opened.uri),
        version=opened.version,
        where=where,
        num_rows=num_rows if read else opened.count_rows(where),
        num_bytes=sum(sizes.values()) if columns is None else None,
        columns=tuple(found),
        splits=tuple(_splits(opened, names, where)),
        aspect=aspect,
        refused=read_refused(opened, limit=0).reasons if is_whole else {},
        stale=tuple(state.column for state in column_states(opened, cheap=True) if state.stale) if is_whole else (),
        layout=advice(opened.dataset, opened.uri) if is_whole else None,
        seconds=time.monotonic() - started_s,
    )


def _names(table: Table, columns: Sequence[str] | None) -> list[str]:
    if columns is not None:
        meant = [column_meant(name, table.schema.names) for name in columns]
        table.require(meant, verb="stats")
        return list(dict.fromkeys(meant))
    hidden = place_columns(table.schema)
    return [name for name in table.schema.names if name not in hidden and is_readable(name)]


def _batch_rows(table: Table, read: Sequence[str], sizes: Mapping[str, int]) -> int:
    """Rows of a batch, by what the columns take on the disk; texts may be compressed to a tenth of what they are."""
    row_bytes = 10 * sum(sizes.get(name, 0) for name in read) / max(table.num_rows, 1)
    return max(min(int(BATCH_BYTES / max(row_bytes, 1)), MOST_BATCH_ROWS), 256)


def _column(
    table: Table, name: str, gatherer: Gatherer | None, num_bytes: int | None, where: str | None
) -> ColumnStats:
    lineage = table.lineage(name)
    model = f"{lineage.model_name}: " if lineage is not None and lineage.model_name else ""
    made_by = f"{model}{lineage.describe()}" if lineage is not None else None
    known: dict[str, Any] = {"num_bytes": num_bytes if where is None else None, "made_by": made_by}
    if gatherer is not None:
        return gatherer.result(**known)
    kind = table.schema.field(name).type
    found = ColumnStats(name, str(kind), **known)
    if pa.types.is_fixed_size_list(kind) and where is None:
        return replace(found, nulls=_missing(table, name))
    return found


def _missing(table: Table, name: str) -> int | None:
    """Rows without a vector, where the files say it without being read, as those of a map do."""
    if not is_missing_told(table, name):
        return None
    with readable(table):
        return sum(count_missing(table, fragment, name) for fragment in table.dataset.get_fragments())


def _splits(table: Table, names: Sequence[str], where: str | None) -> Iterator[Split]:
    """Sides of the columns that are splits, and the classes on them."""
    for name in names:
        lineage = table.lineage(name)
        is_split = lineage is not None and lineage.step.endswith("Split")
        if not (is_split or name == "split") or not pa.types.is_string(table.schema.field(name).type):
            continue
        counts = {(side or ""): count for (side, count) in _grouped(table, (name,), where)}
        named = [*(lineage.inputs if lineage is not None else ()), *_CLASS_COLUMNS]
        classes = next((one for one in named if one in _CLASS_COLUMNS and one in table.schema.names), None)
        shares: dict[str, dict[str, float]] = {}
        if classes is not None:
            with suppress(UsageError):  # more classes than an answer may hold
                for side, value, count in _grouped(table, (name, classes), where):
                    if side is not None and value is not None:
                        shares.setdefault(side, {})[str(value)] = count / counts[side]
        is_few = 0 < len({value for found in shares.values() for value in found}) <= _MOST_CLASSES
        yield Split(name, counts, classes if is_few else None, shares if is_few else {})


def _grouped(table: Table, columns: Sequence[str], where: str | None) -> list[tuple[Any, ...]]:
    listed = ", ".join(map(quoted, columns))
    condition = f" WHERE {where}" if where else ""
    query = f"SELECT {listed}, count(*) AS rows_in_group FROM dataset{condition} GROUP BY {listed} ORDER BY {listed}"  # noqa: S608 - SQL of the reader's own table
    found = table.query(query)
    return list(zip(*(column.to_pylist() for column in found.columns), strict=True))
