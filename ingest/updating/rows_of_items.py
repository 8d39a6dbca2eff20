"""Rows of items: a source whose items are one row each is compared with the table, and what is new is taken in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from clipdata.lance_io.table import Table
from clipdata.progress import Counter
from ingest.updating.digest_set import KnownRows
from ingest.updating.item_rows import ItemRows
from ingest.updating.planning import Plan, find_missing, plan_rows
from ingest.updating.sampling import Sampling
from ingest.updating.source import Item, RowSource
from ingest.updating.spool import Spool
from ingest.updating.target import Target

_SCANNED_ROWS = 65_536


class RowsOfItems:
    """One run of a source of rows.

    Args:
        target: the table.
        source: of the rows.
        scope: what the rejects of this source are kept under.
        sampling: which part is taken in.
        prefix: folder that all keys of this run are under; rows outside it are another run's, also of the same source.

    Attributes:
        rows: how they are taken in.
    """

    def __init__(self, target: Target, source: RowSource, scope: str, sampling: Sampling, *, prefix: str = "") -> None:
        self.target, self.source, self.scope, self.sampling = target, source, scope, sampling
        self._folder = f"{folder}/" if (folder := prefix.strip("/")) else ""
        self._start: Table | None = None if target.table is None else target.table.pinned()
        # Where no column says it, nobody can tell sources apart: a key is then a digest of what the row says.
        self._tells_place = self._start is not None and source.place in self._start.schema.names
        self._plan = Plan()
        known = KnownRows(self._rows_there(), self._is_own if self._tells_place else lambda _: True)
        self.rows = ItemRows(source, scope, self._start, known, self._tells_place)

    @property
    def todo(self) -> Spool:
        """Items to read."""
        return self._plan.todo

    def survey(self) -> ItemRows:
        """How the items of the plan are taken in."""
        return self.rows

    def plan(self, items: Iterator[Item], *, retry_rejects: bool) -> Plan:
        """Compare the listing with the rows."""
        self._plan = plan_rows(
            self.sampling.of_items(items),
            self.rows.known,
            self.target.taken.seen() if self.target.table is not None else {},
            None if retry_rejects else self.target.rejects,
            lambda reject: self.rows.refuse(reject, self.target),
            self.target.deleted,
        )
        if self.sampling.is_whole and self._tells_place:
            find_missing(self._plan, map(self._of_this_run, self._rows_there()), self._is_own)
        return self._plan

    def write(self, counter: Counter) -> None:
        """Write what the source gives; when the store goes down, what came before is written all the same."""
        self.rows.take_in(self._plan.todo, self.target, counter)

    def settle(self) -> int:
        """Let go of refusals that no longer hold; say how many stand that this run did not look at again."""
        if not self.sampling.is_whole:
            self.target.flush()
            return 0

        def stays(key: str, scope: str) -> bool:
            return scope != self.scope or bool(self._plan.not_tried.contains([key])[0])

        return self.target.rejects.settle(stays, is_own=lambda scope: scope == self.scope)

    def _rows_there(self) -> Iterator[tuple[list[str], list[Any], list[Any]]]:
        """Key, etag and place of every row, batch by batch."""
        if self._start is None:
            return
        names = self._start.schema.names
        place = str(self.source.place) if self._tells_place else None
        columns = [self.target.key, *(name for name in ("etag", place) if name is not None and name in names)]
        for batch in self._start.scan(columns, batch_rows=_SCANNED_ROWS):
            nothing = [None] * batch.num_rows
            etags = batch.column("etag").to_pylist() if "etag" in columns else nothing
            yield batch.column(0).to_pylist(), etags, batch.column(place).to_pylist() if place else nothing

    def _of_this_run(self, there: tuple[list[str], list[Any], list[Any]]) -> tuple[list[str], list[Any]]:
        """Key and place of the rows under the prefix."""
        keys, _, places = there
        inside = [number for number, key in enumerate(keys) if key.startswith(self._folder)]
        return [keys[number] for number in inside], [places[number] for number in inside]

    def _is_own(self, place: str | None) -> bool:
        return place is not None and self.source.covers(place)
