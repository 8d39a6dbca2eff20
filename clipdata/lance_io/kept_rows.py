"""Rows that were read from a bucket, kept on a disk of this machine for the next epoch, within a bound of bytes.

    Stream(table, columns, …, cache=Cache("/scratch/kept", max_bytes=50 * 10**9))
    Storage(options={"cache_folder": "/scratch/kept", "cache_bytes": "50GB"})     every stream from that store

What is kept at once is a clump: neighbouring rows, as the order moves them together, so that an epoch of any order,
rank or worker asks for the same ones. Each is an Arrow file under the digest of its rows (`data_files.RowDigests`), is
mapped to memory and handed on without a copy. So a new version of a table finds what did not change, and one that was
changed never gets what was. Pictures that rows refer to are kept within the rows.

A clump that is not there is read whole, once on this machine however many processes ask for it at once. When there is
no room, the rows that are wanted are read, and nothing else.
This module knows rows and files; it must not know in which order they are asked for.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np
import pyarrow as pa

from clipdata.arguments import check_count
from clipdata.bounded_folder import BoundedFolder
from clipdata.current_folder import absolute_path
from clipdata.errors import UsageError
from clipdata.lance_io.data_files import RowDigests, digest_of_files
from clipdata.lance_io.pictures import place_columns
from clipdata.lance_io.pinned import read_patiently
from clipdata.lance_io.sizes import row_bytes
from clipdata.lance_io.table import Table
from clipdata.objects.references import URI, References, columns_needed
from clipdata.schema import image_column
from clipdata.storage import CACHE_BYTES, Storage, is_remote

READ_BYTES = 32 * 2**20  # of clumps that are read before the first of them is put to disk
PATIENCE_S = 30.0  # for a clump that another process is reading
_ASK_AGAIN_S = 0.01


Asked = Callable[[int, int], np.ndarray]


@dataclass(frozen=True)
class Cache:
    """Where to keep what is read, and how much of it.

    Args:
        folder: on this machine; other streams and processes may share it.
        max_bytes: most to keep in it.

    Raises:
        UsageError: the folder is on a bucket, or the bound is no count.
    """

    folder: str | os.PathLike[str]
    max_bytes: int = CACHE_BYTES

    def __post_init__(self) -> None:
        check_count(self.max_bytes, "cache: max_bytes", least=1)
        if not isinstance(self.folder, str | os.PathLike) or not os.fspath(self.folder) or is_remote(self.folder):
            raise UsageError(
                f"cache: folder is {self.folder!r:.80}; expected a folder of this machine",
                hint='Cache("/scratch/kept", max_bytes=50 * 10**9)',
            )
        object.__setattr__(self, "folder", os.path.normpath(absolute_path(self.folder)))

    @classmethod
    def of(cls, storage: Storage, uri: str) -> Cache | None:
        """The one that a store's settings ask for; None for a table on this machine, or where they ask for none."""
        folder = storage.options.get("cache_folder")
        return cls(folder, storage.cache_bytes) if folder and is_remote(uri) else None


def mean_row_bytes(table: Table, columns: Sequence[str], cache: Cache | None) -> float:
    """Mean stored bytes of a row, which is kept as well: to find it, the end of each data file is read."""
    if cache is None:
        return row_bytes(table, columns)
    name = hashlib.sha256(repr((digest_of_files(table), list(columns))).encode()).hexdigest()
    folder = BoundedFolder(Path(cache.folder), cache.max_bytes, name[:24])
    kept = folder.get(name)
    if kept is not None:
        return float(kept.to_pybytes())
    found = row_bytes(table, columns)
    folder.put(name, pa.py_buffer(repr(found).encode()))
    return found


