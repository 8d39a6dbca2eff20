"""The row contract: the Arrow fields of image rows, and how a key column is declared.

A key is non-null and declared to Lance as its unenforced primary key when the table is created; only then do concurrent
inserts of the same key keep one row. This module knows Arrow, and nothing of where tables live.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence

import pyarrow as pa

from clipdata.errors import SchemaError

PRIMARY_KEY_METADATA = {"lance-schema:unenforced-primary-key": "true"}
IMAGE_METADATA = {"clipdata.image": "true"}
ERROR_SUFFIX = "__error"
_MOST_LISTED = 40
_IMAGE_NAMES = (
    "image",
    "img",
    "image_bytes",
    "img_bytes",
    "image_data",
    "picture",
    "photo",
    "jpg",
    "jpeg",
    "png",
    "webp",
)
_BLOB_V2 = "lance.blob.v2"


def key_field(name: str) -> pa.Field:
    """A string column that identifies a row."""
    return pa.field(name, pa.string(), nullable=False, metadata=PRIMARY_KEY_METADATA)


def key_of(schema: pa.Schema) -> str | None:
    """Name of the key column that a schema declares, or None."""
    for column in schema:
        if (column.metadata or {}).get(b"lance-schema:unenforced-primary-key") == b"true":
            return column.name
    return None


def image_column(schema: pa.Schema) -> str | None:
    """Name of the column that holds *the* image: the one whose nulls stand for the file at the row's `uri`.

    The schema declares it; in a table that clipdata did not make it is the first column of bytes with the name of one.
    """
    for column in schema:
        if (column.metadata or {}).get(b"clipdata.image") == b"true":
            return column.name
    places = {name: schema.get_all_field_indices(name) for name in _IMAGE_NAMES}
    held = (name for name, found in places.items() if len(found) == 1 and is_binary(schema.field(found[0]).type))
    return next(held, None)


# What is known of an image: where it came from, its original bytes, and what its header says.
IMAGE_FIELDS: tuple[pa.Field, ...] = (
    key_field("path"),  # relative to the root it came from
    pa.field("filename", pa.string()),  # last part of the path
    pa.field("uri", pa.string()),  # full location
    pa.field("image", pa.large_binary(), metadata=IMAGE_METADATA),  # original bytes; null when kept by reference
    pa.field("format", pa.string()),
    pa.field("width", pa.int32()),  # as displayed, in pixels
    pa.field("height", pa.int32()),
    pa.field("bytes", pa.int64()),
    pa.field("etag", pa.string()),  # changes when the file changes
    pa.field("sha256", pa.string()),  # of the original bytes; null when kept by reference
    pa.field("mtime", pa.timestamp("us", tz="UTC")),
)


def image_schema(extra: Iterable[pa.Field] = ()) -> pa.Schema:
    """Schema of image rows, with a source's own columns after the contract's."""
    return pa.schema([*IMAGE_FIELDS, *extra])


def is_binary(kind: pa.DataType) -> bool:
    """Tell whether a type holds bytes, such as an image's; Lance's own type of blobs does, too."""
    is_blob = getattr(kind, "extension_name", None) == _BLOB_V2
    return is_blob or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def is_blob(column: pa.Field) -> bool:
    """Tell whether Lance keeps a column's bytes apart, so that a plain read of it gives places instead."""
    told = (column.metadata or {}).get(b"lance-encoding:blob") == b"true"
    return told or getattr(column.type, "extension_name", None) == _BLOB_V2


def is_picture_struct(kind: pa.DataType) -> bool:
    """Tell whether a type holds pictures as Hugging Face's data sets do: bytes and a path, or nothing but a path."""
    if not pa.types.is_struct(kind):
        return False
    fields = {kind.field(place).name: kind.field(place).type for place in range(kind.num_fields)}
    return is_binary(fields["bytes"]) if "bytes" in fields else fields == {"path": pa.string()}


def picture_column(schema: pa.Schema) -> str | None:
    """Name of the column of pictures, whatever holds them: `image_column`, or the first of structs `{bytes, path}`."""
    return image_column(schema) or next((column.name for column in schema if is_picture_struct(column.type)), None)


def is_text(kind: pa.DataType) -> bool:
    """Tell whether a type holds texts, dictionary-encoded or not."""
    if pa.types.is_dictionary(kind):
        return is_text(kind.value_type)
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def is_list(kind: pa.DataType) -> bool:
    """Tell whether a type holds lists, of whatever length."""
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _is_integer(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind.value_type if pa.types.is_dictionary(kind) else kind)


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


_FAMILIES: Mapping[str, Callable[[pa.DataType], bool]] = {
    "text": is_text,
    "texts": lambda kind: is_list(kind) and is_text(kind.value_type),
    "captions": lambda kind: is_text(kind) or (is_list(kind) and is_text(kind.value_type)),
    "integer": _is_integer,
    "number": _is_number,
    "numbers": lambda kind: is_list(kind) and _is_number(kind.value_type),
    "label": lambda kind: is_text(kind) or _is_integer(kind),
    "labels": lambda kind: is_of("label", kind.value_type if is_list(kind) else kind),
    "bytes": is_binary,
}


def is_of(family: str, kind: pa.DataType) -> bool:
    """Tell whether a type belongs to a family: "text", "texts", "captions", "integer", "number", and so on."""
    return _FAMILIES[family](kind)


def error_column(column: str) -> str:
    """Name of the column that says why a row of `column` stayed null."""
    return f"{column}{ERROR_SUFFIX}"


def columns_listed(names: Sequence[str], written: Callable[[str], str] = str) -> str:
    """Names of columns for a message: "a, b and 3 others" where there are many, "none" where there are none.

    Args:
        written: how one is written.
    """
    more = f" and {len(names) - _MOST_LISTED} others" if len(names) > _MOST_LISTED else ""
    return (", ".join(map(written, names[:_MOST_LISTED])) or "none") + more


def require_columns(
    schema: pa.Schema, columns: Iterable[str], *, verb: str, where: str, hint: str | None = None
) -> None:
    """Check that columns exist.

    Args:
        hint: command that makes what is missing.

    Raises:
        SchemaError: names every missing column, the nearest names, and the columns that exist.
    """
    missing = [column for column in columns if column not in schema.names]
    if not missing:
        return
    near = {name: difflib.get_close_matches(str(name), schema.names, n=2) for name in missing}
    listed = ", ".join(
        f"{name!r}" + (f" (did you mean {' or '.join(near[name])}?)" if near[name] else "") for name in missing
    )
    error = SchemaError(f"{verb}: {where} has no column {listed}; it has {columns_listed(schema.names)}", hint=hint)
    error.missing = near
    raise error


def align(batch: pa.Table | pa.RecordBatch, schema: pa.Schema) -> pa.Table:
    """Give a batch exactly a table's columns, in order; columns it lacks are null.

    Raises:
        SchemaError: a column cannot be cast to the table's type.
    """
    columns = []
    for target in schema:
        if target.name not in batch.schema.names:
            columns.append(pa.nulls(batch.num_rows, target.type))
            continue
        values = batch.column(target.name)
        try:
            columns.append(values if values.type == target.type else values.cast(target.type))
        except pa.ArrowInvalid as error:
            found, expected = values.type, target.type
            raise SchemaError(f"column {target.name!r} holds {found}, the table's is {expected}: {error}") from error
        except pa.ArrowNotImplementedError as error:
            raise SchemaError(f"column {target.name!r} holds {values.type}, the table's is {target.type}") from error
    return pa.table(columns, schema=schema)
