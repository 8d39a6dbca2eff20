"""Metadata files (parquet, CSV, TSV, JSONL): a file, a folder or a glob becomes rows keyed by what they say.

The key of a row is a digest of its file and content (and of its number among equal rows), so that taking a changed file
in again writes the changed rows only. Nested columns stay nested.
"""

from __future__ import annotations

import os
from collections import Counter as Tally
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from clipdata.errors import NotFoundError, SchemaError, UsageError
from clipdata.schema import key_field, require_columns
from clipdata.storage import Storage, absolute, is_remote, redact, scheme
from ingest.metadata.list_file import ListFile
from ingest.updating.digests import numbered, row_digests
from ingest.updating.source import BrokenFile, Item, Refuse, Reject

ROW_KEY = "row_key"
BATCH_ROWS = 1024


class ParquetFiles:
    """Rows of parquet files, or of CSV, TSV and JSONL files.

    Args:
        where: a file, a folder (searched for `*.parquet`, and where it has none for the others), or a glob.
        required: column that every row must have a value in, usually the one to merge on; null or missing is refused.
        storage: how to reach it.

    Raises:
        NotFoundError: nothing matches.
        SchemaError: a file lacks the required column, or two files disagree on a column's type.
    """

    kind = "parquet"
    grain: Literal["file"] = "file"
    key = ROW_KEY

    def __init__(
        self, where: str | os.PathLike[str], *, required: str | None = "filename", storage: Storage | None = None
    ) -> None:
        self.origin = absolute(where)
        self.required = required
        self.storage = storage or Storage()
        self._files: list[Item] | None = None
        self._notes: dict[str, Any] = {}

    def items(self) -> Iterator[Item]:
        """The files, sorted by name."""
        if self._files is None:
            self._files = self._find()
        return iter(self._files)

    def schema(self) -> pa.Schema:
        """The columns of all files together; a column that some files lack is noted."""
        merged: dict[str, pa.Field] = {}
        lacking: Tally[str] = Tally()
        files = list(self.items())
        schemas = {item.where: self._schema_of(item) for item in files}
        for where, found in schemas.items():
            if self.required is not None:
                require_columns(found, [self.required], verb="ingest parquet", where=redact(where))
            for column in found:
                present = merged.setdefault(column.name, column.with_metadata(None).with_nullable(True))
                if present.type != column.type:
                    merged[column.name] = _promoted(present, column, where)
        for found in schemas.values():
            lacking.update(name for name in merged if name not in found.names)
        if lacking:
            listed = ", ".join(f"{name} (in {count} of {len(files)} files)" for name, count in lacking.items())
            self._notes["columns missing"] = listed
        reserved = [name for name in merged if name in (ROW_KEY, "source")]
        if reserved:
            raise SchemaError(f"{redact(self.origin)} has columns {reserved}, names that this table keeps for itself")
        return pa.schema([key_field(ROW_KEY), *merged.values(), pa.field("source", pa.string())])

    @property
    def options(self) -> dict[str, Any]:
        """What shapes and refuses rows."""
        return {"required": self.required}

    def covers(self, where: str) -> bool:
        """Whether a file there would be listed."""
        return where == self.origin or where.startswith(f"{self.origin.rstrip('/')}/")

    def notes(self) -> dict[str, Any]:
        """Columns that some files lack."""
        return self._notes

    def read_file(self, item: Item, refuse: Refuse) -> Iterator[pa.RecordBatch]:
        """Read one file batch by batch."""
        schema = self.schema()
        equal_rows: Tally[bytes] = Tally()
        first = 0
        try:
            for batch in self._batches(item, refuse):
                yield from self._rows(batch, item, schema, first, equal_rows, refuse)
                first += batch.num_rows
        except (pa.ArrowException, UsageError) as error:
            raise BrokenFile("corrupt", f"after {first:,} rows: {error}") from error

    def _batches(self, item: Item, refuse: Refuse) -> Iterator[pa.RecordBatch]:
        """The rows of one file, as they stand there."""
        if not _is_parquet(item.where):
            yield from _list_batches(ListFile(item.where, storage=self.storage), item, refuse)
            return
        fs, path = self.storage.filesystem(item.where)
        with fs.open(path, "rb") as opened:
            yield from pq.ParquetFile(opened).iter_batches(batch_size=BATCH_ROWS)

    def _rows(
        self,
        batch: pa.RecordBatch,
        item: Item,
        schema: pa.Schema,
        first: int,
        equal_rows: Tally[bytes],
        refuse: Refuse,
    ) -> Iterator[pa.RecordBatch]:
        keep = [True] * batch.num_rows
        if self.required is not None:
            for place, value in enumerate(batch.column(self.required).to_pylist()):
                if value is None or value == "":
                    keep[place] = False
                    refuse(Reject(f"{item.key}#row-{first + place}", item.etag, "null_key", f"no {self.required}"))
        batch = batch.filter(pa.array(keep, pa.bool_()))
        if batch.num_rows:
            keys = numbered(row_digests(batch, salt=item.key), equal_rows)
            columns = {ROW_KEY: pa.array(keys, pa.string()), "source": pa.array([item.where] * len(keys), pa.string())}
            for column in schema:
                if column.name not in columns and column.name in batch.schema.names:
                    columns[column.name] = batch.column(column.name).cast(column.type)
            arrays = [columns.get(c.name, pa.nulls(len(keys), c.type)) for c in schema]
            yield pa.record_batch(arrays, schema=schema)

    def _schema_of(self, item: Item) -> pa.Schema:
        if not _is_parquet(item.where):
            return pa.schema(ListFile(item.where, storage=self.storage).fields())
        fs, path = self.storage.filesystem(item.where)
        try:
            with fs.open(path, "rb") as opened:
                return pq.read_schema(opened)
        except pa.ArrowException as error:
            raise SchemaError(f"{redact(item.where)} is not a parquet file: {error}") from error

    def _find(self) -> list[Item]:
        fs, root = self.storage.filesystem(self.origin)
        if any(sign in root for sign in "*?["):
            paths = fs.glob(root)
        elif fs.isdir(root):
            found = fs.find(root)
            paths = [path for path in found if _is_parquet(path)] or [path for path in found if _is_list(path)]
        else:
            paths = [root] if fs.exists(root) else []
        if not paths:
            raise NotFoundError(
                f"no parquet file (nor CSV, TSV or JSONL) at {redact(self.origin)}",
                hint="name a file, a folder of them, or a quoted glob",
            )
        prefix = f"{scheme(self.origin)}://" if is_remote(self.origin) else ""
        return [self._item(fs, path, prefix) for path in sorted(paths)]

    def _item(self, fs: Any, path: str, prefix: str) -> Item:
        about = fs.info(path)
        etag = str(about.get("etag") or about.get("ETag") or f"{about['size']}-{about.get('mtime', '')}").strip('"')
        return Item(Path(path).name, etag, about["size"], f"{prefix}{path}")


