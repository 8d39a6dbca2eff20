"""Sizes: what each column of a table takes on the disk, as Lance's files tell without being read.

It knows data files, and nothing of what stands in them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from clipdata.lance_io.faults import translated, with_retries
from clipdata.lance_io.pictures import picture_tables, places_needed
from clipdata.lance_io.table import Table
from clipdata.schema import image_column, is_blob
from clipdata.storage import join

ALL_FRAGMENTS, SOME_FRAGMENTS = 16, 8


def column_bytes(table: Table) -> dict[str, int]:
    """Bytes of each column in the data files of a version, as they are compressed.

    Bytes that Lance keeps apart are in no column's pages: what the files hold beside these belongs to them.
    """
    with translated(table.uri, "reading the sizes of"):
        fields: Any = table.dataset.stats.data_stats().fields  # a list, which Lance declares as one entry
        return _by_column(table, {field.id: field.bytes_on_disk for field in fields}, table.dataset.get_fragments())


def row_bytes(table: Table, columns: Sequence[str]) -> float:
    """Mean bytes of a row of some columns as they are stored at a version, pictures in other tables included.

    The same every time, for it depends on the version's files alone. No row is read: the end of each file is, and of
    a table of many fragments that of a few, spread evenly.

    Args:
        columns: names.

    Raises:
        StorageError: a file is gone.
    """
    fragments: list[Any] = table.dataset.get_fragments()
    files = [file for fragment in fragments for file in fragment.metadata.files]
    if len(fragments) <= ALL_FRAGMENTS or any(file.file_major_version < 2 or file.base_id for file in files):
        sizes = column_bytes(table)
    else:
        fragments = [fragments[place * len(fragments) // SOME_FRAGMENTS] for place in range(SOME_FRAGMENTS)]
        with translated(table.uri, "reading the sizes of"):
            sizes = _by_column(table, _pages_of(table, fragments), fragments)
    num_rows = sum(fragment.physical_rows for fragment in fragments)
    names = {*columns, *places_needed(table.schema, columns)}
    held = sum(sizes.get(name, 0) for name in names) / max(num_rows, 1)
    if not any(sizes.values()):  # files of Lance's first format do not tell
        held = sum(file.file_size_bytes or 0 for file in files) / max(num_rows, 1)
    return float(held + (_picture_bytes(table) if image_column(table.schema) in columns else 0.0))


def _picture_bytes(table: Table) -> float:
    """Mean bytes of a row's pictures in other tables; where several rows share a picture, each has a part of it."""
    held = 0.0
    for name, known in picture_tables(table.dataset.metadata or {}).items():
        if known.until is None or known.until >= table.version:
            pictures = table.pictures.table(name)
            each = row_bytes(pictures, [known.column])
            held += each * min(1.0, pictures.num_rows / max(table.num_rows, 1))
    return held


def _pages_of(table: Table, fragments: Sequence[Any]) -> dict[int, int]:
    """Bytes of each field's pages in some fragments, by Lance's number of the field."""
    from lance.file import LanceFileReader

    options = table.storage.lance_options(table.uri) or None

    def pages(file: Any) -> dict[int, int]:
        def attempt() -> Any:
            return LanceFileReader(join(table.uri, "data", file.path), storage_options=options).file_statistics()

        columns = with_retries(attempt).columns
        places = zip(file.fields, file.column_indices, strict=True)
        return {field: columns[place].size_bytes for field, place in places if place >= 0}

    found: dict[int, int] = {}
    with ThreadPoolExecutor(SOME_FRAGMENTS) as pool:
        for sizes in pool.map(pages, [file for fragment in fragments for file in fragment.metadata.files]):
            for field, size in sizes.items():
                found[field] = found.get(field, 0) + size
    return found


def _by_column(table: Table, pages: Mapping[int, int], fragments: Sequence[Any]) -> dict[str, int]:
    found = {column.name(): _of(column, pages) for column in table.dataset.lance_schema.fields()}
    blobs = [field.name for field in table.schema if is_blob(field)]
    if len(blobs) == 1:
        files = {file.path: file for one in fragments for file in one.metadata.files}
        held = sum(file.file_size_bytes or 0 for file in files.values())
        found[blobs[0]] += max(held - sum(found.values()), 0)
    return found


def _of(column: Any, pages: Mapping[int, int]) -> int:
    return pages.get(column.id(), 0) + sum(_of(child, pages) for child in column.children())
