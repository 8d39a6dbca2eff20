"""From a batch to features: what is computed in every step, what once before the first, and what is read from a column.

It knows the towers and the batches of a stream; it must not know losses or optimizers.
Shapes: B rows, T distinct texts (of a batch, or of all rows), W features of a trunk, D shared space, L ids of a text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from clipdata.encoder import Encoder, split
from clipdata.errors import LineageMismatchError, SchemaError
from clipdata.lance_io.table import Table
from clipdata.progress import Progress
from clipdata.storage import redact
from clipdata.stream.columns import distinct_texts, is_image
from clipdata.training.config import TrainConfig
from clipdata.training.optimisers import part_of

TEXTS_AT_ONCE = 256


@dataclass(frozen=True)
class Features:
    """What an objective takes, by the names of its arguments."""

    image_BD: torch.Tensor
    text_TD: torch.Tensor
    logit_scale: torch.Tensor
    text_index_K: torch.Tensor
    text_counts_B: torch.Tensor
    label_B: torch.Tensor


@dataclass(frozen=True)
class TextFeatures:
    """The text trunk's features of texts, computed once.

    Args:
        place_of: text to its row.
        trunk_TW: float32.
    """

    place_of: Mapping[str, int]
    trunk_TW: torch.Tensor


class Forward:
    """The two towers of a model in training, applied to batches.

    Args:
        model: a copy of the encoder's, with what trains already chosen (`clipdata.encoder.lock`).
        encoder: gives preprocessing, tokenizer and device.
        config: names the columns.

    `texts` holds features that were computed before the first step, or None to compute them in every step.
    """

    def __init__(self, model: nn.Module, encoder: Encoder, config: TrainConfig) -> None:
        self._model, self._encoder, self._config = model, encoder, config
        self.towers = split(model)
        trained = {part_of(name, self.towers) for name, p in model.named_parameters() if p.requires_grad}
        self._image_trunk_trains, self.text_trunk_trains = "image" in trained, "text" in trained
        self.texts: TextFeatures | None = None

    def request(self) -> dict[str, Any]:
        """Arguments for a Stream, so that its batches hold what `__call__` needs."""
        image = self._config.image_trunk or self._config.image
        request: dict[str, Any] = {"columns": [image, self._config.label]}
        if self._config.image_trunk is None:
            request["prepare"] = self._encoder.prepare.with_fidelity(self._config.fidelity)
            request["on_bad_image"] = "leave_out"
        if self.texts is None:
            return {**request, "texts": self._config.choices, "tokenize": self._encoder.tokenize}
        return {**request, "columns": [*request["columns"], self._config.choices]}

    def encode_once(self, texts: Sequence[str], progress: Progress) -> None:
        """Compute the text trunk's features of all texts that will occur; only while that trunk is not trained.

        The same texts give bit-equal features on the same machine: they come in sorted order and in fixed batches.
        """
        assert not self.text_trunk_trains
        ordered = sorted(set(texts))
        done = []
        with progress.task("encode captions", len(ordered), "captions") as counter, torch.no_grad():
            for start in range(0, len(ordered), TEXTS_AT_ONCE):
                tokens_BL = self._encoder.tokenize(ordered[start : start + TEXTS_AT_ONCE])
                done.append(self.towers.text_trunk(self.towers.trim_tokens(tokens_BL).to(self._encoder.device)).float())
                counter.advance(len(tokens_BL))
        self.texts = TextFeatures({text: place for place, text in enumerate(ordered)}, torch.cat(done))

    def __call__(self, batch: Mapping[str, Any]) -> Features:
        """Compute the L2-normalised features of a batch, with gradients where something trains."""
        device = self._encoder.device
        text_trunk_TW, index_K, counts_B = self._texts(batch)
        return Features(
            image_BD=_normalised(self.towers.image_head(self._images(batch))),
            text_TD=_normalised(self.towers.text_head(text_trunk_TW)),
            logit_scale=self._model.get_parameter("logit_scale").exp(),
            text_index_K=index_K.to(device, non_blocking=True),
            text_counts_B=counts_B.to(device, non_blocking=True),
            label_B=batch[self._config.label].long().to(device, non_blocking=True),
        )

    def _images(self, batch: Mapping[str, Any]) -> torch.Tensor:
        if self._config.image_trunk is not None:
            return batch[self._config.image_trunk].to(self._encoder.device, non_blocking=True)
        image_BCHW = self._encoder.normalise(batch[self._config.image])
        with torch.set_grad_enabled(self._image_trunk_trains and torch.is_grad_enabled()):
            return self.towers.image_trunk(image_BCHW)

    def _texts(self, batch: Mapping[str, Any]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        if self.texts is not None:
            texts, index_K, counts_B = distinct_texts(batch[self._config.choices])
            places_T = torch.tensor([self.texts.place_of[text] for text in texts], device=self.texts.trunk_TW.device)
            return self.texts.trunk_TW.index_select(0, places_T), index_K, counts_B
        tokens_TL = self.towers.trim_tokens(batch["tokens"]).to(self._encoder.device, non_blocking=True)
        with torch.set_grad_enabled(self.text_trunk_trains and torch.is_grad_enabled()):
            return self.towers.text_trunk(tokens_TL), batch["text_index"], batch["text_counts"]


def _normalised(features_BD: torch.Tensor) -> torch.Tensor:
    return functional.normalize(features_BD.float(), dim=-1)


def check_images(table: Table, encoder: Encoder, config: TrainConfig) -> None:
    """Check that the image side of a table is what an encoder needs.

    Raises:
        SchemaError: the column is missing or of another type.
        LineageMismatchError: other weights made the trunk column, or nobody can tell which.
    """
    if config.image_trunk is not None:
        _check_trunk(table, config.image_trunk, encoder)
        return
    table.require([config.image], verb="train")
    found = table.schema.field(config.image).type
    if not is_image(found):
        raise SchemaError(f"train: column {config.image!r} holds {found}; expected the bytes of images")


def _check_trunk(table: Table, column: str, encoder: Encoder) -> None:
    def fill(into: str) -> str:
        command = f"clipdata map {redact(table.uri)} image-trunk {into} --model {encoder.name}"
        return f"{command}; or --set image_trunk=none to decode the images"

    if column not in table.schema.names:
        raise SchemaError(f"train: {redact(table.uri)} has no column {column!r} of image features", hint=fill(column))
    found = table.schema.field(column).type
    if not (hasattr(found, "list_size") and found.list_size == encoder.trunk_dim):
        expected = f"the image trunk of {encoder.name} gives {encoder.trunk_dim} floats"
        raise SchemaError(f"train: column {column!r} holds {found}; {expected}", hint=fill(f"{column}_2"))
    lineage = table.lineage(column)
    if lineage is None or lineage.model != encoder.trunk_identity:
        made_by = f"the image trunk {(lineage.model or '')[:12]}" if lineage else "nobody knows which model"
        raise LineageMismatchError(
            f"train: column {column!r} was made by {made_by}; that of {encoder.name} is {encoder.trunk_identity[:12]}",
            hint=fill(f"{column}_2"),
        )
