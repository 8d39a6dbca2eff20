"""ImageQuality: what is measured of a picture, as one column of several figures, for SQL to filter by.

One step makes them all, for the cost is in decoding. It knows no thresholds.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from typing import Any

import pyarrow as pa

from clipdata.cores import num_cores
from clipdata.images.batches import DecodedBatch, decode_batch
from clipdata.images.figures import PictureFigures, measure
from clipdata.step_protocol import BYTES, BaseStep, require_names
from clipdata.steps.recall import NO_PICTURE

_KINDS = {"int": pa.int32(), "float": pa.float32(), "bool": pa.bool_()}


class ImageQuality(BaseStep):
    """Width, height, sharpness, brightness, contrast, colourfulness, border and blank of a picture, as one column.

    A condition names a figure with a dot: "quality.sharpness >= 100 AND NOT quality.blank". Each distinct picture of a
    batch is decoded once. What the columns `width`, `height` and `bytes` say needs no step and reads no picture:
    "greatest(width, height) <= 3 * least(width, height)". For the figures' scales and sources see
    `clipdata.images.figures`.

    Args:
        image: column of image bytes.

    Raises:
        UsageError: the name of the column is no text.
    """

    name = "ImageQuality"
    version = "1"
    returns = pa.struct([(entry.name, _KINDS[str(entry.type)]) for entry in fields(PictureFigures)])

    def __init__(self, image: str = "image") -> None:
        require_names(self.name, image=image)
        self.reads: tuple[str, ...] = (image,)
        self.takes = {image: BYTES}
        self._pool: ThreadPoolExecutor | None = None

    def prepare(self, batch: pa.RecordBatch) -> DecodedBatch[PictureFigures]:
        """Decode and measure the distinct pictures of a batch."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(max_workers=num_cores(), thread_name_prefix="clipdata-measure")
        return decode_batch(batch.column(0), measure, self._pool)

    def compute(
        self, batch: pa.RecordBatch, prepared: DecodedBatch[PictureFigures]
    ) -> tuple[pa.Array, list[str | None]]:
        """The figures of each row: struct [B]."""
        reasons: list[str | None] = [None] * batch.num_rows
        for row, refused in prepared.refused.items():
            reasons[row] = NO_PICTURE if refused.reason == "missing" else str(refused)
        found = [
            vars(prepared.pixels[place]) if reason is None else None
            for place, reason in zip(prepared.image_of_row.tolist(), reasons, strict=True)
        ]
        return pa.array(found, self.returns), reasons

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pool": None}
