"""Reading the rows of batches: several batches at a time, in the order they lie on disk, handed out batch by batch.

Nobody can tell what rows of texts or pictures weigh before they are read. So they are read piece by piece, each piece
is weighed, and what turns out too heavy is cut: the batches at the end of the group wait for the next one.
It knows Table and Arrow; it must not know torch, nor why the rows come in this order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from clipdata.errors import ImageRefused
from clipdata.lance_io.pinned import read_patiently
from clipdata.lance_io.table import Table
from clipdata.objects.references import References
from clipdata.prefetch import map_ordered
from clipdata.schema import image_column
from clipdata.storage import is_remote
from clipdata.lance_io.kept_rows import Cache, KeptRows

GROUP_BYTES = 128 * 2**20
PIECE_ROWS = 256
PIECES_AT_ONCE = 4  # of a table on a remote store, where a request costs time rather than work


@dataclass(frozen=True)
class Slot:
    """One rank's part of one global batch, or of several that are single rows.

    Args:
        numbers: of the global batches, counted over all epochs.
        num_rows: of the part of each.
        offsets: int64 [B], positions among the table's live rows.
        window: slots of one window share clumps, and are best read together.
    """

    numbers: tuple[int, ...]
    num_rows: tuple[int, ...]
    offsets: np.ndarray
    window: tuple[int, int]


@dataclass(frozen=True)
class Fetched:
    """The rows of a slot.

    Args:
        unread: place in the slot → why the file that holds the row's image could not be read.
    """

    slot: Slot
    rows: pa.Table
    unread: dict[int, ImageRefused] = field(default_factory=dict)


class Fetcher:
    """Reads slots in groups that grow from one batch to a whole window, within a bound of bytes.

    Args:
        table: pinned to a version.
        columns: names to read.
        check: looks at the rows of a slot as they are in the table, before images are filled in.
        cache: where rows are kept on this machine; None reads them from the table each time.
        rows: int64, the offsets that are ever asked for; all when None.
        clump_rows: of them that are kept together.
        group_bytes: most bytes to hold of one group; a single slot, and the piece at hand, may be heavier.
    """

    def __init__(
        self,
        table: Table,
        columns: Sequence[str],
        *,
        check: Callable[[Slot, pa.Table], None] | None = None,
        cache: Cache | None = None,
        rows: np.ndarray | None = None,
        clump_rows: int = 1,
        group_bytes: int = GROUP_BYTES,
    ) -> None:
        self._table = table
        self._columns = list(columns)
        self._kept = None if cache is None else KeptRows(table, self._columns, rows, clump_rows, cache)
        self._check = check
        self._group_bytes = group_bytes
        self._group_rows = 1  # the first batch comes alone, so that training starts at once
        self._row_bytes = 1.0
        self._fixed_width = all(_is_fixed_width(table.schema.field(name).type) for name in self._columns)
        self._waiting: deque[Slot] = deque()

    def read(self, slots: Iterable[Slot]) -> Generator[Fetched, None, None]:
        """Yield every slot with its rows, in order; images that rows only refer to are filled in.

        Raises:
            TransientError: the store is down.
            CredentialsError: the store refuses access.
        """
        image = image_column(self._table.schema)
        if image not in self._columns or "uri" not in self._columns:
            for slot, rows in self._checked(slots):
                yield Fetched(slot, rows)
            return
        references = References(self._table.storage)
        for slot, rows in references.filled(self._checked(slots)):
            unread: dict[int, ImageRefused] = {}
            for place, uri in enumerate(rows.column("uri").to_pylist() if references.unread else ()):
                if (found := references.unread.get(uri)) is not None and not rows.column(image)[place].is_valid:
                    unread[place] = ImageRefused(found.reason, found.detail)
            yield Fetched(slot, rows, unread)

    def _checked(self, slots: Iterable[Slot]) -> Generator[tuple[Slot, pa.Table], None, None]:
        coming = iter(slots)
        while group := self._next_group(coming):
            for slot, rows in self._read_group(group):
                if self._check is not None:
                    self._check(slot, rows)
                yield slot, rows

    def _next_group(self, coming: Iterator[Slot]) -> list[Slot]:
        """The slots to read together; one more than needed is taken to see the end, and waits."""
        group: list[Slot] = []
        num_rows = 0
        while True:
            if not self._waiting:
                if (slot := next(coming, None)) is None:
                    return group
                self._waiting.append(slot)
            slot = self._waiting[0]
            full = num_rows + len(slot.offsets) > self._group_rows
            if group and (full or slot.window != group[0].window):
                return group
            group.append(self._waiting.popleft())
            num_rows += len(slot.offsets)

    def _read_group(self, group: list[Slot]) -> Generator[tuple[Slot, pa.Table], None, None]:
        held = _Held(group)
        while self._read_pieces(held):
            pass
        self._waiting.extendleft(reversed(group[len(held.group) :]))
        self._grow(held)
        yield from held.hand_out()

    def _read_pieces(self, held: _Held) -> bool:
        """Read pieces of a group until all are there, or it is too heavy and has been cut; True for the latter."""

        def read(offsets: np.ndarray) -> tuple[np.ndarray, pa.Table]:
            if self._kept is not None:
                return offsets, self._kept.take(offsets)
            return offsets, read_patiently(self._table, lambda: self._table.take(offsets, self._columns))

        at_once = PIECES_AT_ONCE if is_remote(self._table.uri) else 1
        with closing(map_ordered(read, self._pieces(held), num_threads=at_once, max_items=at_once)) as pieces:
            for offsets, rows in pieces:
                held.add(offsets, rows)
                if held.cut(self._group_bytes, len(offsets)):
                    return True
        return False

    def _pieces(self, held: _Held) -> Generator[np.ndarray, None, None]:
        """Offsets that are left to read, in pieces as long as rows are light; a group of no rows is one empty piece."""
        start = held.num_rows
        while start < len(held.wanted) or not (start or held.pieces):
            row_bytes = max(self._row_bytes, held.heaviest_row)
            size = len(held.wanted) if self._fixed_width else int(self._group_bytes / 8 / row_bytes)
            stop = start + max(1, size if self._fixed_width else min(PIECE_ROWS, size))
            yield held.wanted[start:stop]
            start = stop

    def _grow(self, held: _Held) -> None:
        """Let the next group be twice as long, but no heavier than half the bound, by what rows weighed here."""
        if held.num_rows:
            self._row_bytes = max(held.num_bytes / held.num_rows, 1.0)
            affordable = int(self._group_bytes / 2 / self._row_bytes)
            self._group_rows = max(1, min(2 * max(held.num_rows, self._group_rows), affordable))


class _Held:
    """The pieces of a group that have been read.

    Args:
        group: slots; some at the end are left out when the group is cut.
    """

    def __init__(self, group: list[Slot]) -> None:
        self.group = group
        self.wanted = np.sort(np.concatenate([slot.offsets for slot in group]), kind="stable")
        self.pieces: list[tuple[np.ndarray, pa.Table]] = []
        self.heaviest_row = 0.0  # mean of the heaviest piece
        self.num_rows = self.num_bytes = 0

    def add(self, offsets: np.ndarray, rows: pa.Table) -> None:
        """Take in the next piece."""
        self.pieces.append((offsets, rows))
        self.num_rows += len(offsets)
        self.num_bytes += rows.nbytes
        self.heaviest_row = max(self.heaviest_row, rows.nbytes / max(len(offsets), 1))

    def cut(self, most_bytes: int, next_rows: int) -> bool:
        """Leave out slots at the end when the rest would be too heavy, by what has been read; tell whether it did."""
        left = len(self.wanted) - self.num_rows
        rest = max(left * self.num_bytes / max(self.num_rows, 1), min(left, next_rows) * self.heaviest_row)
        if self.num_bytes + rest <= most_bytes or len(self.group) == 1 or not left:
            return False
        affordable = most_bytes / 2 / max(self.heaviest_row, 1.0)
        ends = np.cumsum([len(slot.offsets) for slot in self.group])
        self.group = self.group[: max(1, int(np.searchsorted(ends, affordable, side="right")))]
        kept = np.concatenate([slot.offsets for slot in self.group])
        self.wanted = np.sort(kept, kind="stable")
        pieces, self.pieces, self.num_rows, self.num_bytes = self.pieces, [], 0, 0
        for offsets, rows in pieces:
            mask = np.isin(offsets, kept)
            self.add(offsets[mask], rows.filter(pa.array(mask)))
        return True

    def hand_out(self) -> Generator[tuple[Slot, pa.Table], None, None]:
        """Yield every slot with its rows, in order."""
        starts = np.cumsum([0, *(len(offsets) for offsets, _ in self.pieces)])
        for slot in self.group:
            places = np.searchsorted(self.wanted, slot.offsets)
            owner = np.searchsorted(starts, places, side="right") - 1
            order = np.argsort(owner, kind="stable")
            parts = [
                self.pieces[piece][1].take(pa.array(places[order][owner[order] == piece] - starts[piece]))
                for piece in np.unique(owner)
            ] or [self.pieces[0][1].slice(0, 0)]
            back = np.empty_like(order)
            back[order] = np.arange(len(order))
            yield slot, pa.concat_tables(parts).unify_dictionaries().combine_chunks().take(pa.array(back))


def _is_fixed_width(kind: pa.DataType) -> bool:
    if pa.types.is_fixed_size_list(kind):
        return _is_fixed_width(kind.value_type)
    return pa.types.is_primitive(kind) or pa.types.is_fixed_size_binary(kind)
