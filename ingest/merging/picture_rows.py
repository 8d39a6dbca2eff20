"""Pictures of merged rows: the bytes themselves, or which row of the images' table holds them.

A merged table holds a picture as often as there are captions of it; a reference takes some bytes. It knows rows of the
images by their places, and nothing of metadata or of how the two are matched.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from clipdata.lance_io.pictures import ROW, TABLE, picture_fields, place_columns
from clipdata.lance_io.referring import point_anew, refer, release, words_of
from clipdata.lance_io.table import Table
from clipdata.schema import image_column
from ingest.merging import foreign_columns
from ingest.merging.changes import packed_keys
from ingest.merging.column_names import ETAG, KEY
from ingest.merging.matching import positions_in
from ingest.updating.digests import digests_of_texts

COPY_IMAGES = False
_AT_ONCE = 1 << 20  # rows of which only the reference changes
_COPIED_ROWS = 1024
_COPIED_BYTES = 256 << 20  # each piece rewrites the pictures of a fragment


@dataclass
class PictureRows:
    """How merged rows hold their pictures.

    Args:
        images: pinned to the version that is merged.
        image: their column of pictures.
        copies: hold the bytes; so it is in any case where the column is none that rows can refer to.
    """

    images: Table
    image: str
    copies: bool
    _name: str | None = None

    def __post_init__(self) -> None:
        self.copies = self.copies or image_column(self.images.schema) != self.image

    @cached_property
    def _ids(self) -> pa.Array:
        """Lance's own numbers of the images' rows, uint64 [I]."""
        return self.images.to_table(["_rowid"]).column(0).combine_chunks()

    def notes(self, num_settled: int) -> list[str]:
        """What whoever reads the merged table should know.

        Args:
            num_settled: from `settle`.
        """
        where = None if self.copies else words_of(self.images)
        found = (
            [f"pictures stay in {where}, where a tag keeps them; --copy-images writes them here too"] if where else []
        )
        what = "refer to their picture there" if where else "have a copy of their picture"
        return [*found, *([f"{num_settled:,} rows that were here before now {what}"] if num_settled else [])]

    def fields(self) -> list[pa.Field]:
        """Columns of merged rows beside those that they carry."""
        return [] if self.copies else picture_fields()

    def begin(self, table: Table) -> None:
        """Note in the merged table where its pictures are, before a row refers to them."""
        if not self.copies:
            self._name = refer(table, self.images)

    def columns(self, places: np.ndarray, image: str) -> dict[str, pa.Array]:
        """What merged rows hold instead of their pictures; nothing where they hold the pictures.

        Args:
            places: int64 [B], of the rows' images.
            image: column of pictures of the merged table.
        """
        if self.copies:
            return {}
        assert self._name is not None, "the merge has begun"
        return {
            image: pa.nulls(len(places), pa.large_binary()),
            ROW: self._ids.take(pa.array(places)),
            TABLE: pa.array([self._name] * len(places), pa.string()),
        }

    def settle(self, table: Table, image: str, keys: np.ndarray, etags: np.ndarray, images: np.ndarray) -> int:
        """Give rows that the merge left alone their pictures as the others have them, and let go of older versions.

        Nothing else of a row changes, and what was derived from it stays: its picture is the same.

        Args:
            table: the merged one, with all rows written; moved to the version that is made.
            image: its column of pictures.
            keys, etags: of the merged rows, digests, uint8 [N, 16].
            images: [N], places of their images.

        Returns:
            Number of rows that were changed.
        """
        if len(place_columns(table.schema)) < 2:
            return 0
        changed = 0
        for where, with_image in self._outdated():
            for found in self._anew(table, where, image, (keys, etags, images)):
                changed += point_anew(table, found if with_image else found.drop_columns([image]))
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
        self, table: Table, where: str, image: str, merged: tuple[np.ndarray, np.ndarray, np.ndarray]
    ) -> Iterator[pa.Table]:
        """What replaces the columns of some rows of a merged table, in bounded pieces."""
        keys, etags, images = merged
        held: list[pa.Table] = []
        rows_at_once = _COPIED_ROWS if self.copies else _AT_ONCE
        for batch in table.pinned().scan([KEY, ETAG], where=where, batch_rows=rows_at_once):
            outputs = positions_in(keys, packed_keys(batch.column(0)))
            same = outputs >= 0
            same[same] = (etags[outputs[same]] == digests_of_texts(batch.column(1))[same]).all(axis=1)
            if not same.any():
                continue
            rows = pa.table(batch.filter(pa.array(same)))
            for name, values in self._as_now(images[outputs[same]].astype(np.int64), image).items():
                rows = rows.append_column(name, values)
            held.append(rows)
            if sum(piece.nbytes for piece in held) > _COPIED_BYTES:
                yield pa.concat_tables(held)
                held = []
        if held:
            yield pa.concat_tables(held)

    def _as_now(self, places: np.ndarray, image: str) -> dict[str, pa.Array | pa.ChunkedArray]:
        """The columns of pictures of merged rows, given the places of their images, int64 [B]."""
        if not self.copies:
            return self.columns(places, image)
        distinct, image_of_row = np.unique(places, return_inverse=True)
        read = foreign_columns.take(self.images, distinct, [self.image]).column(0)
        held = foreign_columns.image_bytes(read).take(pa.array(image_of_row))
        nulls = {column.name: pa.nulls(len(places), column.type) for column in picture_fields()}
        return {image: held, **nulls}
