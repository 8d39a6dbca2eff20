"""Which rows an export takes, and those rows with their pictures, batch by batch. Knows no format.

Where pictures are read, or some rows are drawn, the positions of all rows are held: 8 bytes each.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from clipdata.arguments import check_condition, check_count
from clipdata.errors import UsageError
from clipdata.lance_io.table import Table
from clipdata.objects.references import References, columns_needed
from clipdata.schema import image_column, is_binary, is_blob, is_picture_struct, picture_column

PICTURE_ROWS = 64
NARROW_ROWS = 4096
_LOOKED_AT = 32
NO_PICTURE = "the row has no picture"


@dataclass
class Selection:
    """Rows of a table, in its order.

    Args:
        table: pinned to the version that is read.
        columns: to read.
        where: SQL condition.
        limit: the first so many only.
        sample: so many only, drawn evenly.
        seed: of the draw.
        needs_picture: rows without one are left out.

    Raises:
        UsageError: an argument is of another kind, or `limit` stands beside `sample`.

    Attributes:
        refused: rows left out so far, by reason.
    """

    table: Table
    columns: tuple[str, ...]
    where: str | None = None
    limit: int | None = None
    sample: int | None = None
    seed: int = 0
    needs_picture: bool = False
    refused: Tally[str] = field(default_factory=Tally)

    def __post_init__(self) -> None:
        check_condition(self.where)
        for name in ("limit", "sample"):
            if getattr(self, name) is not None:
                check_count(getattr(self, name), f"export: {name}", least=1)
        check_count(self.seed, "export: seed")
        if self.limit is not None and self.sample is not None:
            raise UsageError("export: limit and sample are both given; expected one of them")

    @property
    def picture(self) -> str | None:
        """The column of pictures, where it is read."""
        name = picture_column(self.table.schema)
        return name if name in self.columns else None

    def num_rows(self) -> int:
        """How many rows it takes, before any is left out."""
        found = self.table.count_rows(self.where)
        return min(found, self.limit or found, self.sample or found)

    def offsets(self) -> np.ndarray:
        """Positions of the rows among the live ones, int64 [n], ascending."""
        offsets = self.table.offsets(self.where)
        if self.sample is not None and self.sample < len(offsets):
            drawn = np.random.default_rng(self.seed).choice(len(offsets), self.sample, replace=False)
            return np.sort(offsets[drawn])
        return offsets[: self.limit]

    def batches(self, offsets: np.ndarray | None = None) -> Iterator[pa.RecordBatch]:
        """The rows, with the bytes of pictures that they only refer to; those that cannot be had are counted.

        Args:
            offsets: int64 [n], of other rows instead.
        """
        names = [*self.columns, *columns_needed(self.table.schema, self.columns)]
        references = References(self.table.storage)
        for _, rows in references.filled((None, rows) for rows in self._read(names, offsets)):
            kept = self._usable(rows, references)
            if kept is not None:
                rows = rows.filter(kept)
            if rows.num_rows:
                yield _whole(rows.select(list(self.columns)))

    def size(self) -> int:
        """About how many bytes the rows take, judged by some of them that lie evenly among all."""
        offsets = self.offsets()
        if not len(offsets):
            return 0
        looked_at = offsets[np.linspace(0, len(offsets) - 1, min(len(offsets), _LOOKED_AT)).astype(np.int64)]
        num_bytes = sum(batch.nbytes for batch in self.batches(looked_at))
        self.refused.clear()
        return int(num_bytes * len(offsets) / len(looked_at))

    def _read(self, names: list[str], offsets: np.ndarray | None) -> Iterator[pa.Table]:
        fields = [self.table.schema.field(name) for name in names]
        has_bytes = any(is_binary(one.type) or is_blob(one) or is_picture_struct(one.type) for one in fields)
        if offsets is None and not has_bytes and self.sample is None:
            scanned = self.table.scan(names, where=self.where, batch_rows=NARROW_ROWS, limit=self.limit)
            yield from (pa.Table.from_batches([batch]) for batch in scanned)
            return
        offsets = self.offsets() if offsets is None else offsets
        step = PICTURE_ROWS if has_bytes else NARROW_ROWS
        for start in range(0, len(offsets), step):
            yield self.table.take(offsets[start : start + step], names)

    def _usable(self, rows: pa.Table, references: References) -> pa.Array | None:
        """Which rows have the picture that they should have; None for all."""
        if self.picture is None:
            return None
        missing_N = _is_missing(rows.column(self.picture))
        if not missing_N.any():
            return None
        is_filled = self.picture == image_column(rows.schema) and "uri" in rows.schema.names
        uris = rows.column("uri").to_pylist() if is_filled else [None] * rows.num_rows
        kept_N = np.ones(rows.num_rows, bool)
        for place in np.flatnonzero(missing_N):
            unread = references.unread.get(uris[place] or "")
            if unread is not None or self.needs_picture:
                kept_N[place] = False
                self.refused[unread.reason if unread is not None else NO_PICTURE] += 1
        return pa.array(kept_N)


def picture_bytes(values: pa.Array) -> pa.Array:
    """The bytes of a column of pictures, whatever holds them."""
    if not pa.types.is_struct(values.type):
        return values
    place = values.type.get_field_index("bytes")
    return values.flatten()[place] if place >= 0 else pa.nulls(len(values), pa.large_binary())


def _is_missing(column: pa.ChunkedArray) -> np.ndarray:
    """Whether a row's picture is null or has no bytes, bool [n]."""
    held = picture_bytes(column.combine_chunks())
    lengths = pa.compute.binary_length(held) if held.type != pa.null() else pa.nulls(len(held), pa.int64())
    missing_N: np.ndarray = lengths.fill_null(0).to_numpy(zero_copy_only=False) == 0
    return missing_N


def _whole(rows: pa.Table) -> pa.RecordBatch:
    return rows.combine_chunks().to_batches()[0]
