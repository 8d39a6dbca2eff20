"""Members of samples: what the row of a table becomes inside a shard. It writes no archive."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from clipdata.errors import SchemaError
from clipdata.images import sniff_format
from clipdata.json_values import dump, is_writable
from clipdata.lance_io.pictures import place_columns
from clipdata.lance_io.table import Table
from clipdata.schema import columns_listed, is_binary, picture_column
from clipdata.storage import redact

COUNTED = ("samples", "without_caption", "other_formats", "without_image", "not_an_image")
_OF_THE_IMAGE = ("format", "uri", "bytes")
_SUFFIXES = {"jpeg": "jpg", "tiff": "tif"}
_READ_BY_OPEN_CLIP = ("jpg", "png", "webp")
_MAX_VECTOR = 16


@dataclass(frozen=True)
class SampleMembers:
    """Which columns go into a sample, and how.

    Args:
        image: column of the image: bytes, or a struct `{bytes, path}`.
        columns: fields of the JSON.
        left_out: columns that are not in it, because JSON cannot hold them or they are long vectors.
        caption: column of the txt; None for none.
        read: all columns to read.
    """

    image: str
    columns: tuple[str, ...]
    left_out: tuple[str, ...]
    caption: str | None
    read: tuple[str, ...]

    @classmethod
    def of(cls, table: Table, columns: Sequence[str] | None, caption: str | None) -> SampleMembers:
        """Choose the columns of a table.

        Args:
            columns: for the JSON; by default all that it can hold.
            caption: for the txt; "" for no txt, None for `caption` or `captions` where there is one.

        Raises:
            SchemaError: there is no column of images, or a column that was named does not exist or does not fit.
        """
        image = _image_of(table)
        chosen, left_out = _fields(table, columns, image)
        text = _caption_column(table, caption)
        wanted = [image, *_OF_THE_IMAGE, *chosen, *([text] if text else [])]
        read = tuple(name for name in dict.fromkeys(wanted) if name in table.schema.names)
        return cls(image, tuple(chosen), tuple(left_out), text, read)

    def of_row(self, row: Mapping[str, Any], tally: Tally[str]) -> dict[str, bytes]:
        """The files of one sample by suffix; none when it has no image."""
        held = row[self.image]
        data = held.get("bytes") if isinstance(held, Mapping) else held
        if not data:
            tally["without_image"] += 1
            return {}
        stated = row.get("format")
        kind = sniff_format(data) or (stated if isinstance(stated, str) and stated.isalnum() else None)
        if kind is None:
            tally["not_an_image"] += 1
            return {}
        suffix = _SUFFIXES.get(kind, kind)
        members = {suffix: data, **self.told(row)}
        tally["samples"] += 1
        tally["without_caption"] += "txt" not in members
        tally["other_formats"] += suffix not in _READ_BY_OPEN_CLIP
        return members

    def told(self, row: Mapping[str, Any]) -> dict[str, bytes]:
        """What is beside the image: json, and txt where there is a caption."""
        members = {"json": dump({name: row[name] for name in self.columns}).encode()}
        text = row[self.caption] if self.caption else None
        text = text[0] if isinstance(text, list) and text else text
        return {**members, "txt": text.encode()} if isinstance(text, str) else members


def _image_of(table: Table) -> str:
    image = picture_column(table.schema)
    if image is not None:
        return image
    held = [column.name for column in table.schema if is_binary(column.type)]
    found = f"; {', '.join(held)} hold bytes, and none is called image" if held else ""
    raise SchemaError(
        f"export shards: {redact(table.uri)} has no column of images{found}; it has "
        f"{columns_listed(table.schema.names)}",
        hint="merge it with a table of images first: clipdata merge IMAGES META --into BOTH",
    )


def _fields(table: Table, columns: Sequence[str] | None, image: str) -> tuple[list[str], list[str]]:
    """Columns for the JSON, and those left out of it."""
    if columns is not None:
        table.require(columns, verb="export shards")
        wrong = [name for name in columns if not is_writable(table.schema.field(name).type)]
        if wrong:
            kinds = ", ".join(f"{name!r} ({table.schema.field(name).type})" for name in wrong)
            raise SchemaError(
                f"export shards: JSON cannot hold {kinds}; expected text, numbers, times or lists of them"
            )
        return list(columns), []
    aside = (image, "etag", *place_columns(table.schema))
    own = [column for column in table.schema if column.name not in aside]
    kept = [c.name for c in own if is_writable(c.type) and getattr(c.type, "list_size", 0) <= _MAX_VECTOR]
    return kept, [column.name for column in own if column.name not in kept]


def _caption_column(table: Table, caption: str | None) -> str | None:
    if caption is None:
        return next((name for name in ("caption", "captions") if name in table.schema.names), None)
    if not caption:
        return None
    table.require([caption], verb="export shards")
    kind = table.schema.field(caption).type
    inner = getattr(kind, "value_type", kind)
    if not (pa.types.is_string(inner) or pa.types.is_large_string(inner) or pa.types.is_string_view(inner)):
        raise SchemaError(f"export shards: {caption!r} is {kind}; expected text, or lists of texts, for a caption")
    return caption
