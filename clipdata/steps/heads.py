"""Head: what a linear layer, or a few of them, trained on a model's embeddings, says of each row.

Such as the aesthetic predictors of LAION. It knows no model and no picture: embeddings are a column.

Shapes: B rows, D numbers of an embedding, O outputs.
"""

from __future__ import annotations

import os

import numpy as np
import pyarrow as pa

from clipdata.errors import SchemaError, UsageError
from clipdata.step_protocol import NUMBERS, BaseStep, require_names
from clipdata.steps.head_weights import read_layers
from clipdata.steps.named_files import read_named
from clipdata.steps.vectors import vectors_of

_ACTIVATIONS = ("none", "relu", "gelu")


class Head(BaseStep):
    """The output of a head: of one number a float, of several a vector.

    LAION's improved aesthetic predictor is such a head: five linear layers with nothing between them, for unit
    embeddings of ViT-L/14 of OpenAI. Layers with nothing between them are one, and are multiplied out beforehand.

    Args:
        weights: file of the layers: .safetensors, .npz, .pth (read without running code) or .json. Arrays are called
            NAME.weight [outputs, inputs] and NAME.bias [outputs], and follow each other in the order of their names;
            dropout and what else does nothing when a head is used has no arrays.
        embedding: column of vectors.
        activation: what stands between the layers: "none", "relu" or "gelu".
        normalise: scale each vector to length 1 first, as a head wants it that was trained on unit vectors.

    Raises:
        UsageError: the file is of another format or holds no such layers, or an argument is of another kind.
        NotFoundError: there is no such file.

    Source: github.com/christophschuhmann/improved-aesthetic-predictor (LAION-5B, arXiv 2210.08402, section 3).
    """

    name = "Head"
    version = "1"
    trained_on = None  # type: ignore[assignment] # nobody recorded on what a head of others was trained

    def __init__(
        self,
        weights: str | os.PathLike[str],
        embedding: str = "embedding",
        *,
        activation: str = "none",
        normalise: bool = True,
    ) -> None:
        require_names(self.name, embedding=embedding)
        if activation not in _ACTIVATIONS:
            raise UsageError(f"{self.name}: activation is {activation!r:.80}; expected {', '.join(_ACTIVATIONS)}")
        if not isinstance(normalise, bool):
            raise UsageError(f"{self.name}: normalise is {normalise!r:.80}; expected True or False")
        path, data, told = read_named(weights, asker=self.name, argument="weights")
        self._layers = [(layer.weight_OI, layer.bias_O) for layer in read_layers(path, data, asker=self.name)]
        while activation == "none" and len(self._layers) > 1:
            (first_OI, first_O), (second_OI, second_O) = self._layers[:2]
            self._layers[:2] = [(second_OI @ first_OI, second_OI @ first_O + second_O)]
        self.size, self._num_outputs = self._layers[0][0].shape[1], len(self._layers[-1][1])
        self.returns = pa.float32() if self._num_outputs == 1 else pa.list_(pa.float32(), self._num_outputs)
        self.model, self.model_name = told.rpartition(":")[2], path.name
        self.embedding, self.activation, self.normalise = embedding, activation, normalise
        self.reads: tuple[str, ...] = (embedding,)
        self.takes = {embedding: NUMBERS}
        self.parameters = {"weights": told, "activation": activation, "normalise": normalise}

    def check(self, schema: pa.Schema) -> None:
        """Hold the vectors to the size that the head takes.

        Raises:
            SchemaError: they have another.
        """
        kind = schema.field(self.embedding).type
        if pa.types.is_fixed_size_list(kind) and kind.list_size != self.size:
            raise SchemaError(
                f"{self.name}: column {self.embedding!r} holds vectors of {kind.list_size} numbers; "
                f"{self.model_name} takes {self.size}",
                hint="a head fits the embeddings of the model that it was trained on alone",
            )

    def compute(self, batch: pa.RecordBatch, prepared: None) -> tuple[pa.Array, list[str | None]]:
        """The outputs of each row: float32 or fixed_size_list<float32> [B]."""
        rows_BD, reasons = vectors_of(batch.column(0), self.size)
        values_BD = rows_BD.astype(np.float64)
        if self.normalise:
            norms_B1 = np.linalg.norm(values_BD, axis=1, keepdims=True)
            values_BD /= np.where(norms_B1 == 0, 1, norms_B1)
        for place, (weight_OI, bias_O) in enumerate(self._layers):
            values_BD = (_activated(values_BD, self.activation) if place else values_BD) @ weight_OI.T + bias_O
        missing = np.array([reason is not None for reason in reasons], bool)
        found = pa.array(values_BD.astype(np.float32).reshape(-1))
        if self._num_outputs == 1:
            return pa.array(found.to_numpy(), pa.float32(), mask=missing), reasons
        return pa.FixedSizeListArray.from_arrays(found, self._num_outputs, mask=pa.array(missing)), reasons


def _activated(values_BD: np.ndarray, activation: str) -> np.ndarray:
    from scipy.special import ndtr

    active_BD: np.ndarray = np.maximum(values_BD, 0) if activation == "relu" else values_BD * ndtr(values_BD)
    return active_BD
