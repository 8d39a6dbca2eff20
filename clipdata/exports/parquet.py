"""Parquet out: a file, or a folder of them, in which `load_dataset` shows pictures and which `ingest parquet` reads.

A picture becomes `{bytes, path}`, its bytes as they are. A reader holds a whole row group, so these are bounded.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from clipdata.exports.features import KEY, features_of, schema_metadata
from clipdata.exports.formats import About, Notes
from clipdata.exports.places import Place
from clipdata.schema import is_binary

GROUP_BYTES = 32 << 20
FILE_BYTES = 512 << 20
ABOUT = b"clipdata.export"
STRUCT = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])
_NAMES = ("filename", "path")


class Parquet:
    """Parquet files.

    Args:
        is_folder: several files in a folder, each of about `FILE_BYTES`; otherwise one file.
    """

    name, needs_picture = "parquet", False

    def __init__(self, *, is_folder: bool, group_bytes: int = GROUP_BYTES, file_bytes: int = FILE_BYTES) -> None:
        self.is_folder = is_folder
        self.group_bytes, self.file_bytes = group_bytes, file_bytes

    def why_not(self, column: pa.Field) -> str | None:
        """Parquet holds everything but unions."""
        return "is a union" if pa.types.is_union(column.type) else None

    def check(self, schema: pa.Schema, columns: Sequence[str]) -> None:
        """Any columns will do."""

    def write(self, batches: Iterator[pa.RecordBatch], place: Place, about: About) -> Notes:
        """Write row groups, and in a folder the next file when one is large enough."""
        groups = _grouped((_plain(batch, about.picture) for batch in batches), self.group_bytes)
        first = next(groups)
        schema, notes = _schema(first.schema, about.record)
        number, rest = 0, iter([first])
        while True:
            with place.open(f"{number:05d}.parquet" if self.is_folder else "") as stream:
                is_more = self._write_file(stream, schema, rest, groups)
            if is_more is None:
                return notes
            number, rest = number + 1, iter([is_more])

    def _write_file(
        self, stream: Any, schema: pa.Schema, begun: Iterator[pa.Table], groups: Iterator[pa.Table]
    ) -> pa.Table | None:
        """Write groups until there are none, or the file is large; returns the group that begins the next one."""
        pictures = [name for name in schema.names if schema.field(name).type == STRUCT]
        others = [name for name in schema.names if name not in pictures]
        with pq.ParquetWriter(
            stream,
            schema,
            compression="zstd",
            use_dictionary=others,
            write_statistics=others,
            use_byte_stream_split=False,
        ) as writer:
            for source in (begun, groups):
                for group in source:
                    if self.is_folder and stream.tell() >= self.file_bytes:
                        return group
                    writer.write_table(group.cast(schema), row_group_size=max(group.num_rows, 1))
        return None


def _plain(batch: pa.RecordBatch, picture: str | None) -> pa.Table:
    """Rows as parquet's readers take them: dictionaries spelled out, pictures as structs with their names."""
    names = next((batch.column(name) for name in _NAMES if name in batch.schema.names), None)
    columns: list[Any] = []
    fields: list[pa.Field] = []
    for column, values in zip(batch.schema, batch.columns, strict=True):
        if pa.types.is_dictionary(values.type):
            values = values.cast(values.type.value_type)
        if column.name == picture and is_binary(values.type):
            paths = names.cast(pa.string()) if names is not None else pa.nulls(len(values), pa.string())
            held = values.cast(pa.binary())
            values = pa.StructArray.from_arrays([held, paths], fields=list(STRUCT), mask=held.is_null())
        columns.append(values)
        fields.append(pa.field(column.name, values.type))
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def _schema(schema: pa.Schema, about: Mapping[str, Any]) -> tuple[pa.Schema, Notes]:
    features = features_of(schema)
    metadata = {ABOUT: json.dumps(about, ensure_ascii=False).encode()}
    if features is None:
        return schema.with_metadata(metadata), {"Hugging Face features": "none, for it knows no such types of columns"}
    return schema.with_metadata({**metadata, KEY: schema_metadata(features)}), {}


def _grouped(tables: Iterator[pa.Table], num_bytes: int) -> Iterator[pa.Table]:
    """The same rows in tables of about so many bytes."""
    held: list[pa.Table] = []
    size = 0
    for table in tables:
        if held and size + table.nbytes > num_bytes:
            yield pa.concat_tables(held, promote_options="permissive").combine_chunks()
            held, size = [], 0
        held.append(table)
        size += table.nbytes
    if held:
        yield pa.concat_tables(held, promote_options="permissive").combine_chunks()
