"""Table: a Lance dataset at a location, pinned to one version. Storage verbs only; every other verb is a function."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from clipdata import hints
from clipdata import schema as schemas
from clipdata.arguments import check_offsets
from clipdata.column_names import HIDDEN_COLUMNS, is_readable, quoted
from clipdata.errors import NotFoundError, SchemaError, StorageError, UsageError
from clipdata.lance_io import blobs, conditions
from clipdata.lance_io.cased_names import with_columns_quoted
from clipdata.lance_io.faults import NotUnderstoodError, translated, with_retries
from clipdata.lance_io.misread import told_of
from clipdata.lance_io.named_offsets import named_offsets
from clipdata.lance_io.no_table import require_table
from clipdata.lance_io.notebook_table import NotebookTable
from clipdata.lance_io.opening import open_dataset
from clipdata.lance_io.other_sql import taken_as_text
from clipdata.lance_io.pictures import Pictures, picture_tables, place_columns, places_needed
from clipdata.lance_io.querying import ANSWER_BYTES, answer, answering, check_query
from clipdata.lance_io.selected_rows import without_names
from clipdata.lance_io.tag_files import note_on_tag, settle_tag
from clipdata.lance_io.tag_lock import alone_with_tags
from clipdata.lineage import Lineage
from clipdata.storage import Storage, absolute, is_remote, redact

if TYPE_CHECKING:
    import lance


NEEDED_BY = "clipdata.needed_by"  # in a tag's own metadata


class Table(NotebookTable):
    """A Lance dataset pinned to a version. Cheap to pickle: a copy opens the dataset again by itself.

    Make one with `open_table`; any Lance dataset will do, whoever wrote it. A verb that writes through a handle moves
    it to the version it made; nothing else does. `pinned` gives a handle that no verb moves.
    """

    def __init__(self, uri: str, version: int, storage: Storage, dataset: lance.LanceDataset | None = None) -> None:
        self.uri = uri
        self.version = version
        self.storage = storage
        self._dataset = dataset
        self._pictures: tuple[int, Pictures] | None = None

    def __repr__(self) -> str:
        return f"Table({redact(self.uri)!r}, version={self.version})"

    def __getstate__(self) -> dict[str, Any]:
        return {"uri": self.uri, "version": self.version, "storage": self.storage, "_dataset": None, "_pictures": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    @property
    def dataset(self) -> lance.LanceDataset:
        """The Lance dataset itself, at this version."""
        if self._dataset is None:
            self._dataset = open_dataset(self.uri, self.version, self.storage)
        return self._dataset

    def own_dataset(self) -> lance.LanceDataset:
        """The same, for the caller alone: what makes tags or reads commits fails on one that another thread reads."""
        return self.dataset.checkout_version(self.version)

    @property
    def schema(self) -> pa.Schema:
        """Arrow schema, with the fields' metadata."""
        return self.dataset.schema

    @property
    def pictures(self) -> Pictures:
        """What fills the rows of this version with pictures that stand in other tables."""
        if self._pictures is None or self._pictures[0] != self.version:
            tables = picture_tables(self.dataset.metadata or {})
            before = self._pictures[1] if self._pictures else None
            self._pictures = self.version, Pictures(self.uri, self.storage, tables, before)
        return self._pictures[1]

    @property
    def key(self) -> str | None:
        """Name of the key column, or None for a table that declares none."""
        return schemas.key_of(self.schema)

    @property
    def num_rows(self) -> int:
        """Number of live rows."""
        return self.count_rows()

    def count_rows(self, where: str | None = None) -> int:
        """Count the rows that meet a SQL condition.

        Raises:
            SchemaError: the condition names a column that does not exist, or is not SQL.
        """
        if where is not None:
            self._check_readable([])
            if (named := named_offsets(self, where)) is not None:
                return len(named)
        with conditions.asked(self, where, "counting rows of") as asked:
            return self.dataset.count_rows(asked)

    def count_nulls(self, column: str) -> int | None:
        """Count the rows without a value; None for a column of bytes, which would have to be read for it.

        None too for a column that Lance cannot read: another tool may give any name to one.
        """
        self.require([column], verb="count")
        kind = self.schema.field(column).type
        if schemas.is_binary(kind) or not is_readable(column) or self._hides_rows():
            return None
        return self.count_rows(f"{quoted(column)} IS NULL")

    def scan(
        self,
        columns: Sequence[str] | None = None,
        *,
        where: str | None = None,
        batch_rows: int = 1024,
        limit: int | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """Yield the rows in the table's own order, which is the same every time.

        Pictures that stand in another table are filled in; of files, references say where they are.

        Args:
            columns: names, all by default but those that say where pictures are; `_rowid` and `_rowaddr` may be named
                too.
            where: SQL condition.
            batch_rows: most rows in a batch.
            limit: stop after this many rows.
        """
        with conditions.explained(self, where), translated(self.uri, "reading", said=[where]):
            yield from self.reader(columns, where=where, batch_rows=batch_rows, limit=limit)

    def reader(
        self,
        columns: Sequence[str] | None = None,
        *,
        where: str | None = None,
        batch_rows: int = 1024,
        limit: int | None = None,
    ) -> pa.RecordBatchReader:
        """The same rows as `scan`, as an Arrow reader that knows its schema before the first batch."""
        self._check_readable(self.schema.names if columns is None else columns)
        self.require([name for name in columns or () if name not in HIDDEN_COLUMNS], verb="read")
        places = place_columns(self.schema)
        wanted = list(columns) if columns is not None else [name for name in self.schema.names if name not in places]
        needed = places_needed(self.schema, wanted)
        with conditions.asked(self, where, "reading") as asked:
            scanner = self.dataset.scanner(
                columns=None if columns is None and not places else [*wanted, *needed],
                filter=asked,
                batch_size=batch_rows,
                limit=limit,
                scan_in_order=True,
                blob_handling="all_binary",
            )
            return self.pictures.reader(scanner.to_reader(), wanted) if self._refers(wanted) else scanner.to_reader()

    def to_table(
        self, columns: Sequence[str] | None = None, *, where: str | None = None, limit: int | None = None
    ) -> pa.Table:
        """Read rows into memory, in the table's own order; see `scan`."""
        with conditions.explained(self, where), translated(self.uri, "reading", said=[where]):
            return self.reader(columns, where=where, limit=limit).read_all()

    def offsets(self, where: str | None = None) -> np.ndarray:
        """Positions of the rows that meet a condition, among the live rows of this version.

        Returns:
            int64 [num_rows], ascending; what `take` accepts.
        """
        if where is None:
            return np.arange(self.num_rows, dtype=np.int64)
        self._check_readable([])
        if (named := named_offsets(self, where)) is not None:
            return named
        with conditions.asked(self, where, "reading") as asked:
            found = self.dataset.scanner(columns=["_rowoffset"], filter=asked).to_table()
        return np.sort(found.column("_rowoffset").to_numpy().astype(np.int64))

    def offset_batches(self, where: str, *, batch_rows: int = 65_536) -> Iterator[np.ndarray]:
        """Yield the positions that `offsets` gives, int64, a batch at a time and in any order."""
        self._check_readable([])
        with conditions.asked(self, where, "reading") as asked:
            scanner = self.dataset.scanner(columns=["_rowoffset"], filter=asked, batch_size=batch_rows)
            for batch in scanner.to_batches():
                yield batch.column("_rowoffset").to_numpy().astype(np.int64)

    def take(self, offsets: np.ndarray, columns: Sequence[str], *, filled: bool = True) -> pa.Table:
        """Read rows at positions among the live rows, in the order given.

        Args:
            offsets: int64 [B].
            columns: names.
            filled: with pictures that stand in another table; False leaves nulls in their places.

        Raises:
            UsageError: an offset is no whole number, or the table has no such row.
        """
        self._check_readable(columns)
        self.require([name for name in columns if name not in HIDDEN_COLUMNS], verb="read")
        names = [*columns, *(places_needed(self.schema, columns) if filled else ())]
        with translated(self.uri, "reading"):
            found = blobs.take(self.dataset, check_offsets(offsets, self.num_rows, "take"), names)
        return self._filled(found, columns) if filled else found

    def take_ids(self, ids: np.ndarray, columns: Sequence[str]) -> pa.Table:
        """Read rows by Lance's own numbers of them, in the order given.

        Args:
            ids: uint64 [B], as the hidden column `_rowid` holds them at this version.
            columns: names.

        Raises:
            StorageError: a row is gone.
        """
        names = [*columns, *places_needed(self.schema, columns)]
        with translated(self.uri, "reading"):
            found = blobs.take_ids(self.dataset, ids, names)
        if found.num_rows != len(ids):
            raise StorageError(
                f"{redact(self.uri)} holds {found.num_rows} of {len(ids)} rows at version {self.version}"
            )
        return self._filled(found, columns)

    def require(self, columns: Sequence[str], *, verb: str, hint: str | None = None) -> None:
        """Check that columns exist; see `clipdata.schema.require_columns`."""
        schemas.require_columns(self.schema, columns, verb=verb, where=redact(self.uri), hint=hint)

    def lineage(self, column: str) -> Lineage | None:
        """What made a column, or None when no map step did."""
        self.require([column], verb="lineage")
        return Lineage.of(self.schema.field(column))

    def pinned(self, version: int | None = None) -> Table:
        """Another handle to the table at this version (or another one), which no verb moves but those it is given to.

        Raises:
            NotFoundError: there is no such version.
        """
        if version is None or version == self.version:
            same = Table(self.uri, self.version, self.storage, self._dataset)
            same._pictures = self._pictures
            return same
        return open_table(self.uri, version=version, storage=self.storage)

    def latest(self) -> Table:
        """The newest version of the same table."""
        return open_table(self.uri, storage=self.storage)

    def move_to(self, other: Table) -> None:
        """Pin this handle to another version of the same table: what a verb does that wrote through the handle."""
        assert other.uri == self.uri, "a handle stays with its table"
        self.version, self._dataset = other.version, other._dataset

    def tag(self, name: str, *, needed_by: str | None = None) -> None:
        """Name this version so that no clean-up can remove it. Tagging again under the same name changes nothing.

        Args:
            name: of the tag.
            needed_by: location of what needs the version, which is noted with the tag.

        Raises:
            StorageError: the tag exists and names another version.
        """
        tags = self.own_dataset().tags

        def attempt() -> None:
            present = tags.list().get(name)
            if present is None:
                try:
                    tags.create(name, self.version)
                    return
                except (OSError, ValueError):  # of two that make one tag at once, Lance refuses the second
                    present = tags.list().get(name)
                    if present is None:
                        raise
            if present["version"] != self.version:
                found = present["version"]
                raise StorageError(f"tag {name!r} of {redact(self.uri)} names version {found}, not {self.version}")

        with translated(self.uri, "tagging"), alone_with_tags(self.uri):
            with_retries(attempt)
            if needed_by is not None:
                with_retries(lambda: note_on_tag(self, name, {NEEDED_BY: redact(needed_by)}))
            settle_tag(self, name)

    def query(self, sql: str, *, limit: int | None = None, max_bytes: int = ANSWER_BYTES) -> pa.Table:
        """Answer one SQL SELECT (or WITH … SELECT); the table is called `dataset`, and nothing else is reached.

        It sees the columns as they are stored: of a picture that stands in another table, a null and where it is.

        Args:
            sql: the statement.
            limit: stop reading the answer after this many rows.
            max_bytes: most that the answer may take in memory.

        Raises:
            UsageError: it is another statement, several, or its answer is too large to hold.
            SchemaError: the statement is not valid for this table.
        """
        check_query(sql, limit, max_bytes)
        self._check_readable([])
        with self._asked(sql) as plain:
            return answer(self.dataset, plain, limit, max_bytes)

    @contextmanager
    def answering(self, sql: str) -> Iterator[tuple[pa.Schema, Iterator[pa.RecordBatch]]]:
        """The same answer, of whatever size: its columns, and its rows batch by batch; see `query`."""
        check_query(sql, None, ANSWER_BYTES)
        self._check_readable([])
        with self._asked(sql) as plain, answering(self.dataset, plain) as answered:
            yield answered

    @contextmanager
    def _asked(self, sql: str) -> Iterator[str]:
        """A SELECT as Lance takes it; its errors come out in clipdata's words."""
        if taken := taken_as_text(sql, self.schema):
            raise SchemaError(f"query: {taken[0]}", hint=taken[1])
        plain = without_names(self, with_columns_quoted(sql, self.schema.names))
        try:
            with translated(self.uri, "querying", said=[plain, sql]):
                yield plain
        except NotUnderstoodError as error:
            said = told_of(error, [name for name in self.schema.names if is_readable(name)])
            raise SchemaError(f"query: the statement is not valid: {said.what}", hint=said.hint) from error

    def _refers(self, columns: Sequence[str]) -> bool:
        """Whether rows with these columns may have their picture in another table."""
        schema = self.schema
        return len(place_columns(schema)) == 2 and schemas.image_column(schema) in columns

    def _filled(self, rows: pa.Table, columns: Sequence[str]) -> pa.Table:
        return self.pictures.filled(rows).select(list(columns)) if self._refers(columns) else rows

    def _hides_rows(self) -> bool:
        return not HIDDEN_COLUMNS.isdisjoint(self.schema.names)

    def _check_readable(self, columns: Sequence[str]) -> None:
        """Refuse what Lance would answer with a panic: columns of names that it takes when they are made, not after.

        Raises:
            SchemaError: names the columns, and what can be done.
        """
        uri = redact(self.uri)
        if self._hides_rows():
            names = sorted(HIDDEN_COLUMNS.intersection(self.schema.names))
            raise SchemaError(
                f"{uri} has a column {', '.join(names)}, which hides Lance's own, so that none of its rows can be read",
                hint=f"remove it: {hints.drop_columns(self.uri, names)}",
            )
        broken = [name for name in columns if not is_readable(name) and name not in HIDDEN_COLUMNS]
        if broken:
            others = [name for name in self.schema.names if is_readable(name)]
            raise SchemaError(
                f"{uri}: Lance cannot read column {', '.join(map(repr, broken))}, because of its name",
                hint=f"name the columns to read: {', '.join(others)}",
            )


def open_table(
    uri: str | os.PathLike[str], *, version: int | str | None = None, storage: Storage | None = None
) -> Table:
    """Open a table at its newest version, at a version number, or at a tag.

    Raises:
        NotFoundError: there is no table there, or not that version.
        CredentialsError: the store refused access, or a folder above it does.
    """
    location, settings = absolute(uri), storage or Storage()
    if not is_remote(location):
        require_table(location, uri)
    dataset = open_dataset(location, version, settings)
    return Table(location, dataset.version, settings, dataset)


AnyTable = Table | str | os.PathLike[str]
"""A table, or where one is: what every verb takes."""


def as_table(table: AnyTable, *, storage: Storage | None = None) -> Table:
    """The table that a verb was given, or the one at the location it was given.

    Args:
        table: a table, which is returned as it is, or a location, which is opened at its newest version.

    Raises:
        NotFoundError: there is no table there.
        UsageError: it is neither.
    """
    if isinstance(table, Table):
        return table
    if not isinstance(table, (str, os.PathLike)):
        raise UsageError(
            f"a {type(table).__name__} is no table; expected a Table, or its path or URL",
            hint='open one with clipdata.open_table("contest.lance")',
        )
    return open_table(table, storage=storage)


def as_place(table: AnyTable) -> str:
    """Where the table is that a verb was given, absolute; it need not be there, or be one that can be opened.

    Raises:
        UsageError: it is neither a table nor a location.
    """
    if isinstance(table, (str, os.PathLike)):
        return absolute(table)
    return as_table(table).uri


def exists(uri: str | os.PathLike[str], *, storage: Storage | None = None) -> bool:
    """Tell whether there is a table at a location."""
    try:
        open_table(uri, storage=storage)
    except NotFoundError:
        return False
    return True
