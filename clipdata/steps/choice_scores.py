"""ChoiceScores: how well each of a row's own captions fits its image.

Shapes: B rows, C choices of all rows together, D features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from clipdata.step_protocol import TEXTS, require_names
from clipdata.steps.encoder_step import EncoderStep, logit_scale
from clipdata.steps.recall import NOT_FINITE

if TYPE_CHECKING:
    from clipdata.encoder.model import Encoder


class ChoiceScores(EncoderStep):
    """Softmax over the row's own captions, any number of them.

    Args:
        encoder: scores the captions.
        choices: column of lists of captions.
        image: column of image bytes.
        trunk: column of trunk features to read instead of the pictures.
        scale: multiplies the cosines before the softmax; by default the model's own `logit_scale`, the one it is
            trained with. (DataChain's `clip_similarity_scores` always takes 100.)
        probabilities: False gives the cosines themselves.

    Raises:
        UsageError: the encoder is none, a name of a column is no text, or the scale is no positive number.

    Source: zero-shot prediction of CLIP (arXiv 2103.00020, section 3.1.2), over each row's candidates.
    """

    name = "ChoiceScores"
    version = "1"
    returns = pa.list_(pa.float32())

    def __init__(
        self,
        encoder: Encoder,
        choices: str = "caption_choices",
        *,
        image: str = "image",
        trunk: str | None = None,
        scale: float | None = None,
        probabilities: bool = True,
    ) -> None:
        super().__init__(encoder, image=image, trunk=trunk)
        require_names(self.name, choices=choices)
        self.choices = choices
        self.scale = logit_scale(self.name, encoder, scale)
        self.probabilities = probabilities
        self.reads = (image if trunk is None else trunk, choices)
        self.takes = {**self.takes, choices: TEXTS}
        self.parameters = {"probabilities": probabilities} | ({"scale": self.scale} if probabilities else {})

    def compute(self, batch: pa.RecordBatch, prepared: Any) -> tuple[pa.Array, list[str | None]]:
        """Score one batch: list<float32> [B], as long as each row's choices."""
        image_BD, reasons = self.image_features(batch, prepared)
        choices = batch.column(self.choices).to_pylist()
        reasons = [reason or _fault(texts) for reason, texts in zip(reasons, choices, strict=True)]
        rows = [row for row, reason in enumerate(reasons) if reason is None]
        counts = np.array([len(choices[row]) for row in rows], np.int64)
        text_CD = self._texts.features([text for row in rows for text in choices[row]])
        owner_C = np.repeat(np.array(rows, np.int64), counts)
        scores_C = np.einsum("cd,cd->c", image_BD[owner_C], text_CD) if len(owner_C) else np.zeros(0, np.float32)
        rows, counts, scores_C = _finite(rows, counts, scores_C, reasons)
        if self.probabilities:
            scores_C = softmax_by_row(self.scale * scores_C, counts)
        return _as_lists(scores_C, counts, rows, batch.num_rows), reasons


def _finite(
    rows: list[int], counts: np.ndarray, scores_C: np.ndarray, reasons: list[str | None]
) -> tuple[list[int], np.ndarray, np.ndarray]:
    """Leave out the rows with a score that is no number, and give the reason."""
    owner_C = np.repeat(np.arange(len(rows)), counts)
    bad = np.unique(owner_C[~np.isfinite(scores_C)])
    for place in bad:
        reasons[rows[place]] = NOT_FINITE
    kept = np.setdiff1d(np.arange(len(rows)), bad)
    return [rows[place] for place in kept], counts[kept], scores_C[np.isin(owner_C, kept)]


def softmax_by_row(logits_C: np.ndarray, counts_B: np.ndarray) -> np.ndarray:
    """Softmax within consecutive groups.

    Args:
        logits_C: float [C], all rows' choices one after the other.
        counts_B: int64 [B], choices of each row, none zero.

    Returns:
        float32 [C], summing to 1 in each group.
    """
    if not len(counts_B):
        return np.zeros(0, np.float32)
    starts_B = np.concatenate([[0], np.cumsum(counts_B)[:-1]])
    highest_C = np.repeat(np.maximum.reduceat(logits_C, starts_B), counts_B)
    powers_C = np.exp((logits_C - highest_C).astype(np.float64))
    totals_C = np.repeat(np.add.reduceat(powers_C, starts_B), counts_B)
    return (powers_C / totals_C).astype(np.float32)


def _fault(texts: list[str | None] | None) -> str | None:
    """Why a row's choices cannot be scored."""
    if not texts:
        return "no choices"
    return "a choice is null" if any(text is None for text in texts) else None


def _as_lists(scores_C: np.ndarray, counts: np.ndarray, rows: list[int], num_rows: int) -> pa.Array:
    lengths = np.zeros(num_rows, np.int64)
    lengths[rows] = counts
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    missing = np.ones(num_rows, bool)
    missing[rows] = False
    values = pa.array(scores_C.astype(np.float32))
    return pa.ListArray.from_arrays(pa.array(offsets), values, mask=pa.array(missing))
