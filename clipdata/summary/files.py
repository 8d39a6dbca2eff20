"""Files: what Parquet files hold, told as of a table, without taking them in.

It knows Parquet, and no Lance.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from clipdata.column_names import column_meant
from clipdata.errors import UsageError
from clipdata.objects.faults import as_clipdata_error
from clipdata.progress import Progress
from clipdata.schema import require_columns
from clipdata.storage import Storage, absolute, is_remote, redact
from clipdata.summary.gathering import Gatherer, gather, is_read
from clipdata.summary.records import ColumnStats, TableStats

_BATCH_ROWS = 16_384
_SUFFIXES = (".parquet", ".pq")


def is_parquet(given: object) -> bool:
    """Whether what was named is a Parquet file, or a local folder of such."""
    if not isinstance(given, str | os.PathLike):
        return False
    name = os.fspath(given)
    if name.endswith(_SUFFIXES):
        return True
    if is_remote(name) or not os.path.isdir(name) or os.path.isdir(os.path.join(name, "_versions")):
        return False
    return any(entry.name.endswith(_SUFFIXES) for entry in os.scandir(name))


def parquet_stats(
    given: str | os.PathLike[str], columns: Sequence[str] | None, storage: Storage, progress: Progress
) -> TableStats:
    """Tell what Parquet files hold; see `stats`.

    Raises:
        NotFoundError: there is no such file.
        SchemaError: there is no such column.
        UsageError: it is no Parquet.
    """
    started_s = time.monotonic()
    location = absolute(given)
    dataset = _opened(location, storage)
    schema: pa.Schema = dataset.schema
    meant = [column_meant(name, schema.names) for name in columns or ()]
    require_columns(schema, meant, verb="stats", where=redact(location))
    names = list(dict.fromkeys(meant)) if columns is not None else schema.names
    read = [name for name in names if is_read(schema.field(name))]
    sizes: Counter[str] = Counter()
    num_rows = 0
    for fragment in dataset.get_fragments():
        found = fragment.metadata
        num_rows += found.num_rows
        for group in map(found.row_group, range(found.num_row_groups)):
            for column in map(group.column, range(group.num_columns)):
                sizes[column.path_in_schema.split(".")[0]] += column.total_compressed_size
    gathered, aspect, _ = gather(schema, None, read, _batches(dataset, read), num_rows, progress)
    empty = {name: ColumnStats(name, str(schema.field(name).type), num_bytes=sizes[name]) for name in names}
    return TableStats(
        table=redact(location),
        version=None,
        where=None,
        num_rows=num_rows,
        num_bytes=sum(sizes.values()) if columns is None else None,
        columns=tuple(_result(gathered.get(name), empty[name]) for name in names),
        aspect=aspect,
        seconds=time.monotonic() - started_s,
    )


def _opened(location: str, storage: Storage) -> Any:
    import pyarrow.dataset

    filesystem, path = storage.filesystem(location)
    try:
        return pyarrow.dataset.dataset(path, filesystem=filesystem, format="parquet")
    except pa.ArrowInvalid as error:
        raise UsageError(f"{redact(location)} is no Parquet: {redact(str(error))[:200]}") from error
    except OSError as error:
        raise as_clipdata_error(error, f"reading {redact(location)}", storage) from error


def _batches(dataset: Any, read: Sequence[str]) -> Iterator[pa.RecordBatch]:
    scanner = dataset.scanner(columns=list(read), batch_size=_BATCH_ROWS, batch_readahead=4, fragment_readahead=1)
    yield from scanner.to_batches()


def _result(gatherer: Gatherer | None, empty: ColumnStats) -> ColumnStats:
    return gatherer.result(num_bytes=empty.num_bytes) if gatherer is not None else empty
