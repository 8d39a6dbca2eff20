"""Pictures of merged rows: the bytes themselves, or which row of the images' table holds them.

A merged table holds a picture as often as there are captions of it; a reference takes some bytes. It knows rows of the
images by their places, and nothing of metadata or of how the two are matched.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipdata.lance_io.pictures import ROW, TABLE, picture_fields, place_columns
from clipdata.lance_io.referring import point_anew, refer, release
from clipdata.lance_io.table import Table
from clipdata.schema import image_column

COPY_IMAGES = False
_AT_ONCE = 1 << 20


@dataclass
class PictureRows:
    """How merged rows hold their pictures.

    Args:
        images: pinned to the version that is merged.
        copies: hold the bytes.
    """

    images: Table
    copies: bool
    _name: str | None = None

    def __post_init__(self) -> None:
        self._image = image_column(self.images.schema)
        ids = self.images.to_table(["_rowid"]) if not self.copies else None
        self._ids = ids.column(0).combine_chunks() if ids is not None else pa.array([], pa.uint64())

    def read(self, carried: list[str]) -> list[str]:
        """Of the columns that merged rows carry, those that are read of the images."""
        if self.copies:
            return [name for name in carried if name not in place_columns(self.images.schema)]
        return [name for name in carried if name not in (self._image, ROW, TABLE)]

    def fields(self, carried: list[pa.Field]) -> list[pa.Field]:
        """Columns of merged rows, given those that they carry of the images."""
        own = [column for column in carried if column.name not in place_columns(self.images.schema)]
        return own if self.copies else [*own, *picture_fields()]

    def begin(self, table: Table) -> None:
        """Note in the merged table where its pictures are, before a row refers to them."""
        if not self.copies:
            self._name = refer(table, self.images)

    def columns(self, images: np.ndarray, fields: pa.Schema) -> dict[str, pa.Array]:
        """What merged rows hold beside the columns that were read.

        Args:
            images: int64 [B], places of the rows' images.
            fields: of the merged table.
        """
        if self.copies:
            return {}
        assert self._name is not None, "the merge has begun"
        return {
            **({self._image: pa.nulls(len(images), fields.field(self._image).type)} if self._image else {}),
            ROW: self._ids.take(pa.array(images)),
            TABLE: pa.array([self._name] * len(images), pa.string()),
        }

    def settle(self, table: Table, keys: pa.Array, etags: pa.Array, images: np.ndarray) -> int:
        """Let rows that the merge left alone refer to this version too, and let go of versions before.

        Args:
            table: the merged one, with all rows written; moved to the version that is made.
            keys, etags: of the merged rows [N].
            images: int64 [N], places of their images.

        Returns:
            Number of rows that were changed.
        """
        if self.copies:
            return 0
        changed = 0
        name = str(self._name).replace("'", "''")
        outdated = f"`{ROW}` IS NOT NULL AND (`{TABLE}` IS NULL OR `{TABLE}` <> '{name}')"
        key = table.key
        assert key is not None, "a merged table has a key"
        for batch in list(table.scan([key, "etag"], where=outdated, batch_rows=_AT_ONCE)):
            place = pc.index_in(batch.column(key), value_set=keys)
            same = pc.fill_null(pc.equal(etags.take(place), batch.column("etag")), False)
            rows, place = batch.filter(same), place.filter(same)
            if rows.num_rows:
                columns = self.columns(images[place.to_numpy()], table.schema)
                found = {key: rows.column(key), "etag": rows.column("etag"), ROW: columns[ROW], TABLE: columns[TABLE]}
                changed += point_anew(table, pa.table(found))
        table.move_to(table.latest())
        release(table, self.images)
        return changed
