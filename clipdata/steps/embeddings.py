"""Embeddings as columns: computed once, read by every later score, search and locked-tower training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from clipdata.errors import SchemaError, UsageError
from clipdata.lineage import Lineage
from clipdata.schema import is_of
from clipdata.step_protocol import BYTES, CAPTIONS, BaseStep, Kind, require_names
from clipdata.steps.encoder_step import require_encoder
from clipdata.steps.recall import ImageRecall, PreparedImages, TextRecall, finite_or_reason

if TYPE_CHECKING:
    from clipdata.encoder.model import Encoder


class _ImageVectors(BaseStep):
    """A step that makes one vector an image."""

    name: str
    version = "1"

    def __init__(self, encoder: Encoder, recall: ImageRecall, size: int, image: str, model: str) -> None:
        require_names(self.name, image=image)
        self._recall, self._size, self._image = recall, size, image
        self.encoder = encoder
        self.model: str | None = model
        self.model_name, self.trained_on = encoder.name, encoder.trained_on
        self.returns: pa.DataType = pa.list_(pa.float32(), size)
        self.reads: tuple[str, ...] = (image,)
        self.takes: Mapping[str, Kind] = {image: BYTES}
        self.parameters: Mapping[str, Any] = {}

    def prepare(self, batch: pa.RecordBatch) -> PreparedImages:
        """Decode the pictures of a batch."""
        return self._recall.prepare(batch.column(self._image))

    def compute(self, batch: pa.RecordBatch, prepared: PreparedImages) -> tuple[pa.Array, list[str | None]]:
        """Encode one batch: fixed_size_list<float32> [B]."""
        vectors_BD, reasons = self._recall.features(prepared)
        return _vectors(vectors_BD, reasons, self._size), reasons


class ImageTrunk(_ImageVectors):
    """Features of the image tower before its projection.

    They stay the same while only projections are trained; so training, and scoring with every later projection, needs
    no picture decoded again.

    Args:
        encoder: its image trunk makes the features.
        image: column of image bytes.
    """

    name = "ImageTrunk"

    def __init__(self, encoder: Encoder, *, image: str = "image") -> None:
        require_encoder(self.name, encoder)
        recall = ImageRecall(encoder, encoder.image_trunk)
        super().__init__(encoder, recall, encoder.trunk_dim, image, encoder.trunk_identity)


class ImageEmbedding(_ImageVectors):
    """L2-normalised features of the image tower.

    Args:
        encoder: makes the features.
        image: column of image bytes.
    """

    name = "ImageEmbedding"

    def __init__(self, encoder: Encoder, *, image: str = "image") -> None:
        require_encoder(self.name, encoder)
        recall = ImageRecall(encoder, encoder.encode_images)
        super().__init__(encoder, recall, encoder.embed_dim, image, encoder.identity)


class TextEmbedding(BaseStep):
    """L2-normalised features of the text tower.

    Args:
        encoder: makes the features.
        text: column of captions.
        lists: the column holds a list of captions a row, and gets a list of vectors.
    """

    name = "TextEmbedding"
    version = "1"

    def __init__(self, encoder: Encoder, text: str = "caption", *, lists: bool = False) -> None:
        require_encoder(self.name, encoder)
        require_names(self.name, text=text)
        if not isinstance(lists, bool):
            raise UsageError(f"{self.name}: lists is {lists!r:.80}; expected True or False")
        self._recall = TextRecall(encoder)
        self._size = encoder.embed_dim
        self.text, self.lists = text, lists
        self.model: str | None = encoder.identity
        self.model_name, self.trained_on = encoder.name, encoder.trained_on
        vector = pa.list_(pa.float32(), encoder.embed_dim)
        self.returns: pa.DataType = pa.list_(vector) if lists else vector
        self.reads: tuple[str, ...] = (text,)
        self.takes: Mapping[str, Kind] = {text: CAPTIONS}
        self.parameters: Mapping[str, Any] = {"lists": True} if lists else {}

    @classmethod
    def arguments_of(cls, lineage: Lineage, schema: pa.Schema) -> dict[str, Any]:  # noqa: ARG003 - as of every step
        """Lineages of one text a row say nothing of lists."""
        return {"text": lineage.inputs[0], "lists": bool(lineage.parameters.get("lists", False))}

    def check(self, schema: pa.Schema) -> None:
        """Hold the column to what was said of it.

        Raises:
            SchemaError: it holds lists and was not said to, or the other way round.
        """
        kind = schema.field(self.text).type
        if is_of("texts", kind) != self.lists:
            expected = "a list of texts a row" if self.lists else "one text a row"
            hint = "-p lists=false (lists=False)" if self.lists else "-p lists=true (lists=True) makes lists of vectors"
            raise SchemaError(f"{self.name}: column {self.text!r} holds {kind}; expected {expected}", hint=hint)

    def compute(self, batch: pa.RecordBatch, prepared: None) -> tuple[pa.Array, list[str | None]]:
        """Encode one batch: fixed_size_list<float32> [B], or lists of these."""
        texts = batch.column(self.text).to_pylist()
        return self._of_lists(texts) if self.lists else self._of_texts(texts)

    def _of_lists(self, rows: list[list[str | None] | None]) -> tuple[pa.Array, list[str | None]]:
        """A list of vectors a row; one text of it that has none leaves the whole row without."""
        vectors, faults = self._of_texts([text for row in rows for text in row or ()])
        start, reasons = 0, list[str | None]()
        for row in rows:
            of_row = faults[start : start + len(row or ())]
            start += len(of_row)
            reasons.append("no text" if row is None else next(filter(None, of_row), None))
        offsets = pa.array(np.cumsum([0, *(len(row or ()) for row in rows)]), pa.int32())
        missing = pa.array([reason is not None for reason in reasons], pa.bool_())
        return pa.ListArray.from_arrays(offsets, vectors, type=self.returns, mask=missing), reasons

    def _of_texts(self, texts: list[str | None]) -> tuple[pa.Array, list[str | None]]:
        reasons: list[str | None] = ["no text" if text is None else None for text in texts]
        vectors_BD = np.zeros((len(texts), self._size), np.float32)
        present = [row for row, text in enumerate(texts) if text is not None]
        if present:
            vectors_BD[present] = self._recall.features([text for text in texts if text is not None])
        reasons = finite_or_reason(vectors_BD, reasons)
        return _vectors(vectors_BD, reasons, self._size), reasons

    def notes(self) -> dict[str, Any]:
        """Texts that were longer than the model reads."""
        return self._recall.notes()

    def tally(self) -> Mapping[str, int]:
        """Texts that were met, and those that were longer."""
        return self._recall.tally()

    def add(self, tally: Mapping[str, int]) -> None:
        """Count in the texts that another process met."""
        self._recall.add(tally)


def _vectors(vectors_BD: np.ndarray, reasons: list[str | None], size: int) -> pa.Array:
    rows = vectors_BD if vectors_BD.shape[1] == size else np.zeros((len(reasons), size), np.float32)
    missing = pa.array([reason is not None for reason in reasons], pa.bool_())
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), size, mask=missing)
