"""Pages of parquet files: how much memory each one takes, read from their headers before any is unpacked.

A page is unpacked whole, and the footer says only what a column's pages take together: of a gigabyte that may be a
million captions or one. Knows nothing of what the values mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow.parquet as pq

from clipdata.plurals import counted
from ingest.metadata.footers import told_of_columns

MOST_BYTES = 128 << 20  # writers end a page at 1 MB or so, DuckDB at 100 MB
_LONGEST_HEADER = 64 << 10
_FIRST_LOOK = 512
_TEXT_KINDS = ("STRING", "ENUM", "JSON")
_BOOLEANS, _BYTE, _INTEGERS, _DOUBLE, _BINARY, _LISTS, _STRUCT = (1, 2), 3, (4, 5, 6), 7, 8, (9, 10), 12


def too_large(opened: Any, about: pq.FileMetaData, group: int) -> str | None:
    """What is too large in a group of rows: a page of a column of texts that unpacks to more than `MOST_BYTES`.

    Args:
        opened: the file, which can be sought in.
        about: its footer.

    Returns:
        The column, and how large its page is; None where every page is of a common size, or cannot be told.
    """
    row_group = about.row_group(group)
    for place in range(row_group.num_columns if told_of_columns(about, group) else 0):
        column = row_group.column(place)
        is_text = about.schema.column(place).logical_type.type in _TEXT_KINDS
        if is_text and column.total_uncompressed_size > MOST_BYTES:
            most = max(_sizes_of_pages(opened, column), default=0)
            if most > MOST_BYTES:
                told = f"a page of column {column.path_in_schema} unpacks to {counted(most, 'byte')}"
                return f"{told}; at most {MOST_BYTES:,} are read at once"
    return None


def _sizes_of_pages(opened: Any, column: pq.ColumnChunkMetaData) -> Iterator[int]:
    """What each page of a column takes when it is unpacked; ends where a header cannot be read."""
    at = column.dictionary_page_offset if column.has_dictionary_page else None
    at = column.data_page_offset if at is None else min(at, column.data_page_offset)
    end = at + column.total_compressed_size
    while at < end:
        found = _header(opened, at, min(_LONGEST_HEADER, end - at))
        if found is None:
            return
        length, unpacked, packed = found
        if unpacked < 0 or packed < 0:
            return
        yield unpacked
        at += length + packed


def _header(opened: Any, at: int, most: int) -> tuple[int, int, int] | None:
    """How long a page's header is, how long the page is unpacked, and as it is stored; None where it is none."""
    for num_bytes in (min(_FIRST_LOOK, most), most):
        opened.seek(at)
        reading = _Compact(opened.read(num_bytes))
        try:
            fields = dict(reading.struct())
        except (IndexError, RecursionError, ValueError):
            continue
        unpacked, packed = fields.get(2), fields.get(3)
        return (reading.at, unpacked, packed) if isinstance(unpacked, int) and isinstance(packed, int) else None
    return None


class _Compact:
    """Reads Thrift's compact protocol (https://github.com/apache/thrift/blob/master/doc/specs) as far as pages need it.

    Raises IndexError where the bytes end too early, ValueError where they are of no known kind.
    """

    def __init__(self, data: bytes) -> None:
        self._data, self.at = data, 0

    def struct(self) -> Iterator[tuple[int, int | None]]:
        """Each field's number and value; None of what is no whole number."""
        number = 0
        while byte := self._byte():
            number = number + (byte >> 4) if byte >> 4 else self._signed()
            yield number, self._value(byte & 15)

    def _value(self, kind: int) -> int | None:
        if kind in _INTEGERS:
            return self._signed()
        if kind == _BYTE:
            self.at += 1
        elif kind == _DOUBLE:
            self.at += 8
        elif kind == _BINARY:
            length = self._unsigned()
            self.at += length
        elif kind in _LISTS:
            self._list()
        elif kind == _STRUCT:
            for _ in self.struct():
                pass
        elif kind not in _BOOLEANS:  # a map, which no header has, or no kind at all
            raise ValueError(kind)
        return None

    def _list(self) -> None:
        head = self._byte()
        for _ in range(head >> 4 if head >> 4 < 15 else self._unsigned()):
            if head & 15 in _BOOLEANS:
                self._byte()
            else:
                self._value(head & 15)

    def _byte(self) -> int:
        self.at += 1
        return self._data[self.at - 1]

    def _unsigned(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise ValueError(value)

    def _signed(self) -> int:
        value = self._unsigned()
        return (value >> 1) ^ -(value & 1)
