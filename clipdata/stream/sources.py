"""Which columns of a table are read how, and a slot's rows out of what was read.

    rows       columns that are light enough to be copied: numbers, texts, narrow vectors
    wide       columns of bytes and wide vectors, if there are any; then `rows` are read at once, before them
    pictures:… bytes of the image that stand in another table, each picture once, whatever the number of its rows

Vectors of tens of kilobytes on this machine are not read ahead: what a batch wants of them is read when it is made,
straight into its memory.

It knows tables and Arrow; it must not know torch, nor in which order rows come.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import pyarrow as pa

from clipdata.images.canvas import ReusedMemory
from clipdata.lance_io.flat_vectors import FlatVectors
from clipdata.lance_io.pictures import place_columns
from clipdata.lance_io.pinned import read_patiently
from clipdata.lance_io.sizes import row_bytes
from clipdata.lance_io.table import Table
from clipdata.schema import image_column, is_binary, is_blob
from clipdata.storage import is_remote
from clipdata.stream.groups import Waiting
from clipdata.stream.pieces import Cut, Found, Piece, Source, is_wide, vectors_of, whole

# On a disk, pieces that memory is found for quickly: one of 128 MiB costs three times as much a row as many of 4.
DISK = Cut(num_bytes=4 << 20, max_rows=256)
# On a remote store a request costs time rather than work, so a clump is one piece, and small holes are read.
STORE = Cut(num_bytes=40 << 20, max_rows=1024, hole_bytes=512 << 10)
AT_ONCE = 16  # pieces that are read from a remote store at the same time
ROWS, WIDE, PICTURES = "rows", "wide", "pictures:"
Encoded = dict[str, list[pa.Buffer | None]]
Read = Callable[[np.ndarray], pa.Table]
"""Offsets int64 [B], ascending, to the rows that lie there."""


class Reads(Protocol):
    """Reads rows of some columns, from wherever they are."""

    def take(self, offsets: np.ndarray, /) -> pa.Table:
        """Rows at int64 [B] ascending offsets."""


Keep = Callable[[Sequence[str]], Reads]


@dataclass(frozen=True)
class Known:
    """What a source's rows weighed before."""

    row_bytes: float
    is_weighed: bool = False


