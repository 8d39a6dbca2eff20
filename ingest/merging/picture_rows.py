"""Pictures of merged rows: the bytes themselves, or which row of the images' table holds them.

A merged table holds a picture as often as there are captions of it; a reference takes some bytes. It knows rows of the
images by their places, and nothing of metadata or of how the two are matched.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipdata.lance_io.pictures import ROW, TABLE, picture_fields, place_columns
from clipdata.lance_io.referring import point_anew, refer, release, words_of
from clipdata.lance_io.table import Table
from clipdata.schema import image_column

COPY_IMAGES = False
_AT_ONCE = 1 << 20  # rows of which only the reference changes
_COPIED_ROWS = 1024
_COPIED_BYTES = 256 << 20  # each piece rewrites the pictures of a fragment


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

    @property
    def words(self) -> str | None:
        """The version that rows refer to, for people; None where they hold copies."""
        return None if self.copies or self._image is None else words_of(self.images)

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
        """Give rows that the merge left alone their pictures as the others have them, and let go of older versions.

        Nothing else of a row changes, and what was derived from it stays: its picture is the same.

        Args:
            table: the merged one, with all rows written; moved to the version that is made.
            keys, etags: of the merged rows [N].
            images: int64 [N], places of their images.

        Returns:
            Number of rows that were changed.
        """
        if self._image is None or len(place_columns(table.schema)) < 2:
            return 0
        changed = 0
        for where, with_image in self._outdated():
            for found in self._anew(table, where, keys, etags, images, with_image=with_image):
                changed += point_anew(table, found)
        table.move_to(table.latest())
        release(table, self.images)
        return changed

    def _outdated(self) -> list[tuple[str, bool]]:
        """Conditions of rows that have their pictures otherwise, and whether their column of pictures changes."""
        if self.copies:
            return [(f"`{ROW}` IS NOT NULL", True)]
        name = str(self._name).replace("'", "''")
        elsewhere = f"`{ROW}` IS NOT NULL AND (`{TABLE}` IS NULL OR `{TABLE}` <> '{name}')"
        return [(elsewhere, False), (f"`{ROW}` IS NULL", True)]

    def _anew(
        self, table: Table, where: str, keys: pa.Array, etags: pa.Array, images: np.ndarray, *, with_image: bool
    ) -> Iterator[pa.Table]:
        """What replaces the columns of some rows of a merged table, in bounded pieces."""
        key, image = table.key, self._image
        assert key is not None, "a merged table has a key"
        assert image is not None, "looked at before"
        held: list[pa.Table] = []
        size = 0
        for batch in table.pinned().scan(
            [key, "etag"], where=where, batch_rows=_COPIED_ROWS if self.copies else _AT_ONCE
        ):
            place = pc.index_in(batch.column(key), value_set=keys)
            same = pc.fill_null(pc.equal(etags.take(place), batch.column("etag")), False)
            rows, places = pa.table(batch.filter(same)), images[place.filter(same).to_numpy()]
            held.append(
                pa.table({**dict(zip(rows.column_names, rows.columns, strict=True)), **self._as_now(places, table)})
            )
            held[-1] = held[-1] if with_image else held[-1].drop_columns([image])
            size += held[-1].nbytes
            if size > _COPIED_BYTES:
                yield pa.concat_tables(held)
                held, size = [], 0
        if any(rows.num_rows for rows in held):
            yield pa.concat_tables(held)

    def _as_now(self, places: np.ndarray, table: Table) -> dict[str, pa.Array]:
        """The columns of pictures of merged rows, given the places of their images, int64 [B]."""
        if not self.copies:
            return self.columns(places, table.schema)
        image = str(self._image)
        distinct, image_of_row = np.unique(places, return_inverse=True)
        held = self.images.take(distinct, [image]).take(pa.array(image_of_row)).column(image)
        nulls = {name: pa.nulls(len(places), table.schema.field(name).type) for name in (ROW, TABLE)}
        return {image: held, **nulls}