def _is_list(path: str) -> bool:
    return path.removesuffix(".gz").lower().endswith((".csv", ".tsv", ".tab", ".jsonl", ".ndjson"))


def _is_parquet(path: str) -> bool:
    return path.lower().endswith((".parquet", ".pq")) or not _is_list(path)


def _list_batches(rows: ListFile, item: Item, refuse: Refuse) -> Iterator[pa.RecordBatch]:
    """The rows of a CSV, TSV or JSONL file; lines that cannot be read are refused."""
    schema = pa.schema(rows.fields())
    gathered: list[Any] = []
    for row in rows.rows():
        if row.values is None:
            refuse(Reject(f"{item.key}#line-{row.number}", item.etag, "corrupt", f"{row.fault}: {row.text[:200]}"))
            continue
        gathered.append(row.values)
        if len(gathered) == BATCH_ROWS:
            yield pa.RecordBatch.from_pylist(gathered, schema)
            gathered = []
    if gathered:
        yield pa.RecordBatch.from_pylist(gathered, schema)


def _promoted(present: pa.Field, other: pa.Field, where: str) -> pa.Field:
    """The wider of two types.

    Raises:
        SchemaError: neither holds the other's values.
    """
    try:
        both = [pa.schema([present]), pa.schema([other.with_name(present.name).with_metadata(None)])]
        return pa.unify_schemas(both, promote_options="permissive").field(0)
    except (pa.ArrowTypeError, pa.ArrowInvalid) as error:
        raise SchemaError(
            f"column {present.name!r} is {other.type} in {redact(where)} and {present.type} in the files before it"
        ) from error
