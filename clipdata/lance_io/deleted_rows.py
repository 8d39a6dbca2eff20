"""Deleted rows: what was deleted by hand, remembered so that no source brings it back while its content is the same.

The rows lie in records beside the table, and the table's own metadata names the records that count. So they belong to a
version as its rows do: a version that is restored from before a delete knows nothing of it. A note is written before
its rows go; of a row that is there nothing is concluded from it. It must not know who asks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from clipdata.lance_io.faults import translated, with_retries
from clipdata.lance_io.rows import set_table_metadata, table_metadata
from clipdata.lance_io.state import StateFolder
from clipdata.lance_io.table import Table, _open_dataset
from clipdata.schema import is_text
from clipdata.storage import redact

FOLDER = "deleted"
ENTRY = "clipdata.deleted."  # and an id: key of the table's metadata
TOLD_BY = ("etag", "sha256", "source")
SCHEMA = pa.schema([(name, pa.string()) for name in ("key", *TOLD_BY)])
_PART_ROWS = 262_144  # rows of a record, which is held in memory when it is written and read


@dataclass(frozen=True)
class Note:
    """What a table's metadata says of one delete.

    Args:
        num_rows: that it deleted.
        parts: names of the records that hold them.
        where: its condition.
        version: of the table in which the rows still are.
    """

    num_rows: int
    parts: tuple[str, ...]
    where: str
    version: int


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

    for batch in table.scan([key, *_told_by(table)], where=where, batch_rows=_PART_ROWS // 4):
        held.append(_record(batch, key))
        num_rows += batch.num_rows
        if sum(map(len, held)) >= _PART_ROWS:
            write()
    if held:
        write()
    note = Note(num_rows, tuple(parts), redact(where), table.version)
    set_table_metadata(table, {f"{ENTRY}{delete_id}": json.dumps(asdict(note))})
    return num_rows


def notes_of(metadata: Mapping[str, str]) -> dict[str, Note]:
    """What a table's metadata says of its deletes, by their ids."""
    found = {key.removeprefix(ENTRY): json.loads(text) for key, text in metadata.items() if key.startswith(ENTRY)}
    return {name: Note(**{**said, "parts": tuple(said["parts"])}) for name, said in found.items()}


def deleted_rows(table: Table) -> Iterator[tuple[Note, pa.Table]]:
    """Rows that were deleted by hand as the table's version knows it, and the note of each delete.

    Yields:
        Columns of `SCHEMA`; null stands for nothing known.
    """
    records = StateFolder(table, FOLDER)
    for note in notes_of(table_metadata(table)).values():
        for name in note.parts:
            found = records.read_arrow(name)
            if found is not None and found.num_rows:
                yield note, found


def forget(table: Table) -> int:
    """Let sources bring back what was deleted; returns how many rows were remembered."""
    notes = notes_of(table_metadata(table.latest()))

    def attempt() -> None:
        dataset = _open_dataset(table.uri, None, table.storage)
        dataset.update_metadata({f"{ENTRY}{name}": None for name in notes})

    if notes:
        with translated(table.uri, "writing metadata of"):
            with_retries(attempt, attempts=10)
    return sum(note.num_rows for note in notes.values())


def _told_by(table: Table) -> list[str]:
    schema = table.schema
    return [name for name in TOLD_BY if name in schema.names and is_text(schema.field(name).type) and name != table.key]


def _record(batch: pa.RecordBatch, key: str) -> pa.RecordBatch:
    names: list[Any] = [key, *TOLD_BY]
    columns = [
        batch.column(name).cast(pa.string()) if name in batch.schema.names and (place == 0 or name != key)
        else pa.nulls(batch.num_rows, pa.string())
        for place, name in enumerate(names)
    ]  # fmt: skip
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)
