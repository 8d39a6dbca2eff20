"""Rows of a column of prepared pixels as the pictures of a batch: raw levels as they lie in memory, JPEGs decoded.

A row that has none, because the column was not filled for it or its picture cannot be used, is prepared from its
picture, or refused as that is. It knows Arrow and what was fetched; it must not know how a column is chosen.

Shapes: B rows of a batch, M rows of it without prepared pixels, H and W as stored, C = 3 channels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from clipdata.encoder.augmentation import Augmented, Draw
from clipdata.encoder.prepared_column import PreparedColumn
from clipdata.errors import ImageRefused
from clipdata.images.batches import Encoded
from clipdata.lance_io.table import Table
from clipdata.objects.references import columns_needed
from clipdata.schema import image_column
from clipdata.stream.decode import Decoded, ImageDecoder
from clipdata.stream.decode_gpu import DeviceDecoder
from clipdata.stream.fetch import Fetched, Fetcher
from clipdata.stream.groups import Slot
from clipdata.stream.plan import Plan
from clipdata.stream.prepared import PixelSource

Draws = Callable[[int], Any]
"""Place in a batch → the row's own source of chance."""


class PreparedRows:
    """Makes the pictures of batches.

    Args:
        table: pinned to a version.
        column: of prepared pixels, which is fetched in place of the pictures.
        holds: what it holds.
        decoder: prepares pictures, and levels that are to be changed at random.
    """

    def __init__(self, table: Table, column: str, holds: PreparedColumn, decoder: ImageDecoder | DeviceDecoder) -> None:
        self._table, self._column, self._holds, self._decoder = table, column, holds, decoder
        self._originals: Fetcher | None = None

    def batch(self, found: Fetched, draws: Draws | None) -> Decoded:
        """The pictures of rows that were fetched.

        Args:
            found: holds the column.
            draws: for random crops and colours.
        """
        return self._decoded(found, draws) if self._holds.kind == "jpeg" else self._raw(found, draws)

    def _decoded(self, found: Fetched, draws: Draws | None) -> Decoded:
        """JPEGs, and in their midst the pictures of rows that have none: both are decoded alike."""
        encoded = list(found.encoded[self._column])
        missing = np.array([place for place, data in enumerate(encoded) if data is None], np.int64)
        unread: dict[int, ImageRefused] = {}
        if len(missing):
            originals, gone = self._of_pictures(found.slot.offsets[missing])
            for place, data in zip(missing.tolist(), originals, strict=True):
                encoded[place] = data
            unread = {int(missing[place]): refused for place, refused in gone.items()}
        return self._decoder.batch(encoded, unread, draws)

    def _raw(self, found: Fetched, draws: Draws | None) -> Decoded:
        column = found.rows.column(self._column)
        image_BCHW = self._decoder.levels(levels_of(column, self._holds), draws)
        if not column.null_count:
            return Decoded(image_BCHW, {})
        missing_M = np.flatnonzero(column.is_null().to_numpy())
        originals, unread = self._of_pictures(found.slot.offsets[missing_M])

        def own(place: int) -> Any:
            return draws(int(missing_M[place])) if draws is not None else None

        decoded = self._decoder.batch(originals, unread, None if draws is None else own)
        image_BCHW[missing_M] = decoded.image_BCHW
        return Decoded(image_BCHW, {int(missing_M[place]): refused for place, refused in decoded.refused.items()})

    def _of_pictures(self, offsets_M: np.ndarray) -> tuple[Encoded, Mapping[int, ImageRefused]]:
        """The pictures of some rows, and which of their files could not be read."""
        if self._originals is None:
            schema, image = self._table.schema, self._holds.image
            extra = columns_needed(schema, [image]) if image == image_column(schema) else []
            self._originals = Fetcher(self._table, list(dict.fromkeys([image, *extra])))
        slot = Slot((0,), (len(offsets_M),), offsets_M, np.zeros(len(offsets_M), np.int64))
        (found,) = self._originals.read([slot])
        return found.encoded[self._holds.image], found.unread


def levels_of(column: pa.ChunkedArray, holds: PreparedColumn) -> np.ndarray:
    """Raw pictures of a column: uint8 [B, H, W, 3], a view of Arrow's memory where that is one piece; null ones too."""
    one = column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks) if column.num_chunks else None
    shape = (*holds.preparation.size, 3)
    if one is None or not len(one):
        return np.empty((0, *shape), np.uint8)
    data = one.values.buffers()[1]
    start = one.values.offset + one.offset * holds.num_levels
    return np.frombuffer(data, np.uint8, len(one) * holds.num_levels, start).reshape(len(one), *shape)


def prepared_rows(
    table: Table, sources: Mapping[str, PixelSource], decoder: ImageDecoder | DeviceDecoder
) -> dict[str, PreparedRows]:
    """What makes the pictures of each column of images of which prepared pixels are read."""
    return {
        image: PreparedRows(table, source.column, source.holds, decoder)
        for image, source in sources.items()
        if source.column is not None and source.holds is not None
    }


def draws_of(prepare: Any, plan: Plan, slot: Slot) -> Draws | None:
    """Sources of chance of the rows of a slot; None where nothing is drawn."""
    if not isinstance(prepare, Augmented):
        return None
    epoch_B = slot.windows // plan.num_windows
    return lambda place: Draw(plan.seed, int(epoch_B[place]), int(slot.offsets[place]))
