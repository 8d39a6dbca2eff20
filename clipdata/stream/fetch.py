"""Reading the rows of batches: several batches at a time, in the order they lie on disk, handed out batch by batch.

It knows Table and Arrow; it must not know torch, nor why the rows come in this order.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from clipdata.errors import ImageRefused
from clipdata.lance_io.table import Table
from clipdata.objects.references import References
from clipdata.storage import redact
from clipdata.stream.plan import Cursor

GROUP_BYTES = 128 * 2**20


@dataclass(frozen=True)
class Slot:
    """One rank's part of one global batch.

    Args:
        cursor: the batch.
        following: the global batch after it, in this epoch or the next.
        offsets: int64 [B], positions among the table's live rows.
        window: slots of one window share clumps, and are best read together.
    """

    cursor: Cursor
    following: Cursor
    offsets: np.ndarray
    window: tuple[int, int]


class Fetcher:
    """Reads slots in groups that grow from one batch to a whole window, within a bound of bytes.

    Args:
        table: pinned to a version.
        columns: names to read.
        group_bytes: most bytes to hold of one group, judged by the rows read so far.
    """

    def __init__(self, table: Table, columns: Sequence[str], *, group_bytes: int = GROUP_BYTES) -> None:
        self._table = table
        self._columns = list(columns)
        self._group_bytes = group_bytes
        self._group_rows = 1  # the first batch comes alone, so that training starts at once

    def read(self, slots: Iterable[Slot]) -> Generator[tuple[Slot, pa.Table], None, None]:
        """Yield every slot with its rows, in order; images that rows only refer to are filled in.

        Raises:
            ImageRefused: such an image cannot be read; the message says which row.
        """
        references = References(self._table.storage)
        for slot, rows in references.filled(self._read_slots(slots)):
            for place, uri in enumerate(rows.column("uri").to_pylist() if references.unread else ()):
                if (unread := references.unread.get(uri)) is not None:
                    raise ImageRefused(unread.reason, f"row {slot.offsets[place]} ({redact(uri)}): {unread.detail}")
            yield slot, rows

    def _read_slots(self, slots: Iterable[Slot]) -> Generator[tuple[Slot, pa.Table], None, None]:
        for group in self._groups(slots):
            yield from self._read_group(group)

    def _groups(self, slots: Iterable[Slot]) -> Generator[list[Slot], None, None]:
        group: list[Slot] = []
        for slot in slots:
            full = sum(len(member.offsets) for member in group) + len(slot.offsets) > self._group_rows
            if group and (full or slot.window != group[0].window):
                yield group
                group = []
            group.append(slot)
        if group:
            yield group

    def _read_group(self, group: list[Slot]) -> Generator[tuple[Slot, pa.Table], None, None]:
        offsets = np.concatenate([slot.offsets for slot in group])
        by_place = np.argsort(offsets, kind="stable")
        rows = self._table.take(offsets[by_place], self._columns).combine_chunks()
        self._grow(rows)
        place_of = np.empty_like(by_place)
        place_of[by_place] = np.arange(len(by_place))
        start = 0
        for slot in group:
            stop = start + len(slot.offsets)
            yield slot, rows.take(pa.array(place_of[start:stop]))
            start = stop

    def _grow(self, rows: pa.Table) -> None:
        if rows.num_rows:
            affordable = int(self._group_bytes / max(rows.nbytes / rows.num_rows, 1))
            self._group_rows = max(1, min(2 * max(rows.num_rows, self._group_rows), affordable))
