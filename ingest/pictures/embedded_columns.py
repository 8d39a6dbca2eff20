"""Columns of files that hold pictures: which they are, and the pictures in them.

Told by their type (`{bytes, path}`, or a list of it) or, for plain bytes, by what the first values begin with. Decodes
nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa

from clipdata import images
from clipdata.errors import SchemaError
from clipdata.plain_types import plain_type
from clipdata.schema import is_binary, is_picture_struct
from clipdata.storage import redact
from ingest.metadata.row_files import RowFiles
from ingest.updating.source import BrokenFile

_LOOKED_AT = 20


@dataclass(frozen=True)
class Picture:
    """One picture of a row.

    Args:
        row: its place in the batch.
        number: its place in the row's list; None where the row has just one.
        data: its bytes; None where it is kept elsewhere, or nowhere.
        path: the name that was given with it.
    """

    row: int
    number: int | None
    data: bytes | None
    path: str


@dataclass(frozen=True)
class ChosenColumn:
    """The column that becomes the rows' picture.

    Args:
        name: as the files have it.
        others: further columns of pictures, which stay columns.
        is_list: a row holds several pictures.
    """

    name: str
    others: tuple[str, ...]
    is_list: bool

    def notes(self) -> dict[str, str]:
        """What was decided."""
        notes = {"column of the pictures": self.name} if self.others or self.name != "image" else {}
        if self.others:
            notes["other columns of pictures, kept as they are"] = ", ".join(self.others)
        if self.is_list:
            notes["lists of pictures"] = "one row a picture"
        return notes


def choose_column(files: RowFiles, named: str | None = None) -> ChosenColumn:
    """Choose the column of the pictures: the one that is named, the one called "image", or the first.

    Raises:
        SchemaError: there is none.
    """
    found = picture_columns(files)
    name = named or ("image" if "image" in found else next(iter(found), None))
    if name not in found:
        names = dict.fromkeys(n for s in files.schemas().values() if isinstance(s, pa.Schema) for n in s.names)
        what = f"no column {named!r} of pictures" if named else "no column of pictures"
        listed = f"; those are {', '.join(found)}" if found else f"; it has {', '.join(names)}"
        raise SchemaError(
            f"{redact(files.origin)} has {what}{listed}", hint="--image COLUMN (image=…)" if found else None
        )
    assert name is not None, "a name that was found"
    kind = found[name]
    return ChosenColumn(name, tuple(other for other in found if other != name), bool(pa.types.is_list(kind)))


def picture_columns(files: RowFiles) -> Mapping[str, pa.DataType]:
    """The columns that hold pictures, and their plain types."""
    found: dict[str, pa.DataType] = {}
    doubtful: dict[str, list[str]] = {}
    for where, schema in files.schemas().items():
        if isinstance(schema, BrokenFile):
            continue
        for name, kind in zip(schema.names, map(plain_type, schema.types), strict=True):
            inner = kind.value_type if pa.types.is_list(kind) else kind
            if is_picture_struct(inner):
                found.setdefault(name, kind)
            elif is_binary(inner):
                doubtful.setdefault(name, []).append(where)
    for name, places in doubtful.items():
        kind = _looked_into(files, name, places)
        if name not in found and kind is not None:
            found[name] = kind
    return found


def pictures_of(column: pa.Array) -> Iterator[Picture]:
    """The pictures of a column, in order; a row without any gives one that has neither bytes nor a path."""
    if not pa.types.is_list(column.type):
        yield from (Picture(row, None, *_held(column, row)) for row in range(len(column)))
        return
    for row, values in enumerate(column):
        held = values.values
        if held is None or len(held) == 0:
            yield Picture(row, None, None, "")
        else:
            yield from (Picture(row, number, *_held(held, number)) for number in range(len(held)))


def extra_fields(kind: pa.DataType) -> list[pa.Field]:
    """What a picture's struct says beside its bytes and its path."""
    if not pa.types.is_struct(kind):
        return []
    fields = [kind.field(place) for place in range(kind.num_fields)]
    return [field for field in fields if field.name not in ("bytes", "path")]


def _held(values: pa.Array, place: int) -> tuple[bytes | None, str]:
    if is_binary(values.type):
        return values[place].as_py() or None, ""
    value = values[place]
    if not value.is_valid:
        return None, ""
    names = [values.type.field(number).name for number in range(values.type.num_fields)]
    data = value["bytes"].as_py() if "bytes" in names else None
    path = value["path"].as_py() if "path" in names else None
    return data or None, str(path or "")


def _looked_into(files: RowFiles, name: str, places: list[str]) -> pa.DataType | None:
    """The type of a column of bytes whose first values are pictures, or None."""
    items = {item.where: item for item in files.items()}
    for where in places[:3]:
        try:
            batch = next(files.batches(items[where], lambda _: None), None)
        except BrokenFile:
            continue
        if batch is None:
            continue
        column = batch.column(name)
        kind = plain_type(column.type)
        values = (picture.data for picture in pictures_of(column.cast(kind)) if picture.data)
        starts = [images.sniff_format(data) for data, _ in zip(values, range(_LOOKED_AT), strict=False)]
        if starts:
            return kind if 2 * sum(start is not None for start in starts) >= len(starts) else None
    return None
