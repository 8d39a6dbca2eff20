"""An image folder out: pictures as files, and beside them `metadata.jsonl` with what is known of each.

`load_dataset("imagefolder", data_dir=…)` and `ingest hugging-face` read it. Where a column of splits is named, each
split is a folder. Folders of many pictures are divided, so the names of no more than `FOLDER_ROWS` are held.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from clipdata.errors import SchemaError
from clipdata.exports.file_names import SPLITS, FileNames
from clipdata.exports.formats import About, Notes, holds_bytes
from clipdata.exports.json_lines import NOT_FINITE, values_of
from clipdata.exports.places import Place
from clipdata.exports.selection import picture_bytes
from clipdata.images import sniff_format
from clipdata.json_values import dump_lines
from clipdata.schema import is_picture_struct, is_text, picture_column

FILE_NAME = "file_name"  # Hugging Face's word
FOLDER_ROWS = 10_000
_SUFFIXES = {"jpeg": ("jpg", "jpeg", "jpe", "jfif"), "tiff": ("tif", "tiff"), "heif": ("heic", "heif")}
_NAMES = ("filename", "path")


@dataclass
class _Folder:
    """One split's folder, or the only one."""

    stream: Any
    names: FileNames = field(default_factory=FileNames)
    num_rows: int = 0


class ImageFolder:
    """A folder of pictures.

    Args:
        split: column whose values name the folders; None for one folder.
    """

    name, is_folder, needs_picture = "folder", True, True

    def __init__(self, *, split: str | None = None) -> None:
        self._split = split
        self._left_out: Tally[str] = Tally()

    def why_not(self, column: pa.Field) -> str | None:
        """Of bytes, it holds the picture alone."""
        is_picture = picture_column(pa.schema([column])) == column.name
        return "holds bytes that are no picture" if holds_bytes(column) and not is_picture else None

    def check(self, schema: pa.Schema, columns: Sequence[str]) -> None:
        """It wants pictures, and a column of texts for the splits.

        Raises:
            SchemaError: one is missing.
        """
        if picture_column(schema) not in columns:
            raise SchemaError(
                f"export: a folder of pictures wants the column of pictures; there is none among {', '.join(columns)}",
                hint="merge with a table of images first: clipdata merge IMAGES META --into BOTH",
            )
        if self._split is None:
            return
        if self._split not in schema.names or not is_text(schema.field(self._split).type):
            found = schema.field(self._split).type if self._split in schema.names else "not there"
            raise SchemaError(f"export: column {self._split!r} is {found}; expected names of splits")
        if self._split not in columns:
            raise SchemaError(f"export: column {self._split!r} names the splits and is not among the columns")

    def write(self, batches: Iterator[pa.RecordBatch], place: Place, about: About) -> Notes:
        """Write the pictures and what is known of them."""
        assert about.picture is not None, "checked before"
        is_deep = about.num_rows > FOLDER_ROWS
        folders: dict[str, _Folder] = {}
        num_not_finite = 0
        with ExitStack() as stack:
            for batch in batches:
                picture = batch.column(about.picture)
                others = batch.drop_columns([about.picture])
                records, num_odd = values_of(others) if others.num_columns else ([{}] * batch.num_rows, 0)
                num_not_finite += num_odd
                held = zip(picture_bytes(picture), _names_of(batch, picture), records, strict=True)
                for data, wanted, record in held:
                    split = self._folder_of(record)
                    if split is None:
                        continue
                    if split not in folders:
                        stream = place.open(f"{split}metadata.jsonl")
                        folders[split] = _Folder(stack.enter_context(stream))
                    self._write_row(folders[split], split, data.as_py(), wanted, record, place, is_deep=is_deep)
        return {NOT_FINITE: num_not_finite} if num_not_finite else {}

    @property
    def left_out(self) -> Mapping[str, int]:
        """Rows that were not written, by reason."""
        return self._left_out

    def _folder_of(self, record: Mapping[str, Any]) -> str | None:
        """The split's folder with a slash behind it; None for a row that goes nowhere.

        Raises:
            SchemaError: nobody would look for it under that name.
        """
        if self._split is None:
            return ""
        named = record[self._split]
        if named is None:
            self._left_out["the row has no split"] += 1
            return None
        if named not in SPLITS:
            raise SchemaError(
                f"export: column {self._split!r} holds {named!r:.80}; expected names of splits that "
                f"`load_dataset` looks for: {', '.join(SPLITS)}",
                hint="leave --split-column out, and the column is in metadata.jsonl all the same",
            )
        return f"{named}/"

    def _write_row(
        self,
        folder: _Folder,
        split: str,
        data: bytes,
        wanted: str,
        record: Mapping[str, Any],
        place: Place,
        *,
        is_deep: bool,
    ) -> None:
        kind = sniff_format(data)
        if kind is None:
            self._left_out["what the row holds is no picture"] += 1
            return
        below = f"{folder.num_rows // FOLDER_ROWS:05d}/" if is_deep else ""
        if is_deep and folder.num_rows % FOLDER_ROWS == 0:
            folder.names = FileNames()
        name = below + folder.names.name(wanted or f"{folder.num_rows:08d}", _SUFFIXES.get(kind, (kind,)))
        place.put(f"{split}{name}", data)
        own = {f"original_{FILE_NAME}" if key == FILE_NAME else key: value for key, value in record.items()}
        folder.stream.write(dump_lines([{FILE_NAME: name, **own}]))
        folder.num_rows += 1


def _names_of(batch: pa.RecordBatch, picture: pa.Array) -> list[str]:
    """What the pictures are called; empty where nothing says so."""
    column = next((batch.column(name) for name in _NAMES if name in batch.schema.names), None)
    if column is None and is_picture_struct(picture.type):
        column = picture.flatten()[picture.type.get_field_index("path")]
    if column is None or not is_text(column.type):
        return [""] * batch.num_rows
    return [name or "" for name in column.to_pylist()]
