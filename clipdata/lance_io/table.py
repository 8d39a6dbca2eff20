"""Table: a Lance dataset at a location, pinned to one version. Storage verbs only; every other verb is a function."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from clipdata import schema as schemas
from clipdata.errors import NotFoundError, StorageError
from clipdata.lance_io.faults import translated, with_retries
from clipdata.lineage import Lineage
from clipdata.storage import Storage, absolute, is_remote, redact

if TYPE_CHECKING:
    import lance


class Table:
    """A Lance dataset pinned to a version. Cheap to pickle: a copy opens the dataset again by itself.

    Make one with `open_table`; any Lance dataset will do, whoever wrote it. A verb that writes through a handle moves
    it to the version it made; nothing else does.
    """

    def __init__(self, uri: str, version: int, storage: Storage, dataset: lance.LanceDataset | None = None) -> None:
        self.uri = uri
        self.version = version
        self.storage = storage
        self._dataset = dataset

    def __repr__(self) -> str:
        return f"Table({redact(self.uri)!r}, version={self.version})"

    def __getstate__(self) -> dict[str, Any]:
        return {"uri": self.uri, "version": self.version, "storage": self.storage, "_dataset": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    @property
    def dataset(self) -> lance.LanceDataset:
        """The Lance dataset itself, at this version."""
        if self._dataset is None:
            self._dataset = _open_dataset(self.uri, self.version, self.storage)
        return self._dataset

    @property
    def schema(self) -> pa.Schema:
        """Arrow schema, with the fields' metadata."""
        return self.dataset.schema

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
        with translated(self.uri, "counting rows of"):
            return self.dataset.count_rows(where)

    def count_nulls(self, column: str) -> int | None:
        """Count the rows without a value; None for a column of bytes, which would have to be read for it."""
        self.require([column], verb="count")
        if schemas.is_binary(self.schema.field(column).type):
            return None
        return self.count_rows(f"`{column}` IS NULL")

    def scan(
        self,
        columns: Sequence[str] | None = None,
        *,
        where: str | None = None,
        batch_rows: int = 1024,
        limit: int | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """Yield the rows in the table's own order, which is the same every time.

        Args:
            columns: names, all by default; `_rowid` and `_rowaddr` may be named too.
            where: SQL condition.
            batch_rows: most rows in a batch.
            limit: stop after this many rows.
        """
        with translated(self.uri, "reading"):
            scanner = self.dataset.scanner(
                columns=list(columns) if columns is not None else None,
                filter=where,
                batch_size=batch_rows,
                limit=limit,
                scan_in_order=True,
                blob_handling="all_binary",
            )
            yield from scanner.to_batches()

    def to_table(self, columns: Sequence[str] | None = None, *, where: str | None = None) -> pa.Table:
        """Read rows into memory; see `scan`."""
        batches = list(self.scan(columns, where=where))
        if batches:
            return pa.Table.from_batches(batches)
        names = self.schema.names if columns is None else columns
        return pa.schema([self.schema.field(name) for name in names]).empty_table()

    def offsets(self, where: str | None = None) -> np.ndarray:
        """Positions of the rows that meet a condition, among the live rows of this version.

        Returns:
            int64 [num_rows], ascending; what `take` accepts.
        """
        if where is None:
            return np.arange(self.num_rows, dtype=np.int64)
        with translated(self.uri, "reading"):
            found = self.dataset.scanner(columns=["_rowoffset"], filter=where).to_table()
        return np.sort(found.column("_rowoffset").to_numpy().astype(np.int64))

    def take(self, offsets: np.ndarray, columns: Sequence[str]) -> pa.Table:
        """Read rows at positions among the live rows, in the order given.

        Args:
            offsets: int64 [B].
            columns: names.
        """
        with translated(self.uri, "reading"):
            return self.dataset.take(offsets, columns=list(columns))

    def require(self, columns: Sequence[str], *, verb: str, hint: str | None = None) -> None:
        """Check that columns exist; see `clipdata.schema.require_columns`."""
        schemas.require_columns(self.schema, columns, verb=verb, where=redact(self.uri), hint=hint)

    def lineage(self, column: str) -> Lineage | None:
        """What made a column, or None when no map step did."""
        self.require([column], verb="lineage")
        return Lineage.of(self.schema.field(column))

    def latest(self) -> Table:
        """The newest version of the same table."""
        return open_table(self.uri, storage=self.storage)

    def move_to(self, other: Table) -> None:
        """Pin this handle to another version of the same table: what a verb does that wrote through the handle."""
        assert other.uri == self.uri, "a handle stays with its table"
        self.version, self._dataset = other.version, other._dataset

    def tag(self, name: str) -> None:
        """Name this version so that no clean-up can remove it. Tagging again under the same name changes nothing.

        Raises:
            StorageError: the tag exists and names another version.
        """
        tags = self.dataset.tags

        def attempt() -> None:
            present = tags.list().get(name)
            if present is None:
                tags.create(name, self.version)
            elif present["version"] != self.version:
                found = present["version"]
                raise StorageError(f"tag {name!r} of {redact(self.uri)} names version {found}, not {self.version}")

        with translated(self.uri, "tagging"):
            with_retries(attempt)

    def query(self, sql: str) -> pa.Table:
        """Answer a SQL SELECT; the table is called `dataset`.

        Raises:
            SchemaError: the statement is not valid for this table.
        """
        with translated(self.uri, "querying"):
            batches = self.dataset.sql(sql).build().to_batch_records()
        return pa.Table.from_batches(batches) if batches else pa.table({})


def open_table(
    uri: str | os.PathLike[str], *, version: int | str | None = None, storage: Storage | None = None
) -> Table:
    """Open a table at its newest version, at a version number, or at a tag.

    Raises:
        NotFoundError: there is no table there, or not that version.
        CredentialsError: the store refused access.
    """
    location, settings = absolute(uri), storage or Storage()
    if not is_remote(location) and not os.path.isdir(location):
        raise NotFoundError(
            f"there is no table at {location}", hint=f"make one: clipdata ingest images DIR --into {uri}"
        )
    dataset = _open_dataset(location, version, settings)
    return Table(location, dataset.version, settings, dataset)


def exists(uri: str | os.PathLike[str], *, storage: Storage | None = None) -> bool:
    """Tell whether there is a table at a location."""
    try:
        open_table(uri, storage=storage)
    except NotFoundError:
        return False
    return True


def _open_dataset(uri: str, version: int | str | None, storage: Storage) -> lance.LanceDataset:
    import lance

    def attempt() -> lance.LanceDataset:
        return lance.dataset(uri, version=version, storage_options=storage.lance_options(uri) or None)

    if version is not None:
        try:
            with translated(uri, "opening"):
                return with_retries(attempt)
        except NotFoundError as error:
            newest = _open_dataset(uri, None, storage).version
            found = f"there is no version {version!r} of {redact(uri)}; the newest is {newest}"
            raise NotFoundError(found, hint=f"clipdata log {redact(uri)}") from error
    with translated(uri, "opening"):
        return with_retries(attempt)
