"""Rows of items: a source whose items are one row each is compared with the table, read, and written by key.

The content decides, not the etag: a file with a new time of change costs a read, and its row stays with all that was
computed from it when the content is the same. A row of another source is never replaced.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipdata.errors import TransientError
from clipdata.lance_io.table import Table
from clipdata.progress import Counter
from clipdata.schema import image_column
from clipdata.storage import redact
from ingest.updating.batches import units
from ingest.updating.digest_set import NOWHERE, KnownRow, KnownRows
from ingest.updating.planning import Plan, find_missing, plan_rows
from ingest.updating.reading_ahead import read_ahead, rows_of
from ingest.updating.sampling import Sampling
from ingest.updating.source import Item, Reject, RowSource
from ingest.updating.taken import SeenRow
from ingest.updating.target import Target

_SCANNED_ROWS = 65_536
# What a row says of where it came from rather than of its content.
_OF_THE_FILE = frozenset({"etag", "mtime", "uri", "source"})


class RowsOfItems:
    """One run of a source of rows.

    Args:
        target: the table.
        source: of the rows.
        scope: what the rejects of this source are kept under.
        sampling: which part is taken in.
        prefix: folder that all keys of this run are under; rows outside it are another run's, also of the same source.
    """

    def __init__(self, target: Target, source: RowSource, scope: str, sampling: Sampling, *, prefix: str = "") -> None:
        self.target, self.source, self.scope, self.sampling = target, source, scope, sampling
        self._folder = f"{folder}/" if (folder := prefix.strip("/")) else ""
        self._start: Table | None = None if target.table is None else target.table.pinned()
        # Where no column says it, nobody can tell sources apart: a key is then a digest of what the row says.
        self._tells_place = self._start is not None and source.place in self._start.schema.names
        self._plan = Plan()
        self._known = KnownRows(self._rows_there(), self._is_own if self._tells_place else lambda _: True)

    def plan(self, items: Iterator[Item], *, retry_rejects: bool) -> Plan:
        """Compare the listing with the rows."""
        self._plan = plan_rows(
            self.sampling.of_items(items),
            self._known,
            self.target.taken.seen() if self.target.table is not None else {},
            None if retry_rejects else self.target.rejects,
            self._refuse,
            self.target.deleted,
        )
        if self.sampling.is_whole and self._tells_place:
            find_missing(self._plan, map(self._of_this_run, self._rows_there()), self._is_own)
        return self._plan

    def write(self, counter: Counter) -> None:
        """Write what the source gives; when the store goes down, what came before is written all the same."""
        # All in one go: a source that waits for slow servers would wait at the end of every portion.
        with closing(read_ahead(self.source, self._plan.todo)) as entries:
            try:
                batches = rows_of(entries, lambda reject: self._refuse(reject, counter), counter.advance)
                for unit in units(batches, self.target.table_rows):
                    self._write(unit)
                    self.target.rejects.flush()
            except TransientError:
                self.target.rejects.flush()
                raise

    def settle(self) -> int:
        """Let go of refusals that no longer hold; say how many stand that this run did not look at again."""
        if not self.sampling.is_whole:
            self.target.rejects.flush()
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

    def _write(self, unit: pa.Table) -> None:
        if self.source.place == "source" and "source" not in unit.schema.names:
            unit = unit.append_column("source", pa.array([self.source.owner] * unit.num_rows, pa.string()))
        unit = self._without_deleted(self.target.distinct(self.target.admission.named(unit), self.scope))
        self.target.num_rows += unit.num_rows
        keys, etags = unit.column(self.target.key).to_pylist(), unit.column("etag").to_pylist()
        row = self._known.find(keys, etags)
        is_there = row.places != NOWHERE
        if is_there.any():
            unit = self._changed(unit, row, np.flatnonzero(is_there))
        self.target.upsert(unit, changed="etag")

    def _without_deleted(self, unit: pa.Table) -> pa.Table:
        """A unit without the rows that were deleted by hand, and say the same; what told it is remembered."""
        keys, etags = unit.column(self.target.key).to_pylist(), unit.column("etag").to_pylist()
        contents = self.target.deleted.contents_of(unit)
        is_deleted = self.target.deleted.contains(keys, contents)
        if is_deleted.any():
            is_deleted &= self._known.find(keys, etags).places == NOWHERE
        rows = zip(keys, etags, contents, is_deleted, strict=True)
        self.target.taken.add_seen(SeenRow(key, etag, str(of)) for key, etag, of, gone in rows if gone)
        self.target.deleted.num_left_out += int(is_deleted.sum())
        return unit.filter(pa.array(~is_deleted)) if is_deleted.any() else unit

    def _changed(self, unit: pa.Table, row: KnownRow, there: np.ndarray) -> pa.Table:
        """The rows of a unit that are new or have another content than the table's."""
        assert self._start is not None, "a row that is there is in a table"
        fresh = unit.take(pa.array(there))
        columns = [name for name in unit.schema.names if name in self._start.schema.names]
        image = image_column(unit.schema)
        place = [str(self.source.place)] if self._tells_place else []
        wanted = list(dict.fromkeys([*(name for name in columns if name != image), *place]))
        old = self._start.take(row.places[there], wanted)
        is_equal = _equal_content(fresh, old, image)
        if self.source.place == "source" and "uri" in wanted:  # what a list says of its own row is content
            is_equal &= _equal_values(fresh.column("uri"), old.column("uri")) | row.is_foreign[there]
        keep = np.ones(unit.num_rows, np.bool_)
        keys, etags = fresh.column(self.target.key).to_pylist(), fresh.column("etag").to_pylist()
        olds = old.column("etag").to_pylist() if "etag" in wanted else [""] * len(keys)
        places = old.column(place[0]).to_pylist() if place else [None] * len(keys)
        self.target.taken.add_seen(
            SeenRow(key, etag, of)
            for key, etag, of, equal in zip(keys, etags, olds, is_equal, strict=True)
            if equal and etag != of
        )
        for number, at in enumerate(there):
            if is_equal[number]:
                keep[at] = False
            elif row.is_foreign[at]:
                keep[at] = False
                self.target.num_rows -= 1
                self._refuse(_clash(keys[number], self.source.origin, places[number]))
        return unit.filter(pa.array(keep))

    def _refuse(self, reject: Reject, counter: Counter | None = None) -> None:
        if reject.reason == "missing" and not reject.etag:
            self.target.num_gone += 1
        self.target.refuse(reject, self.scope, counter)


