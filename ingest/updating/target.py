"""The target of an ingest: a table, what lies beside it, and the counts of what was written and refused.

It knows how rows go in and refusals are kept, and nothing of where they come from.
"""

from __future__ import annotations

import os
from collections import Counter as Tally
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress

import pyarrow as pa

from clipdata.errors import NotFoundError, TooManyRejectsError
from clipdata.lance_io import rows
from clipdata.lance_io.dropped_columns import dropped_columns
from clipdata.lance_io.history import Properties
from clipdata.lance_io.rows import Written
from clipdata.lance_io.table import Table, open_table
from clipdata.progress import Counter
from clipdata.storage import Storage, absolute, is_remote, redact
from ingest.updating.admission import Admission
from ingest.updating.deleted import Deleted
from ingest.updating.digests import canonical, digest
from ingest.updating.rejects import Rejects
from ingest.updating.source import Reject, Source
from ingest.updating.taken import Taken

# A source of nothing but refusals is stopped: a few KB can hold millions of empty rows.
MANY_REJECTS = 100_000
_MOST_REFUSED = 0.95


class Target:
    """A table that is brought up to date.

    Args:
        into: its location.
        storage: how to reach it.
        source: of the rows.
        max_rejects: most refusals: a number, or below 1 a share of what is looked at; None for no bound but that of a
            source of nothing else.

    Attributes:
        table: None until there is one.

    Raises:
        SchemaError: the table has another key, or columns of other types.
    """

    def __init__(
        self, into: str | os.PathLike[str], storage: Storage, source: Source, *, max_rejects: float | None
    ) -> None:
        self.uri, self.storage, self.key = absolute(into), storage, source.key
        self.options = digest(canonical(source.options))[:16]
        self._making: Future[Table] | None = None
        with ThreadPoolExecutor(1) as pool:  # each is several requests, where the table is on a bucket
            rejects = pool.submit(Rejects, self.uri, storage, options=self.options)
            self.table = self._opened()
            self.rejects = rejects.result()
        self._newest = self.table and self.table.pinned()  # moves with what is written; the other stays
        schema = source.schema()
        if (source.grain == "file" or source.place == "source") and "source" not in schema.names:
            schema = schema.append(pa.field("source", pa.string()))
        dropped = dropped_columns(self.table) if self.table is not None else ()
        self.admission = Admission(schema, self.table and self.table.schema, self.uri, dropped)
        self.deleted = Deleted(self.table)
        self.taken = Taken(self.uri, storage, scope=source.origin)
        self.first_version = self.table.version if self.table else 0
        self.written, self.num_rows = Written(), 0
        self.refused: Tally[str] = Tally()
        self.examples: dict[str, str] = {}  # the first of each reason
        self.num_gone = 0
        self._max_rejects = max_rejects

    @property
    def schema(self) -> pa.Schema:
        """Columns of the source's rows, as the table has them."""
        return self.admission.schema

    def _opened(self) -> Table | None:
        with suppress(NotFoundError):  # then it is made when its rows are there
            return open_table(self.uri, storage=self.storage)
        return None

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

    def upsert(self, unit: pa.Table, *, changed: str | None) -> None:
        """Write rows by key; see `clipdata.lance_io.rows.upsert`."""
        if unit.num_rows:
            table = self.make()
            version = table.version
            self.admission.add_columns(table)
            if table.version != version:
                self._at_hand().move_to(table)
            self.written += rows.upsert(table, unit, changed=changed, onto=self._at_hand())

    def delete(self, keys: list[str]) -> None:
        """Delete rows."""
        self.written += rows.delete_keys(self.make(), keys, onto=self._at_hand())

    def close(self, properties: Properties) -> None:
        """Mark the end of a verb that wrote something, and move the table there."""
        self.make().move_to(rows.close_verb(self._at_hand(), properties))

    def table_rows(self) -> int:
        """Rows of the table as far as this run knows; 0 while there is none."""
        return self._newest.num_rows if self._newest is not None else 0

    def _at_hand(self) -> Table:
        assert self._newest is not None, "the table is there"
        return self._newest

    def distinct(self, unit: pa.Table, scope_of: Mapping[str, str] | str) -> pa.Table:
        """Refuse the second row of a key within a unit: which one would win must not be chance.

        Args:
            scope_of: of all rows, or of each by its column `source`.
        """
        keys = unit.column(self.key).to_pylist()
        if len(set(keys)) == len(keys):
            return unit
        seen: set[str] = set()
        keep = [key not in seen and not seen.add(key) for key in keys]  # type: ignore[func-returns-value]
        sources = unit.column("source").to_pylist() if "source" in unit.schema.names else [""] * len(keys)
        for key, source, kept in zip(keys, sources, keep, strict=True):
            if not kept:
                scope = scope_of if isinstance(scope_of, str) else scope_of[source]
                self.refuse(Reject(key, "", "duplicate_key", "the same key again in one source"), scope)
        return unit.filter(pa.array(keep))

    def refuse(self, reject: Reject, scope: str, counter: Counter | None = None) -> None:
        """Count and keep a refusal.

        Raises:
            TooManyRejectsError: so much is refused that going on makes no sense.
        """
        self.refused[reject.reason] += 1
        self.examples.setdefault(reject.reason, reject.key)
        self.rejects.add(reject, scope)
        if counter is not None:
            counter.refuse(reject.reason)
        total = self.refused.total()
        looked_at = total + self.num_rows
        if total > MANY_REJECTS and total % 1024 == 0 and total > self._limit(looked_at, default=_MOST_REFUSED):
            self.rejects.flush()
            raise self._too_many(total, "stopped there")

    def check(self, num_before: int) -> None:
        """Hold the refusals of this run, and those of before that stand, to the bound that was given.

        Raises:
            TooManyRejectsError: there are more.
        """
        total = self.refused.total() + num_before
        num_rows = self.table.num_rows if self.table is not None else 0  # in every run alike, whatever it read
        if self._max_rejects is not None and total > self._limit(total + num_rows, default=None):
            raise self._too_many(total, "the rows that could be used were written")

    def _limit(self, num: int, *, default: float | None) -> float:
        limit = self._max_rejects if self._max_rejects is not None else default
        assert limit is not None, "there is a default wherever none is given"
        return limit * num if limit < 1 else limit

    def _too_many(self, total: int, what: str) -> TooManyRejectsError:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in self.refused.most_common(3)) or "earlier"
        allowed = self._max_rejects if self._max_rejects is not None else _MOST_REFUSED
        bound = f"{allowed:.0%} of all rows" if allowed < 1 else f"the {allowed:,.0f} allowed"
        return TooManyRejectsError(
            f"{total:,} rows were refused ({reasons}), more than {bound}; {what}",
            hint=f"clipdata rejects {redact(self.uri)} lists them; --max-rejects N allows more",
        )