class KeptRows:
    """Rows of a table, from the disk where they are kept, from the table otherwise.

    Args:
        table: pinned to a version.
        cache: where.
        clump_rows: rows that are kept together, about: those asked for of as many neighbours as hold so many.
        columns: that are read.
        asked: the offsets int64 [any], ascending, between two of the table that are ever asked for.
        num: of all that are.
        name: what tells them from other rows of the version.
    """

    def __init__(
        self, table: Table, cache: Cache, clump_rows: int, columns: Sequence[str], *, asked: Asked, num: int, name: str
    ) -> None:
        self._table, self._columns = table, list(columns)
        self._asked = asked
        self._clump_rows, self._clump_offsets = clump_rows, clump_rows * max(table.num_rows // max(num, 1), 1)
        self._of_files = columns_needed(table.schema, self._columns)  # they say in which file a row's image is
        refers = URI in table.schema.names and image_column(table.schema) in columns
        self._references = References(table.storage) if refers else None
        self._filling = Lock()
        self._shares = len(place_columns(table.schema)) == 2  # rows may have one picture of another table
        self._schema = pa.schema([table.schema.field(name) for name in columns])
        self._digests = RowDigests(table, [*self._columns, *self._of_files])
        # Whatever columns it is for: one stream reads several lots of them, and none is to make way for another.
        whole = repr((digest_of_files(table), clump_rows, name, num)).encode()
        owner = hashlib.sha256(whole).hexdigest()[:24]
        self._folder = BoundedFolder(Path(cache.folder), cache.max_bytes, owner)
        self._row_bytes = 0.0

    def take(self, offsets: np.ndarray) -> pa.Table:
        """Read rows.

        Args:
            offsets: int64 [B], ascending.
        """
        if not len(offsets):
            return self._taken(offsets, self._columns)
        clumps, starts = np.unique(offsets // self._clump_offsets, return_index=True)
        wanted = dict(zip(clumps.tolist(), np.split(offsets, starts[1:]), strict=True))
        parts = {clump: self._kept(self._name(clump), clump, offsets) for clump, offsets in wanted.items()}
        missing = [clump for clump, part in parts.items() if part is None]
        if missing and not self._folder.is_full():
            for clump, part in self._fetched(missing, wanted):
                parts[clump] = part
            missing = [clump for clump, part in parts.items() if part is None]
        if missing:  # no room to keep them: only what is wanted
            rows = self._taken(np.concatenate([wanted[clump] for clump in missing]), self._columns)
            parts |= dict(zip(missing, _cut(rows, [len(wanted[clump]) for clump in missing]), strict=True))
        return pa.concat_tables([part for part in parts.values() if part is not None])

    def _fetched(
        self, missing: Sequence[int], wanted: dict[int, np.ndarray]
    ) -> Generator[tuple[int, pa.Table], None, None]:
        """Read clumps whole and keep them, until there is no more room; what another process reads comes from it."""
        waiting, names = deque(missing), {clump: self._name(clump) for clump in missing}
        until_s = time.monotonic() + PATIENCE_S
        while waiting and not self._folder.is_full():
            at_hand = [waiting.popleft() for _ in range(min(self._clumps_at_once(), len(waiting)))]
            with self._folder.claiming([names[clump] for clump in at_hand]) as claimed:
                late = time.monotonic() > until_s
                mine = [clump for clump in at_hand if late or names[clump] in claimed]
                parts = {clump: self._kept(names[clump], clump, wanted[clump]) for clump in mine}
                if to_read := [clump for clump, part in parts.items() if part is None]:
                    parts |= self._read(to_read, names, wanted)
            yield from ((clump, part) for clump, part in parts.items() if part is not None)
            waiting.extend(clump for clump in at_hand if clump not in parts)
            if not mine:
                time.sleep(_ASK_AGAIN_S)

    def _read(self, clumps: list[int], names: dict[int, str], wanted: dict[int, np.ndarray]) -> dict[int, pa.Table]:
        offsets = [self._offsets(clump) for clump in clumps]
        rows = self._taken(np.concatenate(offsets), [*self._columns, *self._of_files])
        if self._references is not None:
            with self._filling:  # what cannot be read stays null, and is asked for again each time
                ((_, rows),) = self._references.filled([(None, rows)])
        rows = rows.select(self._columns)
        self._row_bytes = rows.nbytes / max(rows.num_rows, 1)
        parts: dict[int, pa.Table] = {}
        for clump, whole, part in zip(clumps, offsets, _cut(rows, [len(one) for one in offsets]), strict=True):
            # As a view of the file, where it can be: what is held otherwise is all that was read.
            put = self._folder.put(names[clump], _encoded(_once(part) if self._shares else part))
            kept = self._kept(names[clump], clump, wanted[clump]) if put else None
            parts[clump] = _chosen(part, whole, wanted[clump]) if kept is None else kept
        return parts

    def _taken(self, offsets: np.ndarray, columns: list[str]) -> pa.Table:
        return read_patiently(self._table, lambda: self._table.take(offsets, columns))

    def _clumps_at_once(self) -> int:
        return max(1, int(READ_BYTES / max(self._row_bytes * self._clump_rows, 1.0))) if self._row_bytes else 8

    def _kept(self, name: str, clump: int, wanted: np.ndarray) -> pa.Table | None:
        found = self._folder.get(name)
        if found is None:
            return None
        rows = _chosen(pa.ipc.open_stream(found).read_all(), self._offsets(clump), wanted)
        return rows.cast(self._schema) if self._shares else rows

    def _offsets(self, clump: int) -> np.ndarray:
        return self._asked(clump * self._clump_offsets, (clump + 1) * self._clump_offsets)

    def _name(self, clump: int) -> str:
        return self._digests.of(self._offsets(clump))[:40]


def _cut(rows: pa.Table, sizes: Sequence[int]) -> list[pa.Table]:
    starts = np.cumsum([0, *sizes]).tolist()
    return [rows.slice(start, size) for start, size in zip(starts, sizes, strict=False)]


def _chosen(clump: pa.Table, offsets: np.ndarray, wanted: np.ndarray) -> pa.Table:
    """Some rows of a clump, without a copy where they are neighbours."""
    places = np.searchsorted(offsets, wanted)
    if places[-1] - places[0] == len(places) - 1:
        return clump.slice(int(places[0]), len(places))
    return clump.take(pa.array(places))


def _once(rows: pa.Table) -> pa.Table:
    """The rows with each picture once, whatever the number of rows that have it."""
    image = image_column(rows.schema)
    place = -1 if image is None else rows.schema.get_field_index(image)
    return rows if place < 0 else rows.set_column(place, image, rows.column(place).dictionary_encode())


def _encoded(rows: pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows.combine_chunks())  # of a slice, writes the slice alone
    return sink.getvalue()
