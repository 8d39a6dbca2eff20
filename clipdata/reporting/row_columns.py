"""Which columns a reader is shown of a row: its picture, its name, its text. Knows schemas, and reads no row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from clipdata.errors import SchemaError
from clipdata.named_rows import NAMES
from clipdata.reporting.picture_records import CAPTION_CHARS
from clipdata.schema import ERROR_SUFFIX, is_binary, is_list, is_picture_struct, is_text
from clipdata.shown_values import shown_value

_TEXTS = ("caption", "captions", "caption_choices", "text", "class_name", "label")
_OF_FILES = ("sha256", "etag", "uri", "format")


@dataclass(frozen=True)
class RowColumns:
    """Columns that were asked for by name.

    Args:
        image: of pictures; by default the one that is declared, or whose bytes begin as pictures do.
        text: of texts; by default what the compared scores were made of, or the first that says something.
    """

    image: str | None = None
    text: str | None = None

    def check(self, schema: pa.Schema) -> None:
        """Check what was asked for.

        Raises:
            SchemaError: there is no such column, or it holds something else.
        """
        asked = (("image", self.image, _may_be_pictures, "pictures"), ("text", self.text, _may_be_texts, "texts"))
        for word, name, fits, what in asked:
            if name is None:
                continue
            if name not in schema.names:
                raise SchemaError(f"report: {word}={name!r}: there is no such column; there are: {_listed(schema)}")
            if not fits(schema.field(name).type):
                raise SchemaError(f"report: {word}={name!r} holds {schema.field(name).type}; expected {what}")

    def text_of(self, schema: pa.Schema, key: str | None, preferred: Sequence[str] = ()) -> str | None:
        """The column of texts to show beside a picture.

        Args:
            key: column that tells the rows apart, which stands above the picture.
            preferred: columns that come first.
        """
        named = [
            name for name in (*preferred, *_TEXTS) if name in schema.names and _may_be_texts(schema.field(name).type)
        ]
        passed = {key, *NAMES, *_OF_FILES}
        others = (
            column.name
            for column in schema
            if is_text(column.type) and column.name not in passed and not column.name.endswith(ERROR_SUFFIX)
        )
        return self.text or next(iter(named), None) or next(others, None)


def name_of(schema: pa.Schema, key: str | None) -> str | None:
    """The column by which a row is called."""
    return next((name for name in (key, *NAMES) if name in schema.names), None)


def _may_be_pictures(kind: pa.DataType) -> bool:
    return is_binary(kind) or is_picture_struct(kind)


def _may_be_texts(kind: pa.DataType) -> bool:
    return is_text(kind) or pa.types.is_integer(kind) or (is_list(kind) and is_text(kind.value_type))


def _listed(schema: pa.Schema) -> str:
    return ", ".join(schema.names)


def captioned(value: Any, kind: pa.DataType) -> tuple[str | None, int | None]:
    """A value as the caption of a row, and the letters that it has in the table, of which the first are taken."""
    if isinstance(value, str):
        return value[:CAPTION_CHARS], len(value)
    return shown_value(value, kind), None
