"""Writing rows: create a table, upsert by key, delete by key, add null columns, and close a verb with a marked commit.

Rows go in by key through Lance's merge-insert, the only operation that keeps one row when two writers insert the same
key at once; so each call can be repeated after a fault, whether or not it had landed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from clipdata.column_names import check_storable
from clipdata.errors import NotFoundError, SchemaError
from clipdata.lance_io.faults import is_transient, translated, with_retries
from clipdata.lance_io.history import Properties, commit
from clipdata.lance_io.opening import open_dataset
from clipdata.lance_io.place import check_place
from clipdata.lance_io.settling import settle
from clipdata.lance_io.table import Table, open_table
from clipdata.schema import align, columns_listed, key_of
from clipdata.storage import Storage, absolute, redact

if TYPE_CHECKING:
    import lance

# A fragment is the unit of backfill, of resuming and of conflicts between writers.
ROWS_PER_FRAGMENT = 16_384


@dataclass(frozen=True)
class Written:
    """Rows that one call changed."""

    inserted: int = 0
    updated: int = 0
    deleted: int = 0

    @property
    def any(self) -> bool:
        """Whether anything was written at all."""
        return self != Written()

    def __add__(self, other: Written) -> Written:
        return Written(self.inserted + other.inserted, self.updated + other.updated, self.deleted + other.deleted)


def create_table(
    uri: str | os.PathLike[str], schema: pa.Schema, *, storage: Storage | None = None, is_absent: bool = False
) -> Table:
    """Open the table at a location, making an empty one when there is none.

    Args:
        schema: its key column must be declared with `clipdata.schema.key_field`.
        is_absent: the caller has just seen that there is none, so that it is not looked for first.

    Raises:
        SchemaError: the schema declares no key, or a name that nothing can be read under; or the table that exists has
            another key.
        UsageError: there is no table, but something else: a file, or a folder of other files.
    """
    import lance

    settings, location = storage or Storage(), absolute(uri)
    check_storable(schema.names)
    key = key_of(schema)
    if key is None:
        found = columns_listed(schema.names)
        raise SchemaError(f"the schema for {redact(location)} declares no key column; found {found}")

    looks = iter([not is_absent])

    def attempt() -> Table:
        if next(looks, True):
            with suppress(NotFoundError):
                return open_table(location, storage=settings)
        check_place(location, settings)
        try:
            # Not `write_dataset(mode="create")`: of two at once, the second may overwrite the first and its rows.
            made = lance.LanceDataset.commit(
                location,
                lance.LanceOperation.Overwrite(schema, []),
                storage_options=settings.lance_options(location) or None,
                enable_stable_row_ids=True,
                max_retries=0,
            )
        except (OSError, ValueError):
            with suppress(NotFoundError):
                return open_table(location, storage=settings)  # another writer was faster
            raise
        table = Table(location, made.version, settings, made)
        settle(table, is_made=True)
        return table

    with translated(location, "creating"):
        table = with_retries(attempt)
    if table.key != key:
        found = f"its key is {table.key!r}" if table.key else "it declares no key"
        raise SchemaError(f"{redact(location)} exists and {found}; these rows are keyed by {key!r}")
    return table


def upsert(table: Table, rows: pa.Table, *, changed: str | None = None, onto: Table | None = None) -> Written:
    """Insert rows whose key is new; replace rows whose `changed` column differs.

    A replaced row is replaced whole: columns that `rows` lacks become null, so that what was derived from the old
    content goes with it.

    Args:
        rows: keys must be distinct; columns the table does not have must be added first (`add_columns`).
        changed: column that tells whether a row of the same key differs ("etag"); None leaves such rows alone.
        onto: another handle, at the newest version that the caller knows, which is moved to the one that this makes.
            What is newest is then looked for only when somebody else wrote in between, which on a bucket saves two
            requests of six.
    """
    key = table.key
    assert key is not None, "create_table saw to the key"
    if rows.num_rows == 0:
        return Written()

    def write(dataset: lance.LanceDataset) -> Written:
        builder = dataset.merge_insert(key).when_not_matched_insert_all()
        if changed is not None:
            builder = builder.when_matched_update_all(
                f"source.{changed} <> target.{changed} OR target.{changed} IS NULL"
            )
        done = builder.conflict_retries(0).execute(align(rows, dataset.schema))
        return Written(done["num_inserted_rows"], done["num_updated_rows"], done["num_deleted_rows"])

    return _written(table, onto, write, "writing")


def delete_keys(table: Table, keys: Sequence[str], *, onto: Table | None = None) -> Written:
    """Delete the rows that have these keys; keys that are not there are no fault. `onto` is as in `upsert`."""
    key = table.key
    assert key is not None, "create_table saw to the key"
    if not keys:
        return Written()
    gone = pa.table({key: pa.array(keys, pa.string())})

    def write(dataset: lance.LanceDataset) -> Written:
        done = dataset.merge_insert(key).when_matched_delete().conflict_retries(0).execute(gone)
        return Written(deleted=done["num_deleted_rows"])

    return _written(table, onto, write, "deleting rows of")


def delete_rows(table: Table, row_ids: Sequence[int]) -> None:
    """Delete rows by the numbers that Lance keeps for them; those that are gone already are no fault."""

    def attempt() -> None:
        dataset = open_dataset(table.uri, None, table.storage)
        dataset.delete(f"_rowid IN ({', '.join(map(str, row_ids))})")

    assert table.dataset.has_stable_row_ids, "or a number may be another row's by now"
    with translated(table.uri, "deleting rows of"):
        with_retries(attempt, attempts=10)


def _written(table: Table, onto: Table | None, write: Callable[[lance.LanceDataset], Written], doing: str) -> Written:
    """Write by key onto a known version, or onto the newest when there is none or it is too old.

    After a conflict Lance would write the same rows again, and a column that the newest version has and they lack would
    keep its value in a row that is replaced. So Lance does not try again: each attempt is made of the newest columns.

    Args:
        write: moves the dataset it is given.
    """

    def attempt() -> tuple[Written, lance.LanceDataset]:
        if at_hand:
            dataset = at_hand.pop()
            try:
                return write(dataset), dataset
            except (OSError, ValueError) as error:  # also because files of that version were cleaned away
                if is_transient(error):
                    raise
        dataset = open_dataset(table.uri, None, table.storage)
        return write(dataset), dataset

    with translated(table.uri, doing):
        at_hand = [copy(onto.dataset)] if onto is not None else []  # others may hold the same object
        written, dataset = with_retries(attempt, attempts=30, base_delay_s=0.02)
    if onto is not None:
        onto.move_to(Table(table.uri, dataset.version, table.storage, dataset))
    return written


def add_columns(table: Table, fields: Sequence[pa.Field]) -> Table:
    """Add the columns a table lacks, all null; nothing but metadata is written.

    Raises:
        SchemaError: a column exists with another type, or no column may be stored under a name.
    """

    def attempt() -> Table:
        newest = open_table(table.uri, storage=table.storage)
        missing = [field for field in fields if field.name not in newest.schema.names]
        for field in fields:
            if field not in missing and newest.schema.field(field.name).type != field.type:
                found = newest.schema.field(field.name).type
                raise SchemaError(f"column {field.name!r} of {redact(table.uri)} is {found}, not {field.type}")
        if not missing:
            return newest
        check_storable(field.name for field in missing)
        try:
            newest.dataset.add_columns(missing)
        except (OSError, ValueError):  # of two that add one column at once, Lance refuses the second in several ways
            seen = open_table(table.uri, storage=table.storage).schema
            if any(field.name not in seen.names or seen.field(field.name).type != field.type for field in missing):
                raise
        return open_table(table.uri, storage=table.storage)

    with translated(table.uri, "adding columns to"):
        return with_retries(attempt, attempts=10)


def close_verb(table: Table, properties: Properties) -> Table:
    """Mark the end of a verb in the history with an empty commit that carries its properties.

    Args:
        table: at the newest version that the caller knows.
    """
    import lance

    made, _ = commit(table, lambda _: lance.LanceOperation.Append([]), properties, is_newest=True)
    return made


def set_table_metadata(table: Table, entries: Mapping[str, str]) -> None:
    """Set entries of the table's own metadata; other keys stay."""

    def attempt() -> None:
        open_dataset(table.uri, None, table.storage).update_metadata(dict(entries))

    with translated(table.uri, "writing metadata of"):
        with_retries(attempt, attempts=10)


def table_metadata(table: Table) -> dict[str, str]:
    """The table's own metadata."""
    with translated(table.uri, "reading"):
        return dict(table.dataset.metadata or {})
