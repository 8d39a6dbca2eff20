"""From a batch to features: what is computed in every step, what once before the first, and what is read from a column.

It knows the towers and the batches of a stream, and asks the objective which columns it takes; it must not know losses
or optimizers. Shapes: B rows, T distinct texts, K texts of all rows laid end to end, W features of a trunk, D shared
space, L ids of a text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from clipdata.encoder import Encoder, split
from clipdata.errors import UsageError
from clipdata.progress import Progress
from clipdata.stream.columns import distinct_texts
from clipdata.training.captions import places_of
from clipdata.training.config import TrainConfig
from clipdata.training.features import BatchFacts, Features, WrongTexts
from clipdata.training.image_side import pixels_asked
from clipdata.training.no_rows import taking_none
from clipdata.training.objectives import Objective
from clipdata.training.optimisers import part_of
from clipdata.training.text_cache import TextFeatures, encode_once


@dataclass(frozen=True)
class PictureIds:
    """What picture each row of a table shows.

    Args:
        offsets_N: int64, ascending.
        pictures_N: uint64; 0 where nothing tells.
    """

    offsets_N: np.ndarray
    pictures_N: np.ndarray

    def of(self, offsets_B: torch.Tensor) -> torch.Tensor:
        """int64 [B], equal for equal pictures; the rows are some of these."""
        places_B = np.searchsorted(self.offsets_N, offsets_B.numpy())
        return torch.from_numpy(self.pictures_N[places_B].view(np.int64))

    def __or__(self, other: PictureIds) -> PictureIds:
        offsets = np.concatenate([self.offsets_N, other.offsets_N])
        pictures = np.concatenate([self.pictures_N, other.pictures_N])
        offsets_N, first_N = np.unique(offsets, return_index=True)
        return PictureIds(offsets_N, pictures[first_N])


@dataclass(frozen=True)
class Inputs:
    """What the two towers take of a batch, and what it says of its rows; nothing is computed yet.

    Args:
        images: uint8 [B, 3, H, W] wherever the batch lies, or features of the trunk [B, W].
        texts: ids [T, L] of each distinct text once, or features of the trunk [T, W].
        facts: of the rows, on the device.
    """

    images: torch.Tensor
    texts: torch.Tensor
    facts: BatchFacts


@dataclass(frozen=True)
class _Texts:
    """The texts of a batch: what the tower takes [T, ...], ids [T], places [K] among these, numbers [B] of each row.

    `picked_K` are their places among all texts of the batch laid end to end, of which a step may take some alone.
    """

    taken: torch.Tensor
    id_T: torch.Tensor
    index_K: torch.Tensor
    counts_B: torch.Tensor
    picked_K: torch.Tensor
    wrong: WrongTexts | None = None


class Forward:
    """The two towers of a model in training, applied to batches: trunks to inputs, heads to what the trunks gave.

    Args:
        model: a copy of the encoder's, with what trains already chosen (`clipdata.encoder.lock`).
        encoder: gives preprocessing, tokenizer and device.
        config: names the columns of pictures, and holds the objective.
        pictures: of all rows that will come; without them no two rows are known to share a picture.

    `texts` holds features that were computed before the first step, or None to compute them in every step.
    """

    def __init__(
        self, model: nn.Module, encoder: Encoder, config: TrainConfig, pictures: PictureIds | None = None
    ) -> None:
        self._model, self._encoder, self._config = model, encoder, config
        self._objective, self._pictures = config.objective, pictures
        self.towers = taking_none(split(model), model, encoder)
        trained = {part_of(name, self.towers) for name, p in model.named_parameters() if p.requires_grad}
        self.image_trunk_trains, self.text_trunk_trains = "image" in trained, "text" in trained
        self.texts: TextFeatures | None = None
        self._prompt_tokens_PL: torch.Tensor | None = None

    def request(self, *, augmented: bool = False) -> dict[str, Any]:
        """Arguments for a Stream, so that its batches hold what `__call__` needs.

        Args:
            augmented: change the pictures as the config says: of rows to train on, and of no others.
        """
        request: dict[str, Any] = {}
        if self._config.image_trunk is None:
            request |= pixels_asked(self._encoder, self._config, augmented=augmented)
            request["on_bad_image"] = "leave_out"
        column = self._objective.texts
        columns = [self._config.image_trunk or self._config.image, *self._objective.columns]
        columns += self._objective.columns_of_texts
        reads_texts = column is not None and (self.texts is not None or self._objective.picks == "longest")
        if reads_texts and column is not None:
            columns.append(column)
        if self._objective.wrong_texts is not None:
            columns.append(self._objective.wrong_texts)
        if column is not None and self.texts is None:
            request |= {"texts": column, "tokenize": self._encoder.tokenize}
        return {**request, "columns": list(dict.fromkeys(columns))}

    def encode_once(self, texts: Sequence[str], progress: Progress) -> None:
        """Compute the text trunk's features of all texts that will occur; only while that trunk is not trained."""
        assert not self.text_trunk_trains
        self.texts = encode_once(texts, self._encoder, self.towers, progress)

    def __call__(self, batch: Mapping[str, Any], *, every_text: bool = False) -> tuple[Features, BatchFacts]:
        """Compute the features of a batch, with gradients where something trains, and what the batch says of its rows.

        Args:
            every_text: take all captions of a row, whichever of them the objective trains on.
        """
        inputs = self.inputs(batch, every_text=every_text)
        return self.features(self.image_trunk(inputs.images), self.text_trunk(inputs.texts)), inputs.facts

    def inputs(self, batch: Mapping[str, Any], *, every_text: bool = False) -> Inputs:
        """What the towers take of a batch; the arguments are those of `__call__`."""
        texts = self._prompts(batch) if self._objective.texts is None else self._texts(batch, every_text)
        facts = BatchFacts(
            text_index_K=self._sent(texts.index_K),
            text_counts_B=self._sent(texts.counts_B),
            text_id_T=self._sent(texts.id_T),
            picture_B=self._sent(self._picture_ids(batch)),
            columns={n: self._sent(self._objective.tensor_of(n, batch[n])) for n in self._objective.columns},
            columns_of_texts={
                n: self._sent(self._objective.tensor_of(n, batch[n]).index_select(0, texts.picked_K))
                for n in self._objective.columns_of_texts
            },
            wrong=None if texts.wrong is None else texts.wrong.to(self._encoder.device),
        )
        return Inputs(batch[self._config.image_trunk or self._config.image], texts.taken, facts)

    def image_trunk(self, images: torch.Tensor) -> torch.Tensor:
        """Features of the image trunk [B, W] of `Inputs.images`, or of some of them."""
        if self._config.image_trunk is not None:
            return self._sent(images)
        image_BCHW = self._encoder.normalise(images)
        with torch.set_grad_enabled(self.image_trunk_trains and torch.is_grad_enabled()):
            return self.towers.image_trunk(image_BCHW)

    def text_trunk(self, texts: torch.Tensor) -> torch.Tensor:
        """Features of the text trunk [T, W] of `Inputs.texts`, or of some of them."""
        if self.texts is not None:
            return texts
        with torch.set_grad_enabled(self.text_trunk_trains and torch.is_grad_enabled()):
            return self.towers.text_trunk(self._sent(self.towers.trim_tokens(texts)))

    def features(self, image_trunk_BW: torch.Tensor, text_trunk_TW: torch.Tensor) -> Features:
        """What the heads make of the trunks' features."""
        features = Features(
            image_BD=self.towers.image_head(image_trunk_BW).float(),
            text_TD=self.towers.text_head(text_trunk_TW).float(),
            logit_scale=self._model.get_parameter("logit_scale").exp(),
            logit_bias=getattr(self._model, "logit_bias", None),
        )
        return features.normalised() if self._objective.normalises else features

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self._encoder.device

    def num_rows(self, batch: Mapping[str, Any]) -> int:
        """B of a batch."""
        return len(batch[self._config.image_trunk or self._config.image])

    def _sent(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(self._encoder.device, non_blocking=True)

    def _picture_ids(self, batch: Mapping[str, Any]) -> torch.Tensor:
        if self._pictures is None or "offsets" not in batch:
            return torch.zeros(self.num_rows(batch), dtype=torch.int64)
        return self._pictures.of(batch["offsets"])

    def _texts(self, batch: Mapping[str, Any], every_text: bool) -> _Texts:
        """The texts that a step takes of a batch, each distinct one once."""
        assert self._objective.texts is not None
        wrong = None if self._objective.wrong_texts is None else _end_to_end(batch[self._objective.wrong_texts])
        if self.texts is not None:
            return self._known_texts(self.texts, batch, wrong, every_text)
        return self._tokenised_texts(batch, wrong, every_text)

    def _known_texts(
        self, known: TextFeatures, batch: Mapping[str, Any], wrong: Sequence[str] | None, every_text: bool
    ) -> _Texts:
        """Texts whose features were computed before the first step."""
        rows = [[one] if isinstance(one, str) else one for one in batch[str(self._objective.texts)]]
        captions = _end_to_end(rows)
        counts_B = torch.tensor([len(row) for row in rows], dtype=torch.int64)
        places_K, taken_B = self._picked(batch, counts_B, rows, every_text)
        texts, index_N, _ = distinct_texts([[captions[at] for at in places_K.tolist()], wrong or []])
        trunk_TW, places_T = known.of(texts)
        index_K, index_M = index_N.tensor_split([len(places_K)])
        facts = None if wrong is None else WrongTexts(index_M, known.places(captions) + 1, counts_B)
        return _Texts(trunk_TW, places_T + 1, index_K, taken_B, places_K, facts)  # an id of 0 is unknown

    def _tokenised_texts(self, batch: Mapping[str, Any], wrong: Sequence[str] | None, every_text: bool) -> _Texts:
        """Texts that are encoded in this step."""
        tokens = batch["tokens"]
        index_J = batch.get("text_index", torch.arange(len(tokens)))
        counts_B = batch.get("text_counts", torch.ones(len(tokens), dtype=torch.int64))
        lists = batch.get(str(self._objective.texts)) if "text_index" in batch else None
        places_K, taken_B = self._picked(batch, counts_B, lists, every_text)
        index_N = index_J.index_select(0, places_K)
        if wrong:
            distinct, index_M, _ = distinct_texts([wrong])
            index_N = torch.cat([index_N, index_M + len(tokens)])
            tokens = torch.cat([tokens, self._encoder.tokenize(distinct)])
        # Texts whose ids are the same are one text to the model, also those that differ behind the cut.
        digests = token_digests(tokens)
        id_N = digests.index_select(0, index_N)
        id_T, inverse_N = torch.unique(id_N, return_inverse=True)
        # Backwards, so that of several places of a text the first is the one that stays.
        first_T = torch.empty(len(id_T), dtype=torch.int64).scatter_(0, inverse_N.flip(0), index_N.flip(0))
        index_K, index_M = inverse_N.tensor_split([len(places_K)])
        facts = None if wrong is None else WrongTexts(index_M, digests.index_select(0, index_J), counts_B)
        return _Texts(tokens.index_select(0, first_T), id_T, index_K, taken_B, places_K, facts)

    def _picked(
        self, batch: Mapping[str, Any], counts_B: torch.Tensor, lists: Sequence[Sequence[str]] | None, every_text: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Places of the texts that are taken, among all of the batch laid end to end, and how many each row gives."""
        how = self._objective.picks
        if every_text or how == "all" or bool((counts_B == 1).all()):
            return torch.arange(int(counts_B.sum())), counts_B
        epoch, next_batch = batch["cursor"]
        place_B = places_of(
            how,
            counts_B,
            texts=lists,
            offsets_B=batch["offsets"],
            seed=self._config.seed,
            epoch=epoch if next_batch else epoch - 1,
        )
        return counts_B.cumsum(0) - counts_B + place_B, torch.ones_like(counts_B)

    def _prompts(self, batch: Mapping[str, Any]) -> _Texts:
        """The objective's own prompts, in their order; no row has texts."""
        prompts = self._objective.prompts
        if self.texts is not None:
            taken, id_T = self.texts.of(prompts)
        else:
            if self._prompt_tokens_PL is None:
                self._prompt_tokens_PL = self._encoder.tokenize(prompts)
            taken, id_T = self._prompt_tokens_PL, torch.arange(len(prompts))
        none_B, none_K = torch.zeros(self.num_rows(batch), dtype=torch.int64), torch.zeros(0, dtype=torch.int64)
        return _Texts(taken, id_T, none_K, none_B, none_K)


def _end_to_end(rows: Sequence[Sequence[str]]) -> list[str]:
    return [text for row in rows for text in row]


def token_digests(tokens_TL: torch.Tensor) -> torch.Tensor:
    """A number for each text that is equal for equal ids, on every machine: int64 [T]."""
    weights_L = torch.from_numpy(
        np.random.default_rng(0).integers(1, 2**62, tokens_TL.shape[1], dtype=np.int64) * 2 + 1
    )
    return ((tokens_TL + 1) * weights_L).sum(dim=1)


def require_bias(encoder: Encoder, objective: Objective) -> None:
    """Check that a model has the logit bias that an objective adds.

    Raises:
        UsageError: it has none.
    """
    if objective.needs_bias and getattr(encoder.model, "logit_bias", None) is None:
        raise UsageError(
            f"objective {objective.kind} adds a logit bias, and {encoder.name} has none",
            hint="begin with a model that has one (`logit_bias` in the config of clipdata new), or take "
            "--set objective=multi_positive",
        )