def _clash(key: str, origin: str, other: str | None) -> Reject:
    detail = (
        f"the row {key!r} in the table comes from {redact(other or 'another source')}, and {redact(origin)} has "
        f"something else of that name; --prefix (prefix=) NAME tells them apart"
    )
    return Reject(key, "", "other_source", detail)


def _equal_content(fresh: pa.Table, old: pa.Table, image: str | None) -> np.ndarray:
    """Whether rows say the same, their files aside; bool [n]. An image is told by its digest, or not at all."""
    equal = np.ones(fresh.num_rows, np.bool_)
    for name in fresh.schema.names:
        if name == image:
            told = fresh.column("sha256") if "sha256" in fresh.schema.names else pa.nulls(fresh.num_rows)
            equal &= told.is_valid().to_numpy(zero_copy_only=False)
        elif name in _OF_THE_FILE:
            continue
        elif name in old.schema.names:
            equal &= _equal_values(fresh.column(name), old.column(name))
        else:
            equal &= fresh.column(name).is_null().to_numpy(zero_copy_only=False)
    return equal


def _equal_values(one: pa.ChunkedArray, other: pa.ChunkedArray) -> np.ndarray:
    if pa.types.is_nested(one.type) or pa.types.is_floating(one.type):
        return _equal_objects(one.to_pylist(), other.to_pylist())
    same = pc.equal(one, other.cast(one.type)).fill_null(False)
    return pc.or_(same, pc.and_(one.is_null(), other.is_null())).to_numpy(zero_copy_only=False)


def _equal_objects(one: Sequence[Any], other: Sequence[Any]) -> np.ndarray:
    """Equality of values that hold numbers; a NaN is equal to itself."""
    return np.fromiter((a == b or repr(a) == repr(b) for a, b in zip(one, other, strict=True)), np.bool_, len(one))
