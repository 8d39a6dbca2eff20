"""What a format of exports is, and what those that exist share. Knows no table and no place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from clipdata.errors import SchemaError
from clipdata.exports.places import Place
from clipdata.schema import is_binary, is_blob, is_picture_struct

Notes = dict[str, Any]


@dataclass(frozen=True)
class About:
    """What is exported.

    Args:
        picture: column of the pictures, where there is one among those that are written.
        num_rows: at most.
        record: the table, its version and the condition, as a file may say them.
    """

    picture: str | None
    num_rows: int
    record: Mapping[str, Any]


class Format(Protocol):
    """Writes batches of rows.

    Attributes:
        name: as people type it.
        is_folder: whether it writes a folder; otherwise one file.
        needs_picture: a row without a picture is left out.
    """

    name: str
    is_folder: bool
    needs_picture: bool

    def why_not(self, column: pa.Field) -> str | None:
        """Why the format cannot hold a column; None when it can."""
        ...

    def check(self, schema: pa.Schema, columns: Sequence[str]) -> None:
        """Hold the columns that were chosen to what the format needs, beyond each by itself.

        Raises:
            SchemaError: one is missing.
        """
        ...

    def write(self, batches: Iterator[pa.RecordBatch], place: Place, about: About) -> Notes:
        """Write all batches, of which there is at least one; returns facts for whoever reads the files.

        Args:
            batches: with the same columns.
            place: where to.
            about: what was exported.
        """
        ...


def holds_bytes(column: pa.Field) -> bool:
    """Whether a column holds bytes, such as those of pictures, however deep."""
    if is_blob(column) or is_binary(column.type) or is_picture_struct(column.type):
        return True
    children = [column.type.field(place) for place in range(column.type.num_fields)]
    return any(map(holds_bytes, children)) or pa.types.is_fixed_size_binary(column.type)


def choose(found: Format, schema: pa.Schema, aside: Sequence[str]) -> tuple[list[str], list[str]]:
    """The columns that an export takes where nobody names any, and those that it leaves out.

    Args:
        aside: columns that say something about the table alone, and are in neither.
    """
    own = [column for column in schema if column.name not in aside]
    kept = [column.name for column in own if found.why_not(column) is None]
    return kept, [column.name for column in own if column.name not in kept]


_LEAVE_OUT = "leave it out of --columns; parquet and lance hold everything, folder and shards hold pictures"


def check_columns(
    found: Format, schema: pa.Schema, columns: Sequence[str], *, verb: str = "export", hint: str = _LEAVE_OUT
) -> None:
    """Hold columns that were named to the format.

    Raises:
        SchemaError: lists those that it cannot hold, and why.
    """
    wrong = [(name, why) for name in columns if (why := found.why_not(schema.field(name)))]
    if wrong:
        listed = "; ".join(f"{name!r} ({schema.field(name).type}) {why}" for name, why in wrong)
        raise SchemaError(f"{verb}: {found.name} cannot hold {listed}", hint=hint)
