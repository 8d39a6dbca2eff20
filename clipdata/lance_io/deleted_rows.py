"""Deleted rows: what was deleted by hand, remembered so that no source brings it back while its content is the same.

The rows lie in records beside the table, and notes of the table's own name the records that count (`deleted_notes.py`).
So they belong to a version as its rows do: a version that is restored from before a delete knows nothing of it. A note
is written before its rows go; of a row that is there nothing is concluded from it. It must not know who asks.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from clipdata.lance_io.columns import REASONS_OF
from clipdata.lance_io.deleted_notes import FOLDER, Note, note_delete, notes_of
from clipdata.lance_io.pictures import place_columns
from clipdata.lance_io.state import StateFolder
from clipdata.lance_io.table import Table
from clipdata.lineage import Lineage
from clipdata.schema import image_column, is_binary, is_text
from clipdata.storage import redact
from clipdata.value_hashes import combined, hashes_of

SCHEMA = pa.schema([(name, pa.string()) for name in ("key", "etag", "content", "source")])
_OF_THE_FILE = frozenset({"etag", "mtime", "uri", "source"})  # what a row says of where it came from
_PART_ROWS = 262_144  # rows of a record, which is held in memory when it is written and read


def remember(table: Table, delete_id: str, where: str) -> int:
    """Note the rows that a delete is about to remove; a call of the same id replaces what was noted before.

    Args:
        table: pinned to the version that the rows are of.
        delete_id: of the delete.
        where: SQL condition of the rows.

    Returns:
        Number of the rows; 0 for a table without a key, whose rows nobody can tell again.
    """
    key = table.key
    if key is None or not is_text(table.schema.field(key).type):
        return 0
    records, parts, held, num_rows = StateFolder(table, FOLDER), list[str](), list[pa.RecordBatch](), 0

    def write() -> None:
        parts.append(f"{delete_id}-v{table.version}-{len(parts)}")
        records.write_arrow(parts[-1], pa.Table.from_batches(held))
        held.clear()

    told_by = _told_by(table, key)
    for batch in table.scan([key, *told_by], where=where, batch_rows=_PART_ROWS // 4):
        held.append(_record(batch, key, table.schema))
        num_rows += batch.num_rows
        if sum(map(len, held)) >= _PART_ROWS:
            write()
    if held:
        write()
    note_delete(table, delete_id, Note(num_rows, tuple(parts), redact(where), table.version))
    return num_rows


def deleted_rows(table: Table) -> Iterator[tuple[Note, pa.Table]]:
    """Rows that were deleted by hand as the table's version knows it, and the note of each delete.

    Yields:
        Columns of `SCHEMA`; null stands for nothing known.
    """
    records = StateFolder(table, FOLDER)
    for note in notes_of(table).values():
        for name in note.parts:
            found = records.read_arrow(name)
            if found is not None and found.num_rows:
                yield note, found


def content_columns(schema: pa.Schema) -> list[str]:
    """Columns that tell what a row with a picture says: its picture's digest, and all else that its source gave.

    Columns of other bytes are left out, and what a step made; [] where no digest tells the picture.
    """
    digest = schema.get_field_index("sha256")
    if digest < 0 or not is_text(schema.field(digest).type):
        return []
    others = {image_column(schema), *place_columns(schema), *_OF_THE_FILE}
    return [
        column.name
        for column in schema
        if column.name not in others
        and not is_binary(column.type)
        and Lineage.of(column) is None
        and REASONS_OF not in (column.metadata or {})
    ]


def contents_of(rows: pa.RecordBatch | pa.Table, schema: pa.Schema) -> list[str | None]:
    """What rows say, as texts; None where no digest tells their picture. A null says nothing, nor does its column.

    Args:
        rows: whose columns are of the table's types.
        schema: of the table.
    """
    names = [name for name in content_columns(schema) if name in rows.schema.names]
    whole = np.zeros(rows.num_rows, np.uint64)
    for name in names:
        values = rows.column(name)
        said = combined([hashes_of(pa.array([name] * rows.num_rows, pa.string())), hashes_of(values)])
        whole += np.where(values.is_null().to_numpy(zero_copy_only=False), np.uint64(0), said)
    digests = rows.column("sha256").to_pylist() if "sha256" in names else [None] * rows.num_rows
    return [f"said:{said:016x}" if digest else None for said, digest in zip(whole, digests, strict=True)]


def _told_by(table: Table, key: str) -> list[str]:
    schema = table.schema
    texts = [name for name in ("etag", "source") if name in schema.names and is_text(schema.field(name).type)]
    return [name for name in dict.fromkeys([*texts, *content_columns(schema)]) if name != key]


def _record(batch: pa.RecordBatch, key: str, schema: pa.Schema) -> pa.RecordBatch:
    nothing = pa.nulls(batch.num_rows, pa.string())
    etags, sources = (
        batch.column(name).cast(pa.string()) if name != key and name in batch.schema.names else nothing
        for name in ("etag", "source")
    )
    contents = pa.array(contents_of(batch, schema), pa.string())
    return pa.RecordBatch.from_arrays([batch.column(key).cast(pa.string()), etags, contents, sources], schema=SCHEMA)
