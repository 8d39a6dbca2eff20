"""HeadScores: how well each class of a fitted head fits an image, of whose embedding there is a column.

Shapes: B rows, C classes, D numbers of an embedding.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from clipdata.errors import LineageMismatchError, SchemaError, UsageError
from clipdata.lineage import Lineage
from clipdata.step_protocol import NUMBERS, BaseStep, Kind, require_names
from clipdata.steps.class_heads import ClassHead
from clipdata.steps.vectors import vectors_of


class HeadScores(BaseStep):
    """Probabilities of the classes of a head that `fit_head` made, or the class of the highest.

    No model is loaded and no picture decoded. `LabelIndex` with the same classes gives the place of the right one, and
    `Pick` its score, as of `ClassScores`.

    Args:
        head: a `ClassHead`, or the folder of one.
        embedding: column of embeddings of the model that the head was fitted for.
        output: "probabilities" in the order of the head's classes, or the "label" of the most probable one.

    Raises:
        UsageError: an argument is of another kind.
        NotFoundError: the folder holds no head.
    """

    name = "HeadScores"
    version = "1"

    def __init__(
        self,
        head: str | os.PathLike[str] | ClassHead,
        embedding: str = "embedding",
        *,
        output: Literal["probabilities", "label"] = "probabilities",
    ) -> None:
        require_names(self.name, embedding=embedding)
        if output not in ("probabilities", "label"):
            raise UsageError(f"{self.name}: output is {output!r:.80}; expected 'probabilities' or 'label'")
        if not isinstance(head, ClassHead | str | os.PathLike):
            raise UsageError(f"{self.name}: head is {head!r:.80}; expected a ClassHead, or the folder of one")
        self.head = head if isinstance(head, ClassHead) else ClassHead.load(head)
        self.embedding, self.output = embedding, output
        self.model: str | None = self.head.identity
        self.model_name, self.trained_on = self.head.name, self.head.trained_on
        self.returns: pa.DataType = pa.list_(pa.float32()) if output == "probabilities" else pa.string()
        self.reads: tuple[str, ...] = (embedding,)
        self.takes: Mapping[str, Kind] = {embedding: NUMBERS}
        self.parameters: Mapping[str, Any] = {
            "classes": list(self.head.classes),
            "embeddings_of": self.head.model,
            "output": output,
        }

    @classmethod
    def arguments_of(cls, lineage: Lineage, schema: pa.Schema) -> dict[str, Any]:  # noqa: ARG003 - as of every step
        """The head lies where its name says."""
        return {"head": lineage.model_name, "embedding": lineage.inputs[0], "output": lineage.parameters["output"]}

    def check(self, schema: pa.Schema) -> None:
        """Hold the embeddings to the model that the head was fitted for.

        Raises:
            SchemaError: they have another size.
            LineageMismatchError: another model made them, or nobody can tell which.
        """
        require_embeddings(schema, self.embedding, self.head.model, self.head.model_name, asker=self.name)
        size = schema.field(self.embedding).type.list_size
        if size != self.head.weight_CD.shape[1]:
            raise SchemaError(
                f"{self.name}: column {self.embedding!r} holds vectors of {size} numbers; the head takes "
                f"{self.head.weight_CD.shape[1]}"
            )

    def compute(self, batch: pa.RecordBatch, prepared: None) -> tuple[pa.Array, list[str | None]]:
        """Score one batch: list<float32> [B], as long as the list of classes, or string [B]."""
        embedding_BD, reasons = vectors_of(batch.column(0), self.head.weight_CD.shape[1])
        found_BC = self.head.probabilities(embedding_BD)
        missing = [reason is not None for reason in reasons]
        if self.output == "label":
            names = [
                None if gone else str(self.head.classes[at])
                for gone, at in zip(missing, found_BC.argmax(1), strict=True)
            ]
            return pa.array(names, pa.string()), reasons
        kept = ~np.array(missing, bool)
        offsets = pa.array(np.concatenate([[0], np.cumsum(kept * found_BC.shape[1])]).astype(np.int32))
        values = pa.array(found_BC[kept].reshape(-1))
        return pa.ListArray.from_arrays(offsets, values, mask=pa.array(~kept)), reasons


def require_embeddings(schema: pa.Schema, column: str, model: str, model_name: str, *, asker: str) -> None:
    """Hold a column to be the image embeddings that a model made.

    Raises:
        SchemaError: it holds no vectors of one size.
        LineageMismatchError: another model or step made it, or nobody can tell which.
    """
    hint = f"clipdata map TABLE image-embedding {column} --model {model_name}"
    kind = schema.field(column).type
    if not (pa.types.is_fixed_size_list(kind) and pa.types.is_floating(kind.value_type)):
        raise SchemaError(f"{asker}: column {column!r} holds {kind}; expected vectors of one size", hint=hint)
    lineage = Lineage.of(schema.field(column))
    if lineage is None or lineage.step != "ImageEmbedding" or lineage.model != model:
        made_by = f"by {lineage.describe()}" if lineage is not None else "by nobody knows which model"
        raise LineageMismatchError(
            f"{asker}: column {column!r} was made {made_by}; expected image embeddings of {model_name} ({model[:12]})",
            hint=f"{hint} under another name",
        )
