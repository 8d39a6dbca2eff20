"""What a report tells of a table, as records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from clipdata.reporting.picture_records import Gallery
from clipdata.summary.records import Distribution


@dataclass(frozen=True)
class Common:
    """A value, as text, and how many rows have it."""

    value: str
    count: int


@dataclass(frozen=True)
class Column:
    """A column of the table; see `clipdata.summary.ColumnStats`.

    Args:
        numbers: distribution of its numbers, or of the lengths of its texts and lists.
        numbers_of: which of these: "values", "length", or None.
        earliest, latest: of times and dates.
    """

    name: str
    type: str
    nulls: int | None
    num_bytes: int | None
    distinct: int | None
    at_least: int
    empty: int
    common: tuple[Common, ...]
    numbers: Distribution | None
    numbers_of: str | None
    earliest: str | None = None
    latest: str | None = None


@dataclass(frozen=True)
class MadeColumn:
    """What made a column.

    Args:
        column: its name.
        step: that made it, with inputs and parameters.
        model_name: what people call the model behind it.
        model: its identity.
        trained_on: rows that the model was fine-tuned on, a line a training; None where nobody recorded it.
        table_version: that was read when the column was first filled.
        made_at: ISO time, UTC.
        stale: whether its step would make something else now.
    """

    column: str
    step: str
    model_name: str | None
    model: str | None
    trained_on: tuple[str, ...] | None
    table_version: int | None
    made_at: str | None
    stale: bool


@dataclass(frozen=True)
class RefusedPictures:
    """Pictures and rows that were refused for one reason.

    Args:
        reason: a short name.
        num: how many.
        examples: (path, detail) of the first.
    """

    reason: str
    num: int
    examples: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Sides:
    """The sides of a split: the column, and rows by side; "" for rows without one."""

    column: str
    rows: Mapping[str, int]


@dataclass(frozen=True)
class TableSection:
    """A table.

    Args:
        uri: its location, secrets masked.
        version: of it.
        where: condition of the rows that were looked at.
        num_rows: of them.
        num_bytes: on the disk; None where nobody knows.
        columns: the first hundred.
        num_columns_left_out: the others.
        made: what made its columns.
        refused: by reason.
        splits: columns that say on which side a row is.
        gallery: a few rows, where nothing else is shown of it.
    """

    uri: str
    version: int
    where: str | None
    num_rows: int
    num_bytes: int | None
    columns: tuple[Column, ...]
    num_columns_left_out: int
    made: tuple[MadeColumn, ...]
    refused: tuple[RefusedPictures, ...]
    splits: tuple[Sides, ...]
    gallery: Gallery | None = None