class TableSources:
    """What is read of a table for rows at some offsets; see `groups.Sources`.

    Args:
        table: pinned to a version.
        columns: names to read.
        group_bytes: of a group, of which a piece is a part.
        keep: what reads columns from where they are kept, pictures of other tables among them; None for the table.
        mean_bytes: of a row as it is stored, where they are known.
    """

    def __init__(
        self,
        table: Table,
        columns: Sequence[str],
        group_bytes: int,
        keep: Keep | None = None,
        mean_bytes: float | None = None,
    ) -> None:
        schema = table.schema
        self._table = table
        self.at_once = AT_ONCE if is_remote(table.uri) else 1
        cut = STORE if is_remote(table.uri) else DISK
        self._cut = replace(cut, num_bytes=min(cut.num_bytes, max(group_bytes // 4, 1)))
        if keep is not None:  # whole clumps are read there, holes and all
            self._cut = replace(self._cut, hole_bytes=0)
        refers = keep is None and len(place_columns(schema)) == 2 and image_column(schema) in columns
        self._image = image_column(schema) if refers else None
        self._places = place_columns(schema) if refers else []
        self.encoded = [name for name in columns if _is_bytes(schema.field(name))]
        flat = {name: FlatVectors.of(table, name) for name in columns} if keep is None else {}
        self._flat = {name: vectors for name, vectors in flat.items() if vectors is not None}
        self._kinds = {name: schema.field(name).type for name in self._flat}
        self._memory = ReusedMemory()
        self._vectors = [name for name in columns if is_wide(schema.field(name).type) and name not in self._flat]
        self._wide = [*self.encoded, *self._vectors]
        self._asked = [name for name in columns if name not in self._wide and name not in self._flat]
        self._light = [*self._asked, *(name for name in self._places if name not in self._asked)]
        self.row_bytes = max(row_bytes(table, columns) if mean_bytes is None else mean_bytes, 1.0)
        self._read = {name: self._reader(names, keep) for name, names in ((ROWS, self._light), (WIDE, self._wide))}
        self._known = {name: Known(self.row_bytes) for name in (ROWS, WIDE)}

    def first(self, offsets: np.ndarray) -> dict[str, Source]:
        """The columns of the table itself; those that are wide when it is known of which rows, if pictures are not."""
        found = {}
        if self._light:
            cut = replace(self._cut, num_bytes=1 << 62, max_rows=1 << 62) if self._wide else self._cut
            found[ROWS] = self._source(ROWS, offsets, cut)
        if self._wide and not self._places:
            found[WIDE] = self._source(WIDE, offsets, self._cut)
        return found

    def further(self, first: Mapping[str, Source], offsets: np.ndarray) -> dict[str, Source]:
        """Pictures of other tables, by what the rows say, and wide columns of the rows that say nothing."""
        if not self._places or not len(offsets):
            return {}
        row_N, name_N = self._referred(first[ROWS].find(offsets).taken(self._places))
        own = offsets if self._wide != [self._image] else offsets[name_N == None]  # noqa: E711 - of each element
        found = {WIDE: self._source(WIDE, own, self._cut)} if len(own) else {}
        for name in sorted({name for name in name_N.tolist() if name is not None}):
            found[PICTURES + name] = self._pictures(name, np.unique(row_N[name_N == name]))
        return found

    def learn(self, sources: Mapping[str, Source]) -> None:
        """Remember what rows weighed, for the groups to come."""
        for name, source in sources.items():
            if source.is_weighed:
                self._known[name] = Known(source.row_bytes, True)

    def rows_of(self, waiting: Waiting) -> tuple[pa.Table, Encoded]:
        """A slot's rows without its columns of bytes, and those as views of the memory they were read into."""
        encoded: Encoded = {name: [None] * len(waiting.slot.offsets) for name in self.encoded}
        parts = []
        for sources, places in waiting.parts:
            parts.append(self._part(sources, waiting.slot.offsets[places], places, encoded))
        rows = parts[0]
        if len(parts) > 1 and rows.column_names:
            order = np.argsort(np.concatenate([places for _, places in waiting.parts]), kind="stable")
            rows = pa.concat_tables(parts).unify_dictionaries().combine_chunks().take(pa.array(order))
        return self._with_flat(rows, waiting.slot.offsets), encoded

    def _with_flat(self, rows: pa.Table, offsets: np.ndarray) -> pa.Table:
        """Rows with the vectors that are read straight into a batch."""
        if not self._flat:
            return rows
        columns = {name: rows.column(name) for name in rows.column_names}
        for name, flat in self._flat.items():
            kind = self._kinds[name]
            values = self._memory.array((len(offsets), kind.list_size * kind.value_type.bit_width // 8), np.uint8)
            columns[name] = vectors_of(values, kind) if flat.into(offsets, values) else self._taken(name, offsets)
        return pa.table(columns)

    def _taken(self, name: str, offsets: np.ndarray) -> pa.Array:
        """The same by Lance, of whatever can only be read by it."""
        distinct, place_B = np.unique(offsets, return_inverse=True)
        take = lambda: self._table.take(distinct, [name], filled=False)  # noqa: E731
        rows = read_patiently(self._table, take)
        return Found([Piece(distinct, rows)], np.zeros(len(offsets), np.int64), place_B).vectors(name)

    def _part(
        self, sources: Mapping[str, Source], offsets: np.ndarray, places: np.ndarray, encoded: Encoded
    ) -> pa.Table:
        if not len(offsets):
            names = [*self._asked, *self._vectors]
            return pa.schema([self._table.schema.field(name) for name in names]).empty_table()
        rows = sources[ROWS].find(offsets).taken(self._light) if self._light else pa.table({})
        name_N = np.full(len(offsets), None, object)
        if self._places:
            row_N, name_N = self._referred(rows)
            for name in {name for name in name_N.tolist() if name is not None}:
                mine = np.flatnonzero(name_N == name)
                found = sources[PICTURES + name].find(row_N[mine])
                _lay(found.views(_BYTES), places[mine], encoded[str(self._image)])
        rows = rows.select(self._asked)
        own = np.flatnonzero(name_N == None) if self._wide == [self._image] else np.arange(len(offsets))  # noqa: E711
        if not self._wide or not len(own):
            return rows
        found = sources[WIDE].find(offsets[own])
        for name in self.encoded:
            mine = np.flatnonzero(name_N[own] == None) if name == self._image else np.arange(len(own))  # noqa: E711
            views = found.views(name)
            _lay([views[place] for place in mine.tolist()], places[own[mine]], encoded[name])
        vectors = {name: found.vectors(name) for name in self._vectors}
        return pa.table({**{name: rows.column(name) for name in self._asked}, **vectors})

    def _reader(self, columns: Sequence[str], keep: Keep | None) -> Read:
        def read(offsets: np.ndarray) -> pa.Table:
            return read_patiently(self._table, lambda: self._table.take(offsets, columns, filled=False))

        return read if keep is None or not columns else keep(columns).take

    def _source(self, name: str, keys: np.ndarray, cut: Cut) -> Source:
        known = self._known[name]
        return Source(keys, self._read[name], cut, known.row_bytes, known.is_weighed, self.row_bytes)

    def _pictures(self, name: str, rows: np.ndarray) -> Source:
        kind = self._table.schema.field(str(self._image)).type
        kind = kind if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) else pa.large_binary()

        def read(rows: np.ndarray) -> pa.Table:
            pictures = self._table.pictures
            return pa.table({_BYTES: read_patiently(self._table, lambda: pictures.read(name or None, rows, kind))})

        known, cut = self._known.get(PICTURES + name, Known(self.row_bytes)), replace(self._cut, hole_bytes=0)
        return Source(rows, read, cut, known.row_bytes, known.is_weighed, self.row_bytes)

    def _referred(self, rows: pa.Table) -> tuple[np.ndarray, np.ndarray]:
        """Which rows hold the pictures of some rows, uint64 [B], and of which tables; None for a row's own."""
        row_B, table_B = (whole(rows.column(name)) for name in self._places)
        names = np.array([name or "" for name in table_B.to_pylist()], object)
        names[row_B.is_null().to_numpy(zero_copy_only=False)] = None
        return row_B.fill_null(0).to_numpy(), names


def _lay(views: Sequence[pa.Buffer | None], places: np.ndarray, into: list[pa.Buffer | None]) -> None:
    for place, view in zip(places.tolist(), views, strict=True):
        into[place] = view


def _is_bytes(column: pa.Field) -> bool:
    return is_blob(column) or is_binary(column.type)


_BYTES = "bytes"
