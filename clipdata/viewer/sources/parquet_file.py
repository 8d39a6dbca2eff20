"""A parquet file, or a folder of them, as a source of the viewer; pictures are read by row group, when looked at."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clipdata.errors import StorageError
from clipdata.images.picture_guess import LOOKED_AT, bytes_of, guess_picture_column
from clipdata.viewer.sources.filterable import Filterable

_KEPT_GROUPS = 4
_KEPT_BYTES = 256 << 20


class ParquetFile:
    """Rows of files of one schema, one file after the other.

    Args:
        location: as it was named.
        files: of it, at least one.

    Raises:
        StorageError: a file cannot be read, or has other columns than the first.
    """

    kind = "parquet"
    version: int | None = None
    key: str | None = None
    notes: tuple[str, ...] = ()

    def __init__(self, location: str, files: Sequence[Path]) -> None:
        self.location = location
        self._lock = threading.Lock()
        self._files = [_opened(file) for file in files]
        self.schema: pa.Schema = self._files[0].schema_arrow
        for file, path in zip(self._files, files, strict=True):
            if file.schema_arrow.names != self.schema.names:
                raise StorageError(f"{path} has other columns than {files[0]}", hint="look at one file at a time")
        self._groups = [(file, group) for file in self._files for group in range(file.num_row_groups)]
        sizes = [file.metadata.row_group(group).num_rows for file, group in self._groups]
        self._starts_G = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self.num_rows = int(self._starts_G[-1])
        self._held: dict[tuple[int, tuple[str, ...]], pa.Table] = {}
        self.picture = guess_picture_column(self.schema, self._first)
        self._filterable = Filterable(self.schema, self.read)

    def positions(self, where: str | None) -> np.ndarray:
        """See `Source`."""
        return np.arange(self.num_rows, dtype=np.uint32) if where is None else self._filterable.positions(where)

    def read(self, columns: Sequence[str]) -> pa.Table:
        """See `Source`."""
        with self._lock:
            return pa.concat_tables([file.read(columns=list(columns)) for file in self._files]).cast(
                self._kept(columns)
            )

    def take(self, positions: np.ndarray, columns: Sequence[str]) -> pa.Table:
        """See `Source`."""
        schema = self._kept(columns)
        if not len(positions):
            return schema.empty_table()
        group_B = np.searchsorted(self._starts_G, positions, side="right") - 1
        parts, places = [], []
        for group in np.unique(group_B):
            mine = np.flatnonzero(group_B == group)
            rows = self._group(int(group), tuple(columns))
            parts.append(rows.take(pa.array(positions[mine] - self._starts_G[group])).cast(schema))
            places.append(mine)
        return pa.concat_tables(parts).take(pa.array(np.argsort(np.concatenate(places))))

    def picture_of(self, position: int) -> bytes | None:
        """See `Source`."""
        if self.picture is None:
            return None
        return bytes_of(self.take(np.array([position], np.int64), [self.picture]).column(0)[0].as_py())

    def _kept(self, columns: Sequence[str]) -> pa.Schema:
        return pa.schema([self.schema.field(name) for name in columns])

    def _group(self, group: int, columns: tuple[str, ...]) -> pa.Table:
        """A row group, of which the last few stay in memory as long as they are small."""
        with self._lock:
            if (group, columns) not in self._held:
                file, number = self._groups[group]
                rows = file.read_row_group(number, columns=list(columns))
                while self._held and (
                    len(self._held) >= _KEPT_GROUPS or sum(map(_size, self._held.values())) + _size(rows) > _KEPT_BYTES
                ):
                    del self._held[next(iter(self._held))]
                self._held[group, columns] = rows
            return self._held[group, columns]

    def _first(self, name: str) -> pa.ChunkedArray:
        batch = next(self._files[0].iter_batches(batch_size=LOOKED_AT, columns=[name]), None)
        return pa.chunked_array([batch.column(0)] if batch is not None else [], self.schema.field(name).type)


def _size(rows: pa.Table) -> int:
    return int(rows.nbytes)


def _opened(file: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(file)
    except (pa.ArrowException, OSError) as error:
        raise StorageError(f"{file} cannot be read as parquet: {error}") from error
