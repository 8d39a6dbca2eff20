"""Row hashes: which rows of two versions may differ, told by their files, and the hashes by which those are compared.

Lance changes no file that it wrote, and no two have one name. So two fragments that share a file hold the same rows in
the same places, and a column that both read from one file has the same values in them: nothing of it is read. Rows of
other fragments, and those that only one version has deleted, are loose: each is known by the hash of its key. It knows
fragments, and not what a difference is called.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipdata.lance_io.pictures import place_columns, places_needed
from clipdata.lance_io.pinned import readable
from clipdata.lance_io.presence import field_ids, places_of, rows_that_fit
from clipdata.lance_io.table import Table
from clipdata.schema import image_column
from clipdata.value_hashes import combined, hashes_of

_BATCH_BYTES = 64 << 20
_BATCH_ROWS = 65_536
_TOLD_BY = ("sha256", "etag")  # a picture by its digest, or where only its file is known, by that


@dataclass(frozen=True)
class Compared:
    """A column whose values are compared.

    Args:
        name: of it.
        reads: columns that tell its value; for a picture its digest, where there is one.
    """

    name: str
    reads: tuple[str, ...]

    def hashes(self, batch: pa.RecordBatch) -> np.ndarray:
        """Hashes of its values, uint64 [N]."""
        if self.reads == (self.name,):
            return hashes_of(batch.column(self.name))
        digest, file = (batch.column(name).cast(pa.string()) for name in self.reads)
        return hashes_of(pc.coalesce(digest, pc.binary_join_element_wise("file", file, ":")))


def compared_columns(before: pa.Schema, after: pa.Schema, names: Sequence[str]) -> list[Compared]:
    """How the values of columns are told; columns that say where pictures are say nothing of their own."""
    image, places = image_column(before), {*place_columns(before), *place_columns(after)}
    is_told = image is not None and image == image_column(after)
    is_told = is_told and all(name in schema.names for name in _TOLD_BY for schema in (before, after))
    return [Compared(name, _TOLD_BY if is_told and name == image else (name,)) for name in names if name not in places]


@dataclass(frozen=True)
class Piece:
    """Rows of one fragment.

    Args:
        fragment: of the table's version.
        start: position of its first live row among all of the version.
        places: int64, those of the rows in the fragment, ascending; None for all that are live.
    """

    fragment: Any
    start: int
    places: np.ndarray | None = None


@dataclass
class Side:
    """One of the two versions.

    Args:
        table: pinned.
        key: column that tells its rows apart, or Lance's `_rowid`.
        loose: rows that are found by their key only.
    """

    table: Table
    key: str
    loose: list[Piece] = field(default_factory=list)
    _ids: dict[tuple[str, ...], frozenset[int]] = field(default_factory=dict)

    @cached_property
    def starts(self) -> dict[int, int]:
        """Fragment id → position of its first live row."""
        with readable(self.table):
            fragments = self.table.dataset.get_fragments()
            counts = [fragment.count_rows() for fragment in fragments]
        ends = np.cumsum([0, *counts])
        return {fragment.fragment_id: int(start) for fragment, start in zip(fragments, ends, strict=False)}

    def told_by(self, fragment: Any, names: Sequence[str]) -> tuple[frozenset[int], frozenset[str]]:
        """What tells the values of columns without reading them: their field numbers, and the files that hold them."""
        wanted = (*names, *places_needed(self.table.schema, names))
        if wanted not in self._ids:
            self._ids[wanted] = frozenset(field_ids(self.table.dataset, wanted))
        ids = self._ids[wanted]
        return ids, frozenset(file.path for file in fragment.metadata.files if not ids.isdisjoint(file.fields))

    @property
    def num_loose(self) -> int:
        """How many rows are loose."""
        return sum(piece.fragment.count_rows() if piece.places is None else len(piece.places) for piece in self.loose)

    def live_places(self, fragment: Any) -> np.ndarray:
        """Places of the live rows of a fragment, int64 ascending."""
        with readable(self.table):
            scanner = fragment.scanner(columns=[], with_row_address=True, batch_size=_BATCH_ROWS)
            return np.sort(places_of(scanner.to_table().column("_rowaddr")))

    def offsets(self, positions: np.ndarray) -> np.ndarray:
        """Positions among the live rows of the version of some loose rows, given which of these they are; int64."""
        sizes = [piece.fragment.count_rows() if piece.places is None else len(piece.places) for piece in self.loose]
        ends = np.cumsum(sizes)
        at = np.searchsorted(ends, positions, side="right")
        found = np.empty(len(positions), np.int64)
        for number in np.unique(at):
            piece, mine = self.loose[number], at == number
            within = positions[mine] - (ends[number] - sizes[number])
            if piece.places is not None:
                within = np.searchsorted(self.live_places(piece.fragment), piece.places[within])
            found[mine] = piece.start + within
        return found

    def scan(self, piece: Piece, columns: Sequence[str]) -> Iterator[tuple[np.ndarray, pa.RecordBatch]]:
        """Places and values of the rows of a piece, in order; pictures of other tables are filled in."""
        schema, wanted = self.table.schema, [name for name in columns if name != "_rowid"]
        names = [*wanted, *places_needed(schema, wanted)]
        with readable(self.table):
            scanner = piece.fragment.scanner(
                columns=names,
                with_row_address=True,
                with_row_id="_rowid" in columns,
                batch_size=min(_BATCH_ROWS, rows_that_fit(self.table, piece.fragment, names, _BATCH_BYTES)),
                batch_size_bytes=_BATCH_BYTES,
                batch_readahead=2,
                io_buffer_size=4 * _BATCH_BYTES,
                blob_handling="all_binary",
            )
            for batch in scanner.to_batches():
                place_N = places_of(batch.column("_rowaddr"))
                if piece.places is not None:
                    mine = np.isin(place_N, piece.places)
                    place_N, batch = place_N[mine], batch.filter(pa.array(mine))
                yield place_N, self.table.pictures.filled(batch) if len(names) > len(wanted) else batch

    def loose_hashes(self, columns: Sequence[Compared]) -> tuple[np.ndarray, np.ndarray]:
        """Of each loose row the hash of its key, and one of all its values; uint64 [N] both."""
        reads = list(dict.fromkeys([self.key, *(name for column in columns for name in column.reads)]))
        key_N, row_N = np.empty(self.num_loose, np.uint64), np.zeros(self.num_loose if columns else 0, np.uint64)
        done = 0
        for piece in self.loose:
            for _, batch in self.scan(piece, reads):
                here = slice(done, done + batch.num_rows)
                key_N[here] = hashes_of(batch.column(self.key))
                if columns:
                    row_N[here] = combined([column.hashes(batch) for column in columns])
                done = here.stop
        assert done == len(key_N), "as many rows are read as there are"
        return key_N, row_N

    def hashes_at(self, positions: np.ndarray, columns: Sequence[Compared]) -> list[np.ndarray]:
        """Hashes of the values of some loose rows, by column; uint64 [M] each.

        Args:
            positions: int64 [M], ascending, which of the loose rows.
        """
        found = [np.empty(len(positions), np.uint64) for _ in columns]
        reads = list(dict.fromkeys(name for column in columns for name in column.reads))
        done = start = 0
        for piece in self.loose:
            for place_N, batch in self.scan(piece, reads):
                stop = int(np.searchsorted(positions, start + len(place_N)))
                if stop > done:
                    rows = batch.take(pa.array(positions[done:stop] - start))
                    for column, hash_M in zip(columns, found, strict=True):
                        hash_M[done:stop] = column.hashes(rows)
                done, start = stop, start + len(place_N)
        return found


@dataclass(frozen=True)
class Pair:
    """A fragment of each version, with the same rows in the same places.

    Args:
        before: and `after`, the fragments.
        columns: that the two read from different files.
    """

    before: Piece
    after: Piece
    columns: tuple[Compared, ...]


def paired(before: Side, after: Side, columns: Sequence[Compared]) -> list[Pair]:
    """Pair the fragments that hold the same rows, and let the rows of the others be loose."""
    with readable(before.table):
        of_file = {file.path: one for one in before.table.dataset.get_fragments() for file in one.metadata.files}
        fragments = {one.fragment_id: one for one in before.table.dataset.get_fragments()}
    pairs = []
    for fragment in after.table.dataset.get_fragments():
        found = {of_file[file.path].fragment_id for file in fragment.metadata.files if file.path in of_file}
        twin = fragments.get(next(iter(found))) if len(found) == 1 else None
        here = Piece(fragment, after.starts[fragment.fragment_id])
        if twin is None or not _are_alike(before, twin, after, fragment):
            after.loose.append(here)
            continue
        del fragments[twin.fragment_id]
        there = Piece(twin, before.starts[twin.fragment_id])
        if _deletions(twin) != _deletions(fragment):
            there, here = _with_common_places(before, there, after, here)
        differ = tuple(
            column for column in columns if before.told_by(twin, column.reads) != after.told_by(fragment, column.reads)
        )
        pairs.append(Pair(there, here, differ))
    before.loose += [Piece(one, before.starts[one.fragment_id]) for one in fragments.values()]
    return pairs


def _are_alike(before: Side, one: Any, after: Side, other: Any) -> bool:
    if one.physical_rows != other.physical_rows:
        return False
    keys = [() if side.key == "_rowid" else (side.key,) for side in (before, after)]
    return before.told_by(one, keys[0]) == after.told_by(other, keys[1])


def _with_common_places(before: Side, one: Piece, after: Side, other: Piece) -> tuple[Piece, Piece]:
    """The rows that both versions have of a fragment; the others become loose."""
    there, here = before.live_places(one.fragment), after.live_places(other.fragment)
    common = np.intersect1d(there, here, assume_unique=True)
    for side, piece, places in ((before, one, there), (after, other, here)):
        only = np.setdiff1d(places, common, assume_unique=True)
        if len(only):
            side.loose.append(Piece(piece.fragment, piece.start, only))
    return Piece(one.fragment, one.start, common), Piece(other.fragment, other.start, common)


def _deletions(fragment: Any) -> str:
    return str(fragment.metadata.to_json().get("deletion_file"))
