"""ClassScores: how well each of a constant list of classes fits an image.

Shapes: B rows, C classes, P templates, D features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from clipdata.steps.class_prompts import TEMPLATE, Classes, Templates, class_names, class_prompts, prompt_templates
from clipdata.steps.encoder_step import EncoderStep, logit_scale
from clipdata.steps.recall import finite_or_reason

if TYPE_CHECKING:
    from clipdata.encoder.model import Encoder


class ClassScores(EncoderStep):
    """Softmax over a constant list of classes, each known by its prompts: zero-shot classification.

    The features of a class are the mean of its prompts' features, normalised again. `LabelIndex` with the same classes
    gives the place of the right one, and `Pick` its score.

    Args:
        encoder: scores the classes.
        classes: list of names; or a file with one a line.
        templates: text with braces for the class, commas allowed: "a photo of {}, a kind of food". Several, whose
            features are averaged, are a list, a JSON list or a file with one a line.
        image: column of image bytes.
        trunk: column of trunk features to read instead of the pictures.
        scale: multiplies the cosines before the softmax; by default the model's own `logit_scale`.

    Raises:
        UsageError: the encoder is none, the classes or templates are not such, a name of a column is no text, or the
            scale is no positive number.
        NotFoundError: there is no file of classes.

    Source: zero-shot prediction and prompt ensembling of CLIP (arXiv 2103.00020, sections 3.1.2 and 3.1.4).
    """

    name = "ClassScores"
    version = "1"
    returns = pa.list_(pa.float32())

    def __init__(
        self,
        encoder: Encoder,
        classes: Classes,
        templates: Templates = TEMPLATE,
        *,
        image: str = "image",
        trunk: str | None = None,
        scale: float | None = None,
    ) -> None:
        super().__init__(encoder, image=image, trunk=trunk)
        self.classes = class_names(classes, asker=self.name)
        self.templates = prompt_templates(templates, asker=self.name)
        self.scale = logit_scale(self.name, encoder, scale)
        self.reads = (image if trunk is None else trunk,)
        self.parameters = {"classes": list(self.classes), "templates": list(self.templates), "scale": self.scale}
        self._class_CD: np.ndarray | None = None

    def compute(self, batch: pa.RecordBatch, prepared: Any) -> tuple[pa.Array, list[str | None]]:
        """Score one batch: list<float32> [B], as long as the list of classes."""
        image_BD, reasons = self.image_features(batch, prepared)
        if self._class_CD is None:
            self._class_CD = self._encode_classes()
        size = len(self.classes)
        scores_BC = np.zeros((len(reasons), size), np.float32)
        present = [row for row, reason in enumerate(reasons) if reason is None]
        if present:
            scores_BC[present] = _softmax(self.scale * (image_BD[present] @ self._class_CD.T))
        reasons = finite_or_reason(scores_BC, reasons)
        kept = np.array([reason is None for reason in reasons], bool)
        offsets = pa.array(np.concatenate([[0], np.cumsum(kept * size)]).astype(np.int32))
        values = pa.array(scores_BC[kept].reshape(-1))
        return pa.ListArray.from_arrays(offsets, values, mask=pa.array(~kept)), reasons

    def _encode_classes(self) -> np.ndarray:
        """Unit features of the classes: float32 [C, D]."""
        prompts = class_prompts(self.classes, self.templates)
        text_CPD = self._texts.features(prompts).reshape(len(self.classes), len(self.templates), -1)
        mean_CD = text_CPD.astype(np.float64).mean(1)
        norm_C1 = np.maximum(np.linalg.norm(mean_CD, axis=1, keepdims=True), 1e-12)
        class_CD: np.ndarray = (mean_CD / norm_C1).astype(np.float32)
        return class_CD


def _softmax(logits_BC: np.ndarray) -> np.ndarray:
    """Softmax of each row, NaN where a row holds one: float32 [B, C]."""
    with np.errstate(invalid="ignore"):
        powers_BC = np.exp((logits_BC - logits_BC.max(1, keepdims=True)).astype(np.float64))
        shares_BC: np.ndarray = (powers_BC / powers_BC.sum(1, keepdims=True)).astype(np.float32)
    return shares_BC
