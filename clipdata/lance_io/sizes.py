"""Sizes: what each column of a table takes on the disk, as Lance's files tell without being read.

It knows data files, and nothing of what stands in them.
"""

from __future__ import annotations

from typing import Any

from clipdata.lance_io.faults import translated
from clipdata.lance_io.table import Table
from clipdata.schema import is_blob


def column_bytes(table: Table) -> dict[str, int]:
    """Bytes of each column in the data files of a version, as they are compressed.

    Bytes that Lance keeps apart are in no column's pages: what the files hold beside these belongs to them.
    """
    with translated(table.uri, "reading the sizes of"):
        fields: Any = table.dataset.stats.data_stats().fields  # a list, which Lance declares as one entry
        pages = {field.id: field.bytes_on_disk for field in fields}
        found = {column.name(): _of(column, pages) for column in table.dataset.lance_schema.fields()}
        blobs = [field.name for field in table.schema if is_blob(field)]
        if len(blobs) == 1:
            files = {file.path: file for one in table.dataset.get_fragments() for file in one.metadata.files}
            held = sum(file.file_size_bytes or 0 for file in files.values())
            found[blobs[0]] += max(held - sum(found.values()), 0)
    return found


def _of(column: Any, pages: dict[int, int]) -> int:
    return pages.get(column.id(), 0) + sum(_of(child, pages) for child in column.children())
