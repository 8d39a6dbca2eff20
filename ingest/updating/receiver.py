"""What rows of a source go through on their way into a table, and what is counted of them, whoever reads them.

The job's own process has a `Target`; a worker on another machine has a `Portion`, and gives back what a target would
have kept beside the table. It knows how rows go in, and nothing of where they come from.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import pyarrow as pa

from clipdata.errors import TooManyRejectsError
from clipdata.lance_io import rows
from clipdata.lance_io.rows import Written
from clipdata.lance_io.table import Table
from clipdata.plurals import counted
from clipdata.progress import Counter
from clipdata.storage import redact
from ingest.updating.admission import Admission
from ingest.updating.deleted import Deleted
from ingest.updating.source import Reject
from ingest.updating.taken import SeenRow, TakenFile

# A source of nothing but refusals is stopped: a few KB can hold millions of empty rows.
MANY_REJECTS = 100_000
_MOST_REFUSED = 0.95

# Tells of keys whether the table had no row of them when the run was planned; bool [n].
AreNew: TypeAlias = Callable[[Sequence[str]], np.ndarray]


class Receiver(ABC):
    """Takes rows into a table.

    Args:
        uri: of the table.
        key: column of the rows' keys.
        table: None until there is one.
        admission: of the source's columns.
        deleted: rows that are not to come back.
        max_rejects: see `ingest.updating.job.ingest`.

    Attributes:
        num_rows: that could be used.
        num_gone: items that were listed, and gone when they were to be read.
        read: places of the files that were read.
    """

    def __init__(
        self,
        uri: str,
        key: str,
        *,
        table: Table | None,
        admission: Admission,
        deleted: Deleted,
        max_rejects: float | None,
    ) -> None:
        self.uri, self.key, self.table = uri, key, table
        self.admission, self.deleted = admission, deleted
        self._newest = table and table.pinned()  # moves with what is written; the other stays
        self.written, self.num_rows, self.num_gone = Written(), 0, 0
        self.read: set[str] = set()
        self.refused: Tally[str] = Tally()
        self.examples: dict[str, str] = {}  # the first of each reason
        self._max_rejects = max_rejects

    @property
    def schema(self) -> pa.Schema:
        """Columns of the source's rows, as the table has them."""
        return self.admission.schema

    def make(self) -> Table:
        """The table, which is there from now on."""
        assert self.table is not None, "who makes tables says how"
        return self.table

    def table_rows(self) -> int:
        """Rows of the table as far as this process knows; 0 while there is none."""
        return self._newest.num_rows if self._newest is not None else 0

    @abstractmethod
    def upsert(self, unit: pa.Table, *, changed: str | None, are_new: AreNew) -> None:
        """Have rows written: in the end they are what `by_key` would have written."""

    def put_in(self) -> None:  # noqa: B027 - most put in what they are given at once
        """See to it that all rows that were given are in the table, where that is done here."""

    def by_key(self, unit: pa.Table, *, changed: str | None) -> None:
        """Write rows by key; see `clipdata.lance_io.rows.upsert`."""
        if unit.num_rows:
            table = self.with_columns()
            self.written += rows.upsert(table, unit, changed=changed, onto=self._at_hand())

    def with_columns(self) -> Table:
        """The table with all columns of the rows; so has the version that is at hand, which rows are made for."""
        table = self.make()
        version = table.version
        self.admission.add_columns(table)
        if table.version != version:
            self._at_hand().move_to(table)
        return table

    def delete(self, keys: list[str]) -> None:
        """Delete rows."""
        self.written += rows.delete_keys(self.make(), keys, onto=self._at_hand())

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
        self.keep_reject(reject, scope)
        if counter is not None:
            counter.refuse(reject.reason)
        total = self.refused.total()
        looked_at = total + self.num_rows
        if total > MANY_REJECTS and total % 1024 == 0 and total > self._limit(looked_at, default=_MOST_REFUSED):
            self.flush()
            raise self._too_many(total, "stopped there")

    @abstractmethod
    def keep_reject(self, reject: Reject, scope: str) -> None:
        """Have a refusal kept beside the table."""

    @abstractmethod
    def keep_files(self, files: Iterable[TakenFile]) -> None:
        """Have it kept beside the table that files were taken in."""

    @abstractmethod
    def keep_seen(self, seen: Iterable[SeenRow]) -> None:
        """Have it kept beside the table that contents were compared."""

    @abstractmethod
    def flush(self) -> None:
        """Write what was refused since the last time, where it is written here."""

    def _at_hand(self) -> Table:
        assert self._newest is not None, "the table is there"
        return self._newest

    def _limit(self, num: int, *, default: float | None) -> float:
        limit = self._max_rejects if self._max_rejects is not None else default
        assert limit is not None, "there is a default wherever none is given"
        return limit * num if limit < 1 else limit

    def _too_many(self, total: int, what: str) -> TooManyRejectsError:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in self.refused.most_common(3)) or "earlier"
        allowed = self._max_rejects if self._max_rejects is not None else _MOST_REFUSED
        bound = f"{allowed:.0%} of all rows" if allowed < 1 else f"the {allowed:,.0f} allowed"
        return TooManyRejectsError(
            f"{counted(total, 'row was', 'rows were')} refused ({reasons}), more than {bound}; {what}",
            hint=f"clipdata rejects {redact(self.uri)} lists them; --max-rejects N allows more",
        )
