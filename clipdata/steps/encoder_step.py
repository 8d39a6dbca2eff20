"""What the steps that use an encoder have in common: image features from the pictures, or from a trunk column."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from clipdata.errors import LineageMismatchError, SchemaError, UsageError
from clipdata.lineage import Lineage
from clipdata.schema import is_binary
from clipdata.step_protocol import BYTES, NUMBERS, BaseStep, Kind, columns_in_order, require_names
from clipdata.steps.recall import ImageRecall, TextRecall, finite_or_reason

if TYPE_CHECKING:
    from clipdata.encoder.model import Encoder

MAX_SCALE = 1e30  # a cosine times it is a single-precision number


def require_encoder(step: str, encoder: Any) -> None:
    """Hold what a step was given as its encoder to be one.

    Raises:
        UsageError: it is something else, such as a model's name.
    """
    if isinstance(encoder, type) or not isinstance(getattr(encoder, "identity", None), str):
        name = encoder if isinstance(encoder, str) else "starter"
        raise UsageError(
            f"{step}: the encoder is {encoder!r:.80}; expected a loaded one",
            hint=f"{step}(clipdata.load_encoder({name!r}), …)",
        )


def logit_scale(step: str, encoder: Encoder, given: Any) -> float:
    """What multiplies cosines before a softmax: what a step was given, or the model's own.

    Raises:
        UsageError: it is no positive number.
    """
    scale = encoder.logit_scale if given is None else given
    if isinstance(scale, bool) or not isinstance(scale, numbers.Real) or not 0 < float(scale) <= MAX_SCALE:
        raise UsageError(
            f"{step}: scale is {scale!r:.80}; expected a positive number up to {MAX_SCALE:g}",
            hint="leave it out for the model's own, or scale=100",
        )
    return float(scale)


class EncoderStep(BaseStep):
    """A step that scores or embeds images. What else it reads, a step adds to `takes`.

    Args:
        encoder: gives the features.
        image: column of image bytes.
        trunk: column of the image trunk's features (`ImageTrunk`), read instead of the pictures when given. Nothing is
            decoded then.

    Raises:
        UsageError: the encoder is none, or a name of a column is no text.
    """

    name: str
    version: str
    returns: pa.DataType
    reads: tuple[str, ...]
    parameters: Mapping[str, Any]

    def __init__(self, encoder: Encoder, *, image: str = "image", trunk: str | None = None) -> None:
        require_encoder(self.name, encoder)
        require_names(self.name, image=image, trunk=trunk)
        self.encoder = encoder
        self.model: str | None = encoder.identity
        self.model_name, self.trained_on = encoder.name, encoder.trained_on
        self.takes: Mapping[str, Kind] = {image: BYTES} if trunk is None else {trunk: NUMBERS}
        self.image, self.trunk = image, trunk
        self._images = ImageRecall(encoder, encoder.encode_images)
        self._texts = TextRecall(encoder)

    @classmethod
    def arguments_of(cls, lineage: Lineage, schema: pa.Schema) -> dict[str, Any]:
        """As of every step; the first input is the pictures, or the trunk's features."""
        first, rest = lineage.inputs[0], lineage.inputs[1:]
        pictures = {"image": first} if is_binary(schema.field(first).type) else {"trunk": first}
        others = columns_in_order(cls, rest, but=(*lineage.parameters, "image", "trunk")) if rest else {}
        return {**lineage.parameters, **pictures, **others}

    def check(self, schema: pa.Schema) -> None:
        """Check that a trunk column was made by this encoder's own trunk.

        Raises:
            SchemaError: the column is no list of as many floats as the trunk gives.
            LineageMismatchError: other weights made it, or nobody can tell which.
        """
        if self.trunk is None:
            return
        found = schema.field(self.trunk)
        expected = pa.list_(pa.float32(), self.encoder.trunk_dim)
        if found.type != expected:
            raise SchemaError(f"{self.name}: column {self.trunk!r} is {found.type}; expected {expected}")
        lineage = Lineage.of(found)
        if lineage is None or lineage.model != self.encoder.trunk_identity:
            made_by = f"by {lineage.describe()}" if lineage is not None else "by nobody knows which model"
            raise LineageMismatchError(
                f"{self.name}: column {self.trunk!r} was made {made_by}; "
                f"the trunk of {self.encoder.name} is {self.encoder.trunk_identity}",
                hint="map this encoder's own trunk (ImageTrunk, image-trunk) under another name, or leave trunk out to "
                "score from the pictures",
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

    def tally(self) -> Mapping[str, int]:
        """Texts that were met, and those that were longer."""
        return self._texts.tally()

    def add(self, tally: Mapping[str, int]) -> None:
        """Count in the texts that another process met."""
        self._texts.add(tally)


def _filled(column: pa.FixedSizeListArray) -> np.ndarray:
    rows = np.zeros((len(column), column.type.list_size), np.float32)
    valid = column.is_valid().to_numpy(zero_copy_only=False)
    rows[valid] = column.drop_null().flatten().to_numpy(zero_copy_only=False).reshape(-1, column.type.list_size)
    return rows
