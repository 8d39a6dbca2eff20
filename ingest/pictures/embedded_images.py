"""Parquet files that hold the images themselves, in the struct `{bytes, path}` that Hugging Face `datasets` writes.

Each row becomes an image row with the file's other columns. Its key is the file's name, its number in the file, and the
name the struct gives.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa

from clipdata import images
from clipdata.errors import ImageRefused, SchemaError
from clipdata.prefetch import map_ordered
from clipdata.schema import image_schema
from clipdata.storage import Storage, redact
from ingest.metadata.metadata_files import ROW_KEY, ParquetFiles
from ingest.pictures.image_rows import image_record
from ingest.updating.batches import batches_of
from ingest.updating.job import ingest
from ingest.updating.outcome import Ingested
from ingest.updating.source import BrokenFile, Item, Refuse, Reject, source_storage

THREADS = 4


def image_column(schema: pa.Schema) -> str | None:
    """Name of the first column that holds images, or None."""
    return next((column.name for column in schema if _holds_images(column.type)), None)


class EmbeddedImages(ParquetFiles):
    """Image rows out of parquet files.

    Args:
        where: a file, a folder or a glob.
        storage: how to reach them.
        limits: of one image.

    Raises:
        SchemaError: there is no column of images, or a column bears the name of an image row's own.
    """

    kind = "embedded images"
    key = "path"

    def __init__(
        self,
        where: str | os.PathLike[str],
        *,
        storage: Storage | None = None,
        limits: images.ImageLimits | None = None,
    ) -> None:
        super().__init__(where, required=None, storage=storage)
        self.limits = limits or images.ImageLimits()

    def schema(self) -> pa.Schema:
        """Image rows with the files' other columns; one that bears an image column's name gets `meta_` before it."""
        plain = super().schema()
        self.column = image_column(plain)
        if self.column is None:
            raise SchemaError(f"{redact(self.origin)} has no column of images; it has {', '.join(plain.names)}")
        taken = set(image_schema().names)
        others = [column for column in plain if column.name not in (ROW_KEY, self.column)]
        self._names = {c.name: f"meta_{c.name}" if c.name in taken else c.name for c in others}
        return image_schema([column.with_name(self._names[column.name]) for column in others])

    def read_file(self, item: Item, refuse: Refuse) -> Iterator[pa.RecordBatch]:
        """Check the images of each batch in threads."""
        schema = self.schema()
        first = 0
        with ThreadPoolExecutor(THREADS, thread_name_prefix="clipdata-check") as pool:
            try:
                for batch in self._batches(item, refuse):
                    rows = [(item, first + place, row) for place, row in enumerate(batch.to_pylist())]
                    outcomes = list(map_ordered(self._record, rows, pool=pool, max_items=2 * THREADS))
                    yield from batches_of(outcomes, schema, refuse)
                    first += batch.num_rows
            except pa.ArrowException as error:
                raise BrokenFile("corrupt", f"after {first:,} rows: {error}") from error

    def _record(self, numbered: tuple[Item, int, dict[str, Any]]) -> dict[str, Any] | Reject:
        """The row of one image: its bytes are here, so that its etag is the content's own digest."""
        item, number, row = numbered
        assert self.column is not None, "schema() found it"
        held = row.pop(self.column) or {}
        name = os.path.basename(str(held.get("path") or ""))
        key = f"{item.key}/{number:08d}" + (f"-{name}" if name else "")
        data = held.get("bytes")
        if not data:
            where = f"it is kept elsewhere: {held['path']}" if held.get("path") else "the row holds none"
            return Reject(key, item.etag, "missing", where)
        try:
            record = image_record(Item(key, item.etag, len(data), item.where), data, self.limits)
        except ImageRefused as error:
            return Reject(key, item.etag, error.reason, error.detail)
        others = {self._names[column]: value for column, value in row.items()}
        filename = name or f"{number:08d}.{record['format']}"
        said = {"filename": filename, "etag": record["sha256"], "source": item.where}
        return {**others, **record, **said}


def _holds_images(kind: pa.DataType) -> bool:
    if not pa.types.is_struct(kind):
        return False
    fields = {kind.field(place).name: kind.field(place).type for place in range(kind.num_fields)}
    is_bytes = "bytes" in fields and (pa.types.is_binary(fields["bytes"]) or pa.types.is_large_binary(fields["bytes"]))
    return is_bytes and set(fields) == {"bytes", "path"}


def from_parquet(
    parquet: str | os.PathLike[str],
    *,
    into: str | os.PathLike[str],
    required: str | None = "filename",
    anonymous: bool = False,
    storage: Storage | None = None,
    **options: Any,
) -> Ingested:
    """Take in the rows of parquet, CSV, TSV or JSONL files.

    Files that hold the images themselves (a column `{bytes, path}`, as Hugging Face `datasets` writes it) become image
    rows with the other columns; all others metadata rows.

    Args:
        parquet: a file, a folder or a glob.
        into: location of the table.
        required: column without which a metadata row is refused.
        anonymous: the source is public.
        storage: how to reach both.
        options: of `ingest.updating.job.ingest`.
    """
    reached = source_storage(storage, anonymous=anonymous)
    plain = ParquetFiles(parquet, required=None, storage=reached).schema()
    if image_column(plain) is not None:
        return ingest(EmbeddedImages(parquet, storage=reached), into, storage=storage, **options)
    source = ParquetFiles(parquet, required=required, storage=reached)
    return ingest(source, into, storage=storage, parameters={"required": required}, **options)
