"""Rows in memory as they were read: piece by piece, each of consecutive keys, and found again without being copied.

A source is what one kind of call reads: some columns of a table by offsets, or the pictures of another table by the
numbers of their rows. It is read in pieces of so many bytes as far as can be told before, and each piece says what it
weighs. Bytes are handed out as views of the piece that holds them, wide vectors by one copy into memory of their own.
It knows Arrow; it must not know tables, torch, or why the rows are wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa

WIDE_BYTES = 1024


@dataclass(frozen=True)
class Cut:
    """How a source is cut into pieces.

    Args:
        num_bytes: of a piece; a single row may be heavier.
        max_rows: of a piece of a source that has not been weighed.
        hole_bytes: of rows nobody asked for, between others, that are read rather than left out; 0 for none.
    """

    num_bytes: int
    max_rows: int
    hole_bytes: int = 0


@dataclass(frozen=True)
class Piece:
    """Consecutive rows of a source.

    Args:
        keys: ascending [n], those of holes included.
        rows: [n].
    """

    keys: np.ndarray
    rows: pa.Table

    @cached_property
    def num_bytes(self) -> int:
        """What it takes in memory."""
        return int(self.rows.nbytes)

    @cached_property
    def columns(self) -> dict[str, pa.Array]:
        """Each column as one array; Lance gives them so, and only then is nothing copied."""
        return {name: whole(self.rows.column(name)) for name in self.rows.column_names}

    @cached_property
    def views(self) -> dict[str, _Views]:
        """The columns of bytes."""
        return {name: _Views.of(column) for name, column in self.columns.items() if is_bytes(column.type)}


@dataclass
class Source:
    """Rows by ascending keys, and the pieces of them that have been read.

    Args:
        keys: int64 or uint64 [n], each once, ascending.
        read: rows by some of the keys.
        cut: into pieces.
        row_bytes: what a row weighs, as far as is known; of a source that was read, what it did weigh.
        is_weighed: whether rows of the kind were ever read.
        stored_bytes: mean of a row of the whole table; the next piece may be of heavier rows than all that were read.
    """

    keys: np.ndarray
    read: Callable[[np.ndarray], pa.Table]
    cut: Cut
    row_bytes: float = 1.0
    is_weighed: bool = False
    stored_bytes: float = 0.0
    pieces: list[Piece] = field(default_factory=list)
    num_begun: int = 0
    num_read: int = 0

    @property
    def is_read(self) -> bool:
        """Whether all of it is there."""
        return self.num_read == len(self.keys)

    @property
    def num_bytes(self) -> int:
        """What the pieces take in memory."""
        return sum(piece.num_bytes for piece in self.pieces)

    @property
    def heaviest_row(self) -> float:
        """Mean of the heaviest piece."""
        return max((piece.num_bytes / max(len(piece.keys), 1) for piece in self.pieces), default=self.row_bytes)

    def rest_bytes(self) -> float:
        """What is not read will weigh, as far as can be told."""
        left = len(self.keys) - self.num_read
        if not left:
            return 0.0
        return max(left * self.row_bytes, min(left, self._piece_rows()) * self.heaviest_row)

    def begin(self) -> np.ndarray:
        """Keys of the next piece to read, holes included; there must be some left."""
        keys = self.keys[self.num_begun : self.num_begun + self._piece_rows()]
        if self.cut.hole_bytes:
            keys = keys[: self._end_at_gap(keys)]
        self.num_begun += len(keys)
        return self._with_holes(keys) if self.cut.hole_bytes else keys

    def add(self, keys: np.ndarray, rows: pa.Table) -> None:
        """Take in the oldest piece that was begun."""
        self.pieces.append(Piece(keys, rows))
        if len(keys):
            self.num_read = int(np.searchsorted(self.keys, keys[-1], side="right"))
            self.row_bytes = self.num_bytes / sum(len(piece.keys) for piece in self.pieces)
            self.is_weighed = True

    def keep(self, keys: np.ndarray) -> None:
        """Forget the rows of other keys, read or not; nothing may be under way."""
        last = self.keys[self.num_read - 1] if self.num_read else None
        self.keys = keys
        self.num_begun = self.num_read = 0 if last is None else int(np.searchsorted(keys, last, side="right"))
        read, self.pieces = self.pieces, []
        for piece in read:
            mask = np.isin(piece.keys, keys)
            self.pieces.append(Piece(piece.keys[mask], piece.rows.filter(pa.array(mask))))

    def find(self, keys: np.ndarray) -> Found:
        """Where rows are, by keys in any order; all of them must have been read."""
        pieces = [piece for piece in self.pieces if len(piece.keys)]
        firsts = np.array([piece.keys[0] for piece in pieces], self.keys.dtype)
        owner = np.searchsorted(firsts, keys, side="right") - 1
        place = np.zeros(len(keys), np.int64)
        for one in np.unique(owner):
            mine = owner == one
            place[mine] = np.searchsorted(pieces[one].keys, keys[mine])
        return Found(pieces, owner, place)

    def _piece_rows(self) -> int:
        size = max(int(self.cut.num_bytes / max(self.heaviest_row, self.row_bytes, self.stored_bytes, 1e-9)), 1)
        return size if self.is_weighed else min(size, self.cut.max_rows)

    def _end_at_gap(self, keys: np.ndarray) -> int:
        """Where to end a piece so that no run of keys is read in two, if one ends in the second half."""
        if self.num_begun + len(keys) == len(self.keys):
            return len(keys)
        gaps = np.diff(self.keys[self.num_begun : self.num_begun + len(keys) + 1])
        ends = np.flatnonzero(gaps > self._hole_rows() + 1) + 1
        return int(ends[-1]) if len(ends) and ends[-1] > len(keys) // 2 else len(keys)

    def _with_holes(self, keys: np.ndarray) -> np.ndarray:
        gaps = np.diff(keys)
        holes = np.flatnonzero((gaps > 1) & (gaps <= self._hole_rows() + 1))
        if not len(holes):
            return keys
        filled = [np.arange(keys[place] + 1, keys[place + 1], dtype=keys.dtype) for place in holes]
        return np.sort(np.concatenate([keys, *filled]))

    def _hole_rows(self) -> int:
        return int(self.cut.hole_bytes / max(self.row_bytes, 1.0))


@dataclass(frozen=True)
class Found:
    """Where some rows of a source are.

    Args:
        pieces: that were read.
        owner: int64 [B], place in `pieces`.
        place: int64 [B], place in the piece.
    """

    pieces: Sequence[Piece]
    owner: np.ndarray
    place: np.ndarray

    def views(self, name: str) -> list[pa.Buffer | None]:
        """Bytes of a column, as views of the memory they were read into; None for a null [B]."""
        views = [piece.views[name] for piece in self.pieces]
        places = zip(self.owner.tolist(), self.place.tolist(), strict=True)
        return [views[owner].at(place) for owner, place in places]

    def taken(self, names: Sequence[str]) -> pa.Table:
        """Columns that are light enough to be copied [B]."""
        order = np.argsort(self.owner, kind="stable")
        parts = []
        for one in np.unique(self.owner):
            mine = order[self.owner[order] == one]
            parts.append(self.pieces[one].rows.select(names).take(pa.array(self.place[mine])))
        if len(parts) == 1:
            return parts[0]
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        return pa.concat_tables(parts).unify_dictionaries().combine_chunks().take(pa.array(back))

    def vectors(self, name: str) -> pa.Array:
        """A column of wide vectors, copied once, into memory that may be written to [B]."""
        columns = [piece.columns[name] for piece in self.pieces]
        if any(column.null_count or column.values.null_count for column in columns):
            return whole(self.taken([name]).column(0))
        kind = columns[0].type
        width = kind.list_size * kind.value_type.bit_width // 8
        held = [_bytes_of(column, width) for column in columns]
        values = np.empty((len(self.owner), width), np.uint8)
        for row, (owner, place) in enumerate(zip(self.owner.tolist(), self.place.tolist(), strict=True)):
            values[row] = held[owner][place]
        return vectors_of(values, kind)


@dataclass(frozen=True)
class _Views:
    """Rows of a column of bytes as views; a scalar of Arrow would copy them."""

    data: pa.Buffer
    bounds: np.ndarray
    valid: np.ndarray | None

    @classmethod
    def of(cls, column: pa.Array) -> _Views:
        validity, offsets, data = column.buffers()
        kind = np.int64 if pa.types.is_large_binary(column.type) else np.int32
        held = pa.py_buffer(b"")
        bounds = np.zeros(1, kind)
        if len(column):
            bounds = np.frombuffer(offsets, kind, len(column) + 1, column.offset * np.dtype(kind).itemsize)
            held = held if data is None else data
        valid = None if validity is None else column.is_valid().to_numpy(zero_copy_only=False)
        return cls(held, bounds, valid)

    def at(self, place: int) -> pa.Buffer | None:
        if self.valid is not None and not self.valid[place]:
            return None
        start = int(self.bounds[place])
        return self.data.slice(start, int(self.bounds[place + 1]) - start)


def is_bytes(kind: pa.DataType) -> bool:
    """Tell whether rows of a type are handed out as views."""
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def is_wide(kind: pa.DataType) -> bool:
    """Tell whether a type holds vectors that are too wide to be copied more than once."""
    if not pa.types.is_fixed_size_list(kind) or not pa.types.is_primitive(kind.value_type):
        return False
    return kind.value_type.bit_width >= 8 and kind.list_size * kind.value_type.bit_width // 8 >= WIDE_BYTES


def vectors_of(values: np.ndarray, kind: pa.DataType) -> pa.Array:
    """Bytes, uint8 [B, width], as vectors of a type, in the very memory [B]."""
    buffer = pa.py_buffer(values.reshape(-1))
    flat = pa.Array.from_buffers(kind.value_type, len(values) * kind.list_size, [None, buffer])
    return pa.FixedSizeListArray.from_arrays(flat, type=kind)


def views_of(column: pa.ChunkedArray) -> list[pa.Buffer | None]:
    """Every row of a column of bytes, as a view."""
    views = _Views.of(whole(column))
    return [views.at(place) for place in range(len(column))]


def whole(column: pa.ChunkedArray) -> pa.Array:
    """All rows of a column as one array, which is a copy only where there are several."""
    if column.num_chunks == 1:
        return column.chunk(0)
    return column.combine_chunks() if column.num_chunks else pa.array([], column.type)


def _bytes_of(column: pa.Array, width: int) -> np.ndarray:
    """Vectors without nulls as bytes, uint8 [n, width]; a view."""
    values = column.values
    data = values.buffers()[1]
    start = (values.offset * values.type.bit_width) // 8 + column.offset * width
    return np.frombuffer(data, np.uint8, len(column) * width, start).reshape(len(column), width)
