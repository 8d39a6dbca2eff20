"""What the steps that use an encoder have in common: image features from the pictures, or from a trunk column."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from clipdata.errors import LineageMismatchError, SchemaError
from clipdata.lineage import Lineage
from clipdata.step_protocol import BYTES, NUMBERS, BaseStep, Kind
from clipdata.steps.recall import ImageRecall, TextRecall, finite_or_reason

if TYPE_CHECKING:
    from clipdata.encoder.model import Encoder


class EncoderStep(BaseStep):
    """A step that scores or embeds images. What else it reads, a step adds to `takes`.

    Args:
        encoder: gives the features.
        image: column of image bytes.
        trunk: column of the image trunk's features (`ImageTrunk`), read instead of the pictures when given. Nothing is
            decoded then.
    """

    name: str
    version: str
    returns: pa.DataType
    reads: tuple[str, ...]
    parameters: Mapping[str, Any]

    def __init__(self, encoder: Encoder, *, image: str = "image", trunk: str | None = None) -> None:
        self.encoder = encoder
        self.model: str | None = encoder.identity
        self.model_name, self.trained_on = encoder.name, encoder.trained_on
        self.takes: Mapping[str, Kind] = {trunk: NUMBERS} if trunk else {image: BYTES}
        self.image, self.trunk = image, trunk
        self._images = ImageRecall(encoder, encoder.encode_images)
        self._texts = TextRecall(encoder)

    def check(self, schema: pa.Schema) -> None:
        """Check that a trunk column was made by this encoder's own trunk.

        Raises:
            SchemaError: the column is no list of as many floats as the trunk gives.
            LineageMismatchError: other weights made it.
        """
        if self.trunk is None:
            return
        found = schema.field(self.trunk)
        expected = pa.list_(pa.float32(), self.encoder.trunk_dim)
        if found.type != expected:
            raise SchemaError(f"{self.name}: column {self.trunk!r} is {found.type}; expected {expected}")
        lineage = Lineage.of(found)
        if lineage is not None and lineage.model != self.encoder.trunk_identity:
            raise LineageMismatchError(
                f"{self.name}: column {self.trunk!r} was made by the trunk {lineage.model}, "
                f"this encoder's is {self.encoder.trunk_identity}",
                hint="map the trunk column of this encoder under another name, or score from the pictures",
            )

    def prepare(self, batch: pa.RecordBatch) -> Any:
        """Decode the pictures of a batch, when they are needed."""
        return None if self.trunk else self._images.prepare(batch.column(self.image))

    def image_features(self, batch: pa.RecordBatch, prepared: Any) -> tuple[np.ndarray, list[str | None]]:
        """Features of each row's image: float32 [B, D], and why a row has none (NaN from the model included)."""
        if self.trunk is None:
            return self._images.features(prepared)
        import torch

        column = batch.column(self.trunk)
        missing = column.is_null().to_numpy(zero_copy_only=False)
        filled = pa.compute.fill_null(column.flatten(), 0.0) if not missing.any() else _filled(column)
        trunk_BT = torch.from_numpy(np.array(filled).reshape(len(column), -1))
        features_BD = self.encoder.project_trunk(trunk_BT).float().cpu().numpy()
        return features_BD, finite_or_reason(features_BD, [f"no {self.trunk}" if gone else None for gone in missing])

    def notes(self) -> dict[str, Any]:
        """Texts that were longer than the model reads."""
        return self._texts.notes()


def _filled(column: pa.FixedSizeListArray) -> np.ndarray:
    rows = np.zeros((len(column), column.type.list_size), np.float32)
    valid = column.is_valid().to_numpy(zero_copy_only=False)
    rows[valid] = column.drop_null().flatten().to_numpy(zero_copy_only=False).reshape(-1, column.type.list_size)
    return rows
