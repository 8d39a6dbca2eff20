"""The target of an ingest: a table, what lies beside it, and the counts of what was written and refused.

It knows how tables are made and closed and what is kept beside them, and nothing of where rows come from.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress

import pyarrow as pa

from clipdata.errors import NotFoundError
from clipdata.lance_io import rows
from clipdata.lance_io.dropped_columns import dropped_columns
from clipdata.lance_io.history import Properties
from clipdata.lance_io.inserting import write_new
from clipdata.lance_io.rows import Written
from clipdata.lance_io.table import Table, open_table
from clipdata.storage import Storage, absolute, is_remote
from ingest.updating.admission import Admission
from ingest.updating.batches import is_small
from ingest.updating.deleted import Deleted
from ingest.updating.digests import canonical, digest
from ingest.updating.newcomers import Newcomers
from ingest.updating.receiver import AreNew, Receiver
from ingest.updating.rejects import Rejects
from ingest.updating.source import Reject, Source
from ingest.updating.taken import SeenRow, Taken, TakenFile


class Target(Receiver):
    """A table that is brought up to date.

    Args:
        into: its location.
        storage: how to reach it.
        source: of the rows.
        max_rejects: most refusals: a number, or below 1 a share of what is looked at; None for no bound but that of a
            source of nothing else.

    Attributes:
        table: None until there is one.
        start: the table as it was when the run began; None where there was none.

    Raises:
        SchemaError: the table has another key, or columns of other types.
    """

    def __init__(
        self, into: str | os.PathLike[str], storage: Storage, source: Source, *, max_rejects: float | None
    ) -> None:
        uri, self.storage = absolute(into), storage
        self.options = digest(canonical(source.options))[:16]
        self._making: Future[Table] | None = None
        with ThreadPoolExecutor(1) as pool:  # each is several requests, where the table is on a bucket
            rejects = pool.submit(Rejects, uri, storage, options=self.options)
            table = _opened(uri, storage)
            self.rejects = rejects.result()
        schema = source.schema()
        if (source.grain == "file" or source.place == "source") and "source" not in schema.names:
            schema = schema.append(pa.field("source", pa.string()))
        dropped = dropped_columns(table) if table is not None else ()
        super().__init__(
            uri,
            source.key,
            table=table,
            admission=Admission(schema, table and table.schema, uri, dropped),
            deleted=Deleted(table),
            max_rejects=max_rejects,
        )
        self.taken = Taken(uri, storage, scope=source.origin)
        self.first_version = table.version if table else 0
        self.start = table.pinned() if table else None
        self._newcomers: Newcomers | None = None

    @contextmanager
    def making(self) -> Iterator[None]:
        """Have an empty table made, where there is none, while the block reads what goes into it.

        Raises:
            SchemaError, UsageError: see `clipdata.lance_io.rows.create_table`.
        """
        with ThreadPoolExecutor(1) as pool:
            if self.table is None:
                self._making = pool.submit(
                    rows.create_table, self.uri, self.schema, storage=self.storage, is_absent=True
                )
            if not is_remote(self.uri):
                self.make()
            yield
            self.make()

    def make(self) -> Table:
        """The table, which is there from now on."""
        if self.table is None:
            assert self._making is not None, "what writes to a table that is not there has it made"
            self.table = self._making.result()
            self._newest = self.table.pinned()
            self.first_version = self.table.version
        return self.table

    def upsert(self, unit: pa.Table, *, changed: str | None, are_new: AreNew) -> None:
        """Write rows: those that replace others by key, new ones as files, since a join leaves rows in any order.

        The files go in at once, but those of a unit that is small beside the table some seconds of them together.
        """
        is_new = are_new(unit.column(self.key).to_pylist())
        new, others = unit.filter(pa.array(is_new)), unit.filter(pa.array(~is_new))
        self.by_key(others, changed=changed)
        if not new.num_rows:
            return
        self.with_columns()
        if self._newcomers is None:
            self._newcomers = Newcomers(self._at_hand(), self.start)
        are_alone = not self._newcomers.num_held
        self._newcomers.hold([write_new(self._at_hand(), new)])
        if self._newcomers.is_due or not is_small(unit.num_rows, self.table_rows()):
            self.enter(self._newcomers, are_fresh=are_alone)

    def put_in(self) -> None:
        """Put in the new rows that are written, by one commit."""
        if self._newcomers is not None:
            self.enter(self._newcomers)

    def enter(self, newcomers: Newcomers, *, are_fresh: bool = False) -> None:
        """Put in new rows, and count them; where their key is there by now, they are compared with what has it.

        Args:
            are_fresh: all of them were written a moment ago.
        """
        changed = "etag" if "etag" in self.schema.names else None

        def by_key(rows_: pa.Table) -> None:
            self.catch_up()
            self.by_key(rows_, changed=changed)

        newcomers.catch_up(self._at_hand())
        num_inserted = newcomers.put_in(by_key, are_fresh=are_fresh)  # which counts what it writes by key
        self.written += Written(inserted=num_inserted)
        if newcomers.version > self._at_hand().version:
            self._at_hand().move_to(newcomers.table)

    def keep_reject(self, reject: Reject, scope: str) -> None:
        """Write a refusal down, some time."""
        self.rejects.add(reject, scope)

    def keep_files(self, files: Iterable[TakenFile]) -> None:
        """Write down that files were taken in."""
        self.taken.add_files(files)

    def keep_seen(self, seen: Iterable[SeenRow]) -> None:
        """Write down that contents were compared."""
        self.taken.add_seen(seen)

    def flush(self) -> None:
        """Write down what was refused since the last time."""
        self.rejects.flush()

    def catch_up(self) -> None:
        """Go to the table's newest version, after others wrote to it."""
        self.make()
        self._at_hand().move_to(self._at_hand().latest())

    def close(self, properties: Properties) -> None:
        """Mark the end of a verb that wrote something, and move the table there."""
        self.make().move_to(rows.close_verb(self._at_hand(), properties))

    def check(self, num_before: int) -> None:
        """Hold the refusals of this run, and those of before that stand, to the bound that was given.

        Raises:
            TooManyRejectsError: there are more.
        """
        total = self.refused.total() + num_before
        num_rows = self.table.num_rows if self.table is not None else 0  # in every run alike, whatever it read
        if self._max_rejects is not None and total > self._limit(total + num_rows, default=None):
            raise self._too_many(total, "the rows that could be used were written")


def _opened(uri: str, storage: Storage) -> Table | None:
    with suppress(NotFoundError):  # then it is made when its rows are there
        return open_table(uri, storage=storage)
    return None
