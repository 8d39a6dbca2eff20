"""Metadata rows without an image, as the rejects of a merged table: exactly those of now, and none that was mended.

What is listed already stays as it is, so a merge that refuses the same rows again writes no version.
"""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from clipdata.lance_io import rows
from clipdata.lance_io.table import Table, exists, open_table
from clipdata.storage import redact
from ingest.updating.rejects import SCHEMA, rejects_uri

REASON = "no_image"
_SCOPE = "metadata:"
_WRITTEN_AT_ONCE = 16_384


def settle_unmatched(table: Table, names: pa.Array, *, on: str) -> None:
    """Make the rejects of a merged table those of this merge: new ones are added, mended ones removed.

    Args:
        names: keys of the metadata rows without an image, large_string, one for each row; null for no key.
        on: what they were joined on.
    """
    uri = rejects_uri(table.uri)
    paths, details = _as_rejects(names, on)
    known = _known(uri, table)
    known_paths = known.column("path").combine_chunks()
    found = pc.index_in(paths, value_set=known_paths)
    is_same = pc.equal(known.column("detail").combine_chunks().take(found), details).fill_null(False)
    fresh = pa.table([paths, details], names=["path", "detail"]).filter(pc.invert(is_same))
    if fresh.num_rows:
        rejects = rows.create_table(uri, SCHEMA, storage=table.storage)
        for start in range(0, fresh.num_rows, _WRITTEN_AT_ONCE):
            rows.upsert(rejects, _complete(fresh.slice(start, _WRITTEN_AT_ONCE)), changed="refused_at")
    mended = known_paths.filter(pc.invert(pc.is_in(known_paths, value_set=paths)))
    if len(mended):
        rows.delete_keys(open_table(uri, storage=table.storage), mended.to_pylist())


def _as_rejects(names: pa.Array, on: str) -> tuple[pa.Array, pa.Array]:
    """Paths and details of the rejects, one for each distinct key."""
    counted = names.value_counts()
    paths: list[str] = []
    details: list[str] = []
    for name, count in zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True):
        many = "1 metadata row names" if count == 1 else f"{count:,} metadata rows name"
        paths.append(f"{_SCOPE}{name or ''}")
        details.append(redact(f"{many} no {on}" if name is None else f"{many} {on} {name!r}"))
    return pa.array(paths, pa.string()), pa.array(details, pa.string())


def _known(uri: str, table: Table) -> pa.Table:
    """Rejects of earlier merges: path and detail."""
    empty = pa.schema([("path", pa.string()), ("detail", pa.string())]).empty_table()
    if not exists(uri, storage=table.storage):
        return empty
    read = open_table(uri, storage=table.storage).to_table(["path", "detail"], where=f"reason = '{REASON}'")
    return read.filter(pc.starts_with(read.column("path"), _SCOPE)).cast(empty.schema)


def _complete(rejects: pa.Table) -> pa.Table:
    count = rejects.num_rows
    columns = {
        "path": rejects.column("path"),
        "reason": pa.array([REASON] * count),
        "detail": rejects.column("detail"),
        "etag": pa.array([""] * count),
        "refused_at": pa.array([datetime.now(UTC)] * count, SCHEMA.field("refused_at").type),
    }
    return pa.table([columns[column.name] for column in SCHEMA], schema=SCHEMA)
