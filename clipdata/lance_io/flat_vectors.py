"""Wide vectors straight from the files of this machine, each in one read, into the memory where it is wanted.

Lance reads a row into memory of its own and copies it on its way into an array, from which a shuffled batch is copied
once more; of a picture's raw levels that is most of what they cost. Where a page holds nothing but vectors of one width
in a row, the place of each is known by arithmetic. Pages say of themselves whether they do; what is stored in any other
way (with nulls among the rows, compressed) and what lies on a remote store is left to Lance.
It knows Lance's files of version 2.1 and later; it must not know why rows are wanted.
"""

from __future__ import annotations

import os
import re
import weakref
from collections import OrderedDict
from typing import Any

import numpy as np
import pyarrow as pa

from clipdata.lance_io.faults import translated
from clipdata.lance_io.presence import field_ids
from clipdata.lance_io.table import Table
from clipdata.storage import is_remote, join

LEAST_BYTES = 32 << 10  # of a row: below, many rows of a request are cheaper on a disk than a request each
_MOST_FILES = 32  # open at the same time
_FLAT = (r"FullZipLayout", r"bits_rep: 0,", r"bits_def: 0,", r"has_validity: false", r"\bFlat\b")
_ELSE = re.compile(r"General|Rle|Bitpack|ByteStream|Dictionary|Fsst")


class FlatVectors:
    """Reads a column of fixed-size lists. One thread at a time.

    Args:
        table: pinned to a version, on this machine.
        column: of lists of whole bytes.
        width: bytes of a row.
    """

    def __init__(self, table: Table, column: str, width: int) -> None:
        self._table, self._column, self._width = table, column, width
        self._files: OrderedDict[int, _Pages | None] = OrderedDict()
        with translated(table.uri, "reading"):
            fragments = [fragment.metadata for fragment in table.dataset.get_fragments()]
        self._numbers = np.array([fragment.id for fragment in fragments], np.int64)
        self._stops = np.cumsum([fragment.num_rows for fragment in fragments])
        self._is_whole = np.array([fragment.num_deletions == 0 for fragment in fragments], bool)

    @classmethod
    def of(cls, table: Table, column: str) -> FlatVectors | None:
        """What reads a column, or None where Lance does it as well: narrow ones, and those of a remote store."""
        kind = table.schema.field(column).type
        if is_remote(table.uri) or not pa.types.is_fixed_size_list(kind) or not pa.types.is_primitive(kind.value_type):
            return None
        if kind.value_type.bit_width < 8:
            return None
        width = kind.list_size * kind.value_type.bit_width // 8
        return cls(table, column, width) if width >= LEAST_BYTES else None

    def into(self, offsets: np.ndarray, out: np.ndarray) -> bool:
        """Read rows, if all of them can be read here.

        Args:
            offsets: int64 [B], positions among the live rows, in any order.
            out: uint8 [B, width], contiguous; undefined where False is returned.
        """
        number_B, row_B = self._places(offsets)
        for number in np.unique(number_B).tolist():
            pages, mine = self._pages(number), np.flatnonzero(number_B == number)
            if pages is None or not pages.into(row_B[mine], mine, out):
                return False
        return True

    def _places(self, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Fragments and rows in them, deleted ones counted, int64 [B]; asked of Lance only where some are deleted."""
        owner_B = np.searchsorted(self._stops, offsets, side="right")
        number_B, row_B = self._numbers[owner_B], offsets - np.where(owner_B > 0, self._stops[owner_B - 1], 0)
        asked = np.flatnonzero(~self._is_whole[owner_B])
        if len(asked):
            distinct, place = np.unique(offsets[asked], return_inverse=True)
            address = self._table.take(distinct, ["_rowaddr"], filled=False).column(0).to_numpy()[place]
            row_B[asked] = (address & np.uint64(0xFFFFFFFF)).astype(np.int64)
        return number_B, row_B

    def _pages(self, number: int) -> _Pages | None:
        if number in self._files:
            self._files.move_to_end(number)
        else:
            self._files[number] = self._opened(number)
            if len(self._files) > _MOST_FILES:
                self._files.popitem(last=False)
        return self._files[number]

    def _opened(self, number: int) -> _Pages | None:
        dataset = self._table.dataset
        with translated(self._table.uri, "reading"):
            fragment = dataset.get_fragment(number)
            fields = field_ids(dataset, [self._column])
        if fragment is None or not fields or getattr(fragment.metadata, "overlays", None):
            return None
        (field,) = fields
        files = [file for file in fragment.data_files() if field in file.fields]
        if len(files) != 1 or files[0].base_id is not None or files[0].file_major_version != 2:
            return None
        place = files[0].column_indices[list(files[0].fields).index(field)]
        return _Pages.of(join(self._table.uri, "data", files[0].path), place, self._width, fragment.physical_rows)


class _Pages:
    """The pages of a column in one file, which is open as long as this lives.

    Args:
        file: descriptor.
        starts: int64 [P], first row of each page.
        positions: int64 [P], of its first byte.
        width: bytes of a row.
    """

    def __init__(self, file: int, starts: np.ndarray, positions: np.ndarray, width: int) -> None:
        self._file, self._starts, self._positions, self._width = file, starts, positions, width
        weakref.finalize(self, os.close, file).atexit = False

    @classmethod
    def of(cls, path: str, column: int, width: int, num_rows: int) -> _Pages | None:
        """Open a file; None where a page of it holds anything but rows, or it cannot be opened."""
        from lance.file import LanceFileReader

        try:
            pages = LanceFileReader(path).metadata().columns[column].pages
            sizes = [_flat_bytes(page) for page in pages]
            lengths = np.array([size // width for size in sizes], np.int64)
            if any(size % width or not size for size in sizes) or lengths.sum() != num_rows:
                return None
            positions = np.array([page.buffers[0].position for page in pages], np.int64)
            return cls(os.open(path, os.O_RDONLY), np.cumsum(lengths) - lengths, positions, width)
        except (OSError, ValueError, IndexError):  # Lance says better what is wrong with a file
            return None

    def into(self, rows: np.ndarray, places: np.ndarray, out: np.ndarray) -> bool:
        """Read rows of the file, int64 [n], to their places in `out`, int64 [n]; False where the file is too short."""
        page = np.searchsorted(self._starts, rows, side="right") - 1
        position = self._positions[page] + (rows - self._starts[page]) * self._width
        order = np.argsort(position)
        wanted = list(zip(position[order].tolist(), places[order].tolist(), strict=True))
        if hasattr(os, "posix_fadvise"):  # so that a disk fetches the next rows while the first are copied
            for start, _ in wanted:
                os.posix_fadvise(self._file, start, self._width, os.POSIX_FADV_WILLNEED)
        return all(os.preadv(self._file, [out[place]], start) == self._width for start, place in wanted)


def _flat_bytes(page: Any) -> int:
    """Bytes of a page that holds nothing but values, 0 of any other."""
    told = str(page.encoding)
    is_flat = all(re.search(word, told) for word in _FLAT) and not _ELSE.search(told)
    return int(page.buffers[0].size) if is_flat and len(page.buffers) == 1 else 0
