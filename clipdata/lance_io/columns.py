"""Columns that map makes: added empty with their lineage, told apart from others of the same name, and removed whole.

A column carries a mark of its own from the moment it is added. Lance uses the numbers of dropped fields again, so the
mark is the only thing that says whether the column of a name is still the one that a job fills. Metadata commits alone;
no data is written here. It must not know what a step is.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING

import pyarrow as pa

from clipdata import hints
from clipdata.errors import ConcurrentChangeError, UsageError
from clipdata.lance_io.faults import translated, with_retries
from clipdata.lance_io.presence import field_ids
from clipdata.lance_io.table import Table, open_table
from clipdata.lineage import METADATA_KEY, Lineage
from clipdata.schema import error_column
from clipdata.storage import redact

if TYPE_CHECKING:
    import lance

MARK = b"clipdata.column"
REASONS_OF = b"clipdata.reasons_of"


def new_field(name: str, kind: pa.DataType, lineage: Lineage) -> pa.Field:
    """A column that does not exist yet, with what will make it and a mark that no other column has."""
    return pa.field(name, kind, metadata={METADATA_KEY: lineage.to_json(), MARK: uuid.uuid4().hex})


def mark_of(field: pa.Field) -> str:
    """What tells a column from others that had or will have its name: its mark, or a digest of what is known of it."""
    mark = (field.metadata or {}).get(MARK)
    if mark:
        return mark.decode()
    known = f"{field.type} {(field.metadata or {}).get(METADATA_KEY, b'').decode()}"
    return hashlib.sha256(known.encode()).hexdigest()[:32]


def identity_of(dataset: lance.LanceDataset, name: str) -> str | None:
    """What tells whether a name still means the same column; None when there is no such column.

    A mark is of one column only. Columns that came with the data have none, and may be alike in all that is known of
    them but their field numbers: two of them can swap their names.
    """
    numbers = field_ids(dataset, (name,))
    return f"{mark_of(dataset.schema.field(name))}:{','.join(map(str, sorted(numbers)))}" if numbers else None


def require_same(table: Table, dataset: lance.LanceDataset, column: str, identities: Mapping[str, str | None]) -> None:
    """Check that the column that is filled and its inputs are still the very ones of the start.

    Args:
        table: for the message.
        dataset: the version to look at.
        column: that is filled.
        identities: of it and of its inputs, at the start.

    Raises:
        ConcurrentChangeError: one was replaced or dropped.
    """
    for name, identity in identities.items():
        found = identity_of(dataset, name)
        if found == identity:
            continue
        what = "dropped" if found is None else "made anew"
        role = "" if name == column else f", an input of {column!r},"
        raise ConcurrentChangeError(
            f"column {name!r}{role} of {redact(table.uri)} was {what} by another writer while {column!r} was filled; "
            "what was committed before is right, the rest was not written",
            hint=f"see what did it: {hints.log(table.uri)}; then run the same command again",
        )


def reasons_of(schema: pa.Schema, column: str) -> str | None:
    """Name of the column that says why rows of `column` stayed null; None when there is none for this very column."""
    name = error_column(column)
    if name not in schema.names or column not in schema.names:
        return None
    owner = (schema.field(name).metadata or {}).get(REASONS_OF)
    # A table of an earlier release marks neither; there the names are all that is known.
    return name if owner is None or owner.decode() == mark_of(schema.field(column)) else None


def add(table: Table, field: pa.Field) -> Table:
    """Add a column of nulls, unless the table has one of its name.

    Reasons that an earlier column of that name left go first, for they are not this one's.

    Returns:
        The newest version. Whether the column in it is this one, its mark tells: another writer may have been faster.

    Raises:
        UsageError: the table has a column of its own where the reasons would stand.
    """

    def attempt() -> Table:
        newest = open_table(table.uri, storage=table.storage)
        if field.name in newest.schema.names:
            return newest
        _remove_left_reasons(newest, field.name)
        return _added(table, field)

    with translated(table.uri, "adding columns to"):
        return with_retries(attempt, attempts=10)


def _added(table: Table, field: pa.Field) -> Table:
    """The newest version with a column of a name, by whoever was first."""
    try:
        open_table(table.uri, storage=table.storage).dataset.add_columns([field])
    except (OSError, ValueError):  # Lance has one error for each moment at which another writer can be faster
        newest = open_table(table.uri, storage=table.storage)
        if field.name not in newest.schema.names:
            raise
        return newest
    return open_table(table.uri, storage=table.storage)


def _remove_left_reasons(table: Table, column: str) -> None:
    name = error_column(column)
    if name not in table.schema.names:
        return
    if REASONS_OF not in (table.schema.field(name).metadata or {}):
        raise UsageError(
            f"{redact(table.uri)} has a column {name!r}, where the reasons of rows without {column!r} would stand",
            hint="choose another column name",
        )
    table.dataset.drop_columns([name])


def remove(table: Table, column: str, mark: str) -> tuple[Table, bool]:
    """Remove a column and its reasons by one commit; the versions before stay readable.

    Returns:
        The newest version, and whether this call removed the column that has the mark; not so when another writer
        removed or replaced it first.
    """
    removed = False

    def attempt() -> Table:
        nonlocal removed
        newest = open_table(table.uri, storage=table.storage)
        schema = newest.schema
        if column not in schema.names or mark_of(schema.field(column)) != mark:
            return newest
        reasons = reasons_of(schema, column)
        newest.dataset.drop_columns([column, reasons] if reasons else [column])
        removed = True
        return open_table(table.uri, storage=table.storage)

    with translated(table.uri, "removing a column of"):
        return with_retries(attempt, attempts=10), removed


def ensure_reasons(table: Table, column: str) -> Table:
    """Add the column of reasons of a column when there is none."""

    def attempt() -> Table:
        newest = open_table(table.uri, storage=table.storage)
        if column not in newest.schema.names or reasons_of(newest.schema, column):
            return newest
        mark = mark_of(newest.schema.field(column))
        return _added(table, pa.field(error_column(column), pa.string(), metadata={REASONS_OF: mark}))

    with translated(table.uri, "adding columns to"):
        return with_retries(attempt, attempts=10)
