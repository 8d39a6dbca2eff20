"""Pictures of rows, small, until the bytes that a report may hold are used up; or why there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from clipdata.errors import ClipdataError, ImageRefused
from clipdata.images.picture_guess import LOOKED_AT, bytes_of, guess_picture_column
from clipdata.images.thumbnails import thumbnail
from clipdata.lance_io.table import Table
from clipdata.objects.references import URI, References, columns_needed
from clipdata.reporting.picture_records import Picture

MOST_BYTES = 2_500_000
"""Of all pictures of a report, as they are written into the page."""
_AT_ONCE = 8


class Thumbnails:
    """Makes pictures of rows, each row once.

    Args:
        table: with the rows.
        column: of pictures; by default the one that is declared, or that looks like it.
        most_bytes: of all of them together.
    """

    def __init__(self, table: Table, column: str | None = None, most_bytes: int = MOST_BYTES) -> None:
        self._table, self._left = table, most_bytes
        self._column = column or guess_picture_column(table.schema, self._first)
        self._made: dict[int, Picture] = {}

    def of(self, offsets: Sequence[int]) -> Mapping[int, Picture]:
        """Pictures by the offsets of their rows, the first first."""
        wanted = [offset for offset in dict.fromkeys(offsets) if offset not in self._made]
        for start in range(0, len(wanted), _AT_ONCE):
            self._make(wanted[start : start + _AT_ONCE])
        return {offset: self._made[offset] for offset in offsets}

    def _first(self, name: str) -> pa.ChunkedArray:
        return self._table.to_table([name], limit=LOOKED_AT).column(0)

    def _make(self, offsets: Sequence[int]) -> None:
        if self._column is None:
            found = [Picture(refused="no column holds pictures")] * len(offsets)
        elif self._left <= 0:
            found = [_left_out()] * len(offsets)
        else:
            try:
                found = [self._picture(data, why) for data, why in self._read(offsets, self._column)]
            except ClipdataError as error:  # the store or the table with the pictures is gone; the figures stand
                found = [Picture(refused=error.message)] * len(offsets)
        self._made.update(zip(offsets, found, strict=True))

    def _read(self, offsets: Sequence[int], column: str) -> list[tuple[bytes | None, str]]:
        """Bytes of each row's picture, or why there are none."""
        names = [column, *columns_needed(self._table.schema, [column])]
        rows = self._table.take(np.array(offsets, np.int64), names)
        references = References(self._table.storage)
        filled: pa.Table = next(rows for _, rows in references.filled([(None, rows)]))
        uris = filled[URI].to_pylist() if URI in filled.column_names else [None] * len(offsets)
        why = {uri: str(found) for uri, found in references.unread.items()}
        return [
            (bytes_of(value), why.get(uri, "the row holds no picture"))
            for value, uri in zip(filled[column].to_pylist(), uris, strict=True)
        ]

    def _picture(self, data: bytes | None, why: str) -> Picture:
        if data is None:
            return Picture(refused=why)
        try:
            made = thumbnail(data)
        except ImageRefused as error:
            return Picture(refused=str(error))
        except MemoryError:
            return Picture(refused="there was no memory to decode it")
        if len(made.uri) > self._left:
            self._left = 0
            return _left_out()
        self._left -= len(made.uri)
        return Picture(made.width, made.height, thumbnail=made.uri)


def _left_out() -> Picture:
    return Picture(refused="left out: the pictures before it take all the room of a report")
