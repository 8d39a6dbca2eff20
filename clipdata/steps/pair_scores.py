"""PairScore: how well one caption fits its image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from clipdata.step_protocol import TEXT, require_names
from clipdata.steps.encoder_step import EncoderStep
from clipdata.steps.recall import NOT_FINITE

if TYPE_CHECKING:
    from clipdata.encoder.model import Encoder


class PairScore(EncoderStep):
    """Cosine between the features of a row's image and of its text; the "CLIP score" that data sets are filtered by.

    Args:
        encoder: scores the pair.
        text: column of captions.
        image: column of image bytes.
        trunk: column of trunk features to read instead of the pictures.

    Raises:
        UsageError: the encoder is none, or a name of a column is no text.
    """

    name = "PairScore"
    version = "1"
    returns = pa.float32()

    def __init__(
        self, encoder: Encoder, text: str = "caption", *, image: str = "image", trunk: str | None = None
    ) -> None:
        super().__init__(encoder, image=image, trunk=trunk)
        require_names(self.name, text=text)
        self.text = text
        self.reads = (image if trunk is None else trunk, text)
        self.takes = {**self.takes, text: TEXT}
        self.parameters = {}

    def compute(self, batch: pa.RecordBatch, prepared: Any) -> tuple[pa.Array, list[str | None]]:
        """Score one batch: float32 [B]."""
        image_BD, reasons = self.image_features(batch, prepared)
        texts = batch.column(self.text).to_pylist()
        reasons = [reason or ("no text" if text is None else None) for reason, text in zip(reasons, texts, strict=True)]
        rows = [row for row, reason in enumerate(reasons) if reason is None]
        scores_B = np.zeros(len(texts), np.float32)
        if rows:
            text_TD = self._texts.features([texts[row] for row in rows])
            scores_B[rows] = np.einsum("bd,bd->b", image_BD[rows], text_TD)
        for row in np.flatnonzero(~np.isfinite(scores_B)):
            reasons[row] = reasons[row] or NOT_FINITE
        missing = np.array([reason is not None for reason in reasons], bool)
        return pa.array(scores_B, mask=missing), reasons
