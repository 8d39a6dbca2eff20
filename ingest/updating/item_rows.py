"""Rows of items on their way into a table: read, compared with those that are there, and written by key.

The content decides, not the etag: a file with a new time of change costs a read, and its row stays with all that was
computed from it when the content is the same. A row of another source is never replaced. It pickles, so that some of
the items can be taken in elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
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
from ingest.updating.reading_ahead import read_ahead, rows_of
from ingest.updating.receiver import Receiver
from ingest.updating.source import Item, Reject, RowSource
from ingest.updating.taken import SeenRow

# What a row says of where it came from rather than of its content.
_OF_THE_FILE = frozenset({"etag", "mtime", "uri", "source"})


@dataclass
class ItemRows:
    """How the rows of one run's items are taken in.

    Args:
        source: of the rows.
        scope: what the rejects of this source are kept under.
        start: the table as it was when the run began, pinned; None where there was none.
        known: its rows.
        tells_place: whether its rows say where they came from.
    """

    source: RowSource
    scope: str
    start: Table | None
    known: KnownRows
    tells_place: bool

    def take_in(self, items: Iterable[Item], receiver: Receiver, counter: Counter) -> None:
        """Read items and write their rows, a unit at a time.

        Raises:
            TransientError: the store went down; what came before is written.
        """
        # All in one go: a source that waits for slow servers would wait at the end of every portion.
        with closing(read_ahead(self.source, items)) as entries:
            try:
                batches = rows_of(entries, lambda one: self.refuse(one, receiver, counter), counter.advance)
                for unit in units(batches, receiver.table_rows):
                    self._write(unit, receiver)
                    receiver.flush()
            except TransientError:
                receiver.flush()
                raise
            finally:
                receiver.put_in()

    def are_new(self, keys: Sequence[str]) -> np.ndarray:
        """Tell of keys whether the table had no row of them at the start; bool [n]."""
        return self.known.find(keys, [""] * len(keys)).places == NOWHERE

    def refuse(self, reject: Reject, receiver: Receiver, counter: Counter | None = None) -> None:
        """Refuse one row."""
        if reject.reason == "missing" and not reject.etag:
            receiver.num_gone += 1
        receiver.refuse(reject, self.scope, counter)

    def _write(self, unit: pa.Table, receiver: Receiver) -> None:
        if self.source.place == "source" and "source" not in unit.schema.names:
            unit = unit.append_column("source", pa.array([self.source.owner] * unit.num_rows, pa.string()))
        unit = self._without_deleted(receiver.distinct(receiver.admission.named(unit), self.scope), receiver)
        receiver.num_rows += unit.num_rows
        keys, etags = unit.column(receiver.key).to_pylist(), unit.column("etag").to_pylist()
        row = self.known.find(keys, etags)
        is_there = row.places != NOWHERE
        if is_there.any():
            unit = self._changed(unit, row, np.flatnonzero(is_there), receiver)
        receiver.upsert(unit, changed="etag", are_new=self.are_new)

    def _without_deleted(self, unit: pa.Table, receiver: Receiver) -> pa.Table:
        """A unit without the rows that were deleted by hand, and say the same; what told it is remembered."""
        keys, etags = unit.column(receiver.key).to_pylist(), unit.column("etag").to_pylist()
        contents = receiver.deleted.contents_of(unit)
        is_deleted = receiver.deleted.contains(keys, contents)
        if is_deleted.any():
            is_deleted &= self.known.find(keys, etags).places == NOWHERE
        rows = zip(keys, etags, contents, is_deleted, strict=True)
        receiver.keep_seen(SeenRow(key, etag, str(of)) for key, etag, of, gone in rows if gone)
        receiver.deleted.num_left_out += int(is_deleted.sum())
        return unit.filter(pa.array(~is_deleted)) if is_deleted.any() else unit

    def _changed(self, unit: pa.Table, row: KnownRow, there: np.ndarray, receiver: Receiver) -> pa.Table:
        """The rows of a unit that are new or have another content than the table's."""
        assert self.start is not None, "a row that is there is in a table"
        fresh = unit.take(pa.array(there))
        columns = [name for name in unit.schema.names if name in self.start.schema.names]
        image = image_column(unit.schema)
        place = [str(self.source.place)] if self.tells_place else []
        wanted = list(dict.fromkeys([*(name for name in columns if name != image), *place]))
        old = self.start.take(row.places[there], wanted)
        is_equal = _equal_content(fresh, old, image)
        if self.source.place == "source" and "uri" in wanted:  # what a list says of its own row is content
            is_equal &= _equal_values(fresh.column("uri"), old.column("uri")) | row.is_foreign[there]
        keep = np.ones(unit.num_rows, np.bool_)
        keys, etags = fresh.column(receiver.key).to_pylist(), fresh.column("etag").to_pylist()
        olds = old.column("etag").to_pylist() if "etag" in wanted else [""] * len(keys)
        places = old.column(place[0]).to_pylist() if place else [None] * len(keys)
        receiver.keep_seen(
            SeenRow(key, etag, of)
            for key, etag, of, equal in zip(keys, etags, olds, is_equal, strict=True)
            if equal and etag != of
        )
        for number, at in enumerate(there):
            if is_equal[number]:
                keep[at] = False
            elif row.is_foreign[at]:
                keep[at] = False
                receiver.num_rows -= 1
                self.refuse(_clash(keys[number], self.source.origin, places[number]), receiver)
        return unit.filter(pa.array(keep))


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
