"""Footers of parquet files: what they say of columns, asked so that no footer can end the process.

Knows nothing of what the columns hold.
"""

from __future__ import annotations

import io
import os
import sys

import pyarrow as pa
import pyarrow.parquet as pq

from clipdata.plurals import counted
from ingest.metadata.formats import FileFault

_LONG_BYTES = 64 << 10


def check(about: pq.FileMetaData) -> None:
    """See that a footer can be read by: pyarrow ends the process where it makes batches of less than no rows.

    Raises:
        FileFault: a group has less than no rows, or rows and no columns.
    """
    for number in range(about.num_row_groups):
        num_rows = about.row_group(number).num_rows
        if num_rows < 0 or (num_rows and not about.num_columns):
            found = f"{counted(num_rows, 'row')} of {about.num_columns} columns"
            raise FileFault("corrupt", f"its footer says that group {number} of its rows has {found}")


def repeating(about: pq.FileMetaData) -> list[str]:
    """Columns of texts or bytes that store a long value once, however many rows have it: read as they are stored."""
    found: dict[str, None] = {}
    for number in range(about.num_row_groups):
        group = about.row_group(number)
        for place in range(group.num_columns if told_of_columns(about, number) else 0):
            column = group.column(place)
            long = column.total_uncompressed_size > _LONG_BYTES
            if column.physical_type == "BYTE_ARRAY" and column.has_dictionary_page and long:
                found[column.path_in_schema] = None
    return list(found)


class _AskedError(Exception):
    """The bytes of a file were asked for."""


class _Unread(io.RawIOBase):
    """A file none of whose bytes may be read."""

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, place: int, whence: int = os.SEEK_SET) -> int:
        return self.tell()

    def tell(self) -> int:  # as long as any file
        return sys.maxsize

    def read(self, size: int = -1) -> bytes:
        raise _AskedError


def told_of_columns(about: pq.FileMetaData, group: int) -> bool:
    """Whether what the footer says of the columns of a group of rows can be told.

    pyarrow ends the process where `RowGroupMetaData.column` meets, say, a histogram of another length. A reader of the
    group looks at the same before it asks for the first byte, and raises an error.
    """
    reader = pq.ParquetFile(_Unread(), metadata=about, buffer_size=1)
    try:
        next(reader.iter_batches(1, row_groups=[group]), None)
    except _AskedError:
        return True
    except (pa.ArrowException, OSError):
        return False
    return True
