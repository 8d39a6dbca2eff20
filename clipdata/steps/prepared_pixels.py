"""PreparedPixels: pictures as a model's transform makes them, so that training reads them instead of decoding.

It knows pictures and how a model wants them; it must not know tables, and where the column is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from clipdata.arguments import check_count
from clipdata.cores import num_cores
from clipdata.errors import UsageError
from clipdata.images.batches import DecodedBatch, decode_batch
from clipdata.lineage import Lineage
from clipdata.step_protocol import BYTES, BaseStep, require_names
from clipdata.steps.prepared_choice import PreparedChoice, encode_jpeg
from clipdata.steps.recall import NO_PICTURE

if TYPE_CHECKING:
    from clipdata.encoder.model import Encoder
    from clipdata.encoder.preparation import Preparation

QUALITY = 95  # with colours at half size: of what decodes six times as fast as the original, the nearest to it


class PreparedPixels(BaseStep):
    """Pictures as a model's own transform makes them (exact), ready to be read by the stream and by training.

    "raw" keeps every level: fixed_size_list<uint8> of height × width × 3. "jpeg" keeps a JPEG of the model's size,
    several times smaller, whose error is printed. Each distinct picture of a batch is decoded once. The column belongs
    to the preparation, not to the weights: models that want the same size, filter and crop share it.

    Args:
        encoder: a model, or the preparation of one.
        kind: "raw" or "jpeg".
        side: shorter side to prepare at, in pixels, where random crops are to be made of it; None is the model's.
        quality: of "jpeg", 1 to 100.
        image: column of image bytes.

    Raises:
        UsageError: an argument is of another kind, or the side is smaller than the model's.
    """

    name = "PreparedPixels"
    version = "1"

    def __init__(
        self,
        encoder: Encoder | Preparation,
        kind: str = "raw",
        side: int | None = None,
        quality: int = QUALITY,
        *,
        image: str = "image",
    ) -> None:
        from clipdata.encoder.prepared_column import PreparedColumn, facts_of, sized

        require_names(self.name, image=image)
        wanted = _preparation_of(encoder)
        if side is not None:
            check_count(side, f"{self.name}: side", least=min(wanted.size))
        check_count(quality, f"{self.name}: quality", least=1)
        if quality > 100:
            raise UsageError(f"{self.name}: quality is {quality}; expected 1 to 100")
        self.stored = PreparedColumn(kind, sized(wanted, side), image)  # type: ignore[arg-type]
        self._quality = quality
        self.returns = self.stored.type
        self.reads: tuple[str, ...] = (image,)
        self.takes = {image: BYTES}
        given = {"side": side, "quality": quality if kind == "jpeg" else None}
        self.parameters: Mapping[str, Any] = {
            "kind": kind,
            "preparation": facts_of(wanted),
            **{name: value for name, value in given.items() if value is not None},
        }
        self.model_name: str | None = getattr(encoder, "name", None)
        self._choice: PreparedChoice | None = None
        self._num_rows = 0
        self._pool: ThreadPoolExecutor | None = None

    @classmethod
    def arguments_of(cls, lineage: Lineage, schema: pa.Schema) -> dict[str, Any]:  # noqa: ARG003
        """As of every step; the preparation stands in the lineage whole, so that no model is loaded for it."""
        from clipdata.encoder.prepared_column import preparation_of

        given = {name: value for name, value in lineage.parameters.items() if name != "preparation"}
        return {"encoder": preparation_of(lineage.parameters["preparation"]), "image": lineage.inputs[0], **given}

    def prepare(self, batch: pa.RecordBatch) -> DecodedBatch[np.ndarray]:
        """Decode and prepare the distinct pictures of a batch."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(num_cores(), thread_name_prefix="clipdata-prepare")
        if self._choice is None:
            self._choice = PreparedChoice.of(batch.column(0), self.stored, self._quality)
        return decode_batch(batch.column(0), self._levels, self._pool)

    def compute(
        self, batch: pa.RecordBatch, prepared: DecodedBatch[np.ndarray]
    ) -> tuple[pa.Array, Sequence[str | None]]:
        """The pixels of each row: fixed_size_list<uint8> [B] or binary [B]."""
        reasons: list[str | None] = [None] * batch.num_rows
        for row, refused in prepared.refused.items():
            reasons[row] = NO_PICTURE if refused.reason == "missing" else str(refused)
        self._num_rows += batch.num_rows
        place_B = np.maximum(prepared.image_of_row, 0)
        missing_B = np.array([reason is not None for reason in reasons], bool)
        if self.stored.kind == "jpeg":
            encoded = [encode_jpeg(levels, self._quality) for levels in prepared.pixels]
            return pa.array(encoded, pa.binary()).take(pa.array(place_B, mask=missing_B)), reasons
        height, width = self.stored.preparation.size
        levels_BHWC = np.zeros((batch.num_rows, height, width, 3), np.uint8)
        for row in np.flatnonzero(~missing_B).tolist():
            levels_BHWC[row] = prepared.pixels[place_B[row]]
        values, size = pa.array(levels_BHWC.reshape(-1)), self.stored.num_levels
        return pa.FixedSizeListArray.from_arrays(values, size, mask=pa.array(missing_B)), reasons

    def notes(self) -> Mapping[str, Any]:
        """What the two kinds cost and gain, measured on pictures of the table."""
        return self.foretell(self._num_rows)

    def foretell(self, num_rows: int) -> Mapping[str, Any]:
        """The same of so many rows."""
        return self._choice.notes(num_rows) if self._choice is not None else {}

    def _levels(self, pixels: np.ndarray) -> np.ndarray:
        levels_HWC = np.empty((*self.stored.preparation.size, 3), np.uint8)
        self.stored.preparation.into(pixels, levels_HWC)
        return levels_HWC

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pool": None}


def _preparation_of(encoder: Any) -> Preparation:
    from clipdata.encoder.preparation import Preparation

    found = getattr(encoder, "prepare", encoder)
    if not isinstance(found, Preparation):
        raise UsageError(
            f"{PreparedPixels.name}: encoder is {encoder!r:.80}; expected a model, or the preparation of one",
            hint='PreparedPixels(clipdata.load_encoder("starter")) prepares pictures for that model',
        )
    return found
