"""Pictures of merged rows: the bytes themselves, or which row of the images' table holds them.

A merged table holds a picture as often as there are captions of it; a reference takes some bytes. It knows the images
by their places, and rows by the digests of their keys and etags, and nothing of metadata or of how the two are matched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from clipdata.errors import SchemaError
from clipdata.lance_io.pictures import ROW, TABLE, picture_fields, place_columns
from clipdata.lance_io.referring import name_of, refer, words_of
from clipdata.lance_io.table import Table
from clipdata.storage import redact
from ingest.merging.changes import packed_keys
from ingest.merging.column_names import ETAG, KEY
from ingest.merging.image_side import ImageSide
from ingest.merging.matching import positions_in
from ingest.updating.digests import digests_of_texts

COPY_IMAGES = False
_AT_ONCE = 1 << 20  # rows of which only the reference changes
_COPIED_ROWS = 1024
_COPIED_BYTES = 256 << 20  # each piece rewrites the pictures of a fragment


@dataclass(frozen=True)
class Outputs:
    """The rows that a merged table is to have.

    Args:
        keys: uint8 [N, 16].
        etags_of: places among them, int [B] → digests of their etags, uint8 [B, 16].
        images: int [N], places of their images.
    """

    keys: np.ndarray
    etags_of: Callable[[np.ndarray], np.ndarray]
    images: np.ndarray


class PictureRows:
    """How merged rows hold their pictures.

    Args:
        side: the images, pinned to the version that is merged.
        name: what the column of the image is called in the merged table; None where it is not carried.
        copies: hold the bytes. So do rows of images that hold none: there is nothing to refer to.
        present: the merged table as it is, or None.

    Raises:
        SchemaError: the merged table has other columns of the names that references need.
    """

    def __init__(self, side: ImageSide, name: str | None, *, copies: bool, present: Table | None) -> None:
        self._side, self._name = side, name
        self._ids = pa.array([], pa.uint64())
        self.copies = copies or name is None or not side.holds_pictures()
        if present is not None and not self.copies:
            _check_free(present)

    @cached_property
    def _called(self) -> str:
        """What rows call the version of the images."""
        return name_of(self._side.table)

    @property
    def words(self) -> str | None:
        """The version that rows refer to, for people; None where they hold copies."""
        return None if self.copies else words_of(self._side.table)

    @property
    def reads(self) -> list[str]:
        """Of the columns that are carried, those that are read for a row: what has no etag is told by its bytes."""
        side = self._side
        is_read = self.copies or not side.has_etags
        return side.columns if is_read else [name for name in side.columns if name != side.image]

    @property
    def fields(self) -> list[pa.Field]:
        """Columns of merged rows beside those that they carry."""
        return [] if self.copies else picture_fields()

    def begin(self, table: Table) -> None:
        """Note in the merged table where its pictures are, before a row refers to them."""
        if not self.copies:
            ids = self._side.table.to_table(["_rowid"])
            self._ids = ids.column(0).combine_chunks()
            refer(table, self._side.table, self._side.image)

    def columns(self, images: np.ndarray) -> dict[str, pa.Array]:
        """What merged rows hold that refer to pictures; nothing for those that hold them.

        Args:
            images: int64 [B], places of the rows' images.
        """
        if self.copies:
            return {}
        return {
            str(self._name): pa.nulls(len(images), pa.large_binary()),
            ROW: self._ids.take(pa.array(images)),
            TABLE: pa.array([self._called] * len(images), pa.string()),
        }

    def num_otherwise(self, table: Table, outputs: Outputs) -> int:
        """How many rows stay, and have their pictures otherwise than they are to have them."""
        found = (self._staying(table, where, outputs) for where, _ in self._otherwise(table))
        return sum(rows.num_rows for batches in found for rows, _ in batches)

    def anew(self, table: Table, outputs: Outputs) -> Iterator[pa.Table]:
        """What gives such rows their pictures as the others have them, in bounded pieces.

        Nothing else of a row changes, and what was derived from it stays: its picture is the same.

        Args:
            table: the merged one, with all other rows written.

        Yields:
            the key, the etag, and the columns to replace.
        """
        for where, with_image in self._otherwise(table):
            held: list[pa.Table] = []
            for rows, images in self._staying(table, where, outputs):
                columns = self._copied(images) if self.copies else self.columns(images)
                if not with_image:
                    del columns[str(self._name)]
                held.append(pa.table({**dict(zip(rows.schema.names, rows.columns, strict=True)), **columns}))
                if sum(piece.nbytes for piece in held) > _COPIED_BYTES:
                    yield pa.concat_tables(held)
                    held = []
            if any(piece.num_rows for piece in held):
                yield pa.concat_tables(held)

    def _otherwise(self, table: Table) -> list[tuple[str | None, bool]]:
        """Conditions of rows that have their pictures otherwise, and whether their column of pictures changes."""
        refers = len(place_columns(table.schema)) == 2
        if self.copies:
            return [(f"`{ROW}` IS NOT NULL", True)] if refers and self._name is not None else []
        if not refers:
            return [(None, True)]
        name = self._called.replace("'", "''")
        elsewhere = f"`{ROW}` IS NOT NULL AND (`{TABLE}` IS NULL OR `{TABLE}` <> '{name}')"
        return [(elsewhere, False), (f"`{ROW}` IS NULL", True)]

    def _staying(
        self, table: Table, where: str | None, outputs: Outputs
    ) -> Iterator[tuple[pa.RecordBatch, np.ndarray]]:
        """Keys and etags of rows that the merge leaves as they are, and places of their images, int64 [B]."""
        if ETAG not in table.schema.names:
            return
        for batch in table.scan([KEY, ETAG], where=where, batch_rows=_COPIED_ROWS if self.copies else _AT_ONCE):
            places = positions_in(outputs.keys, packed_keys(batch.column(KEY)))
            stays = places >= 0
            etags = digests_of_texts(batch.column(ETAG))
            stays[stays] = (outputs.etags_of(places[stays]) == etags[stays]).all(axis=1)
            yield batch.filter(pa.array(stays)), outputs.images[places[stays]].astype(np.int64)

    def _copied(self, images: np.ndarray) -> dict[str, pa.Array | pa.ChunkedArray]:
        """The columns of rows that hold their pictures."""
        distinct, which = np.unique(images, return_inverse=True)
        held = self._side.take(distinct, [self._side.image])[self._side.image]
        nulls = {column.name: pa.nulls(len(images), column.type) for column in picture_fields()}
        return {str(self._name): held.take(pa.array(which)), **nulls}


def _check_free(present: Table) -> None:
    found = [name for name in (ROW, TABLE) if name in present.schema.names]
    if found and len(place_columns(present.schema)) < 2:
        raise SchemaError(
            f"{redact(present.uri)} has a column {' and '.join(found)}, which would say where its pictures are",
            hint="copy the pictures: --copy-images (copy_images=True); or drop the column",
        )
