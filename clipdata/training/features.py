"""What goes from a batch into an objective: features of its pictures and texts, and what the batch says of its rows.

Features hold no labels, and the facts no features. It knows tensors, and neither towers nor losses.
Shapes: B rows, T distinct texts, K texts of all rows laid end to end, D shared space.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch.nn import functional


@dataclass(frozen=True)
class Features:
    """What the towers make of a batch.

    Args:
        image_BD: float32, one a row.
        text_TD: float32, each distinct text once, or the objective's own prompts.
        logit_scale: the factor itself, not its logarithm.
        logit_bias: what a sigmoid loss adds to its logits; None where the model has none.
    """

    image_BD: torch.Tensor
    text_TD: torch.Tensor
    logit_scale: torch.Tensor
    logit_bias: torch.Tensor | None = None

    def normalised(self) -> Features:
        """The same, L2-normalised."""
        image_BD, text_TD = (functional.normalize(one, dim=-1) for one in (self.image_BD, self.text_TD))
        return replace(self, image_BD=image_BD, text_TD=text_TD)


@dataclass(frozen=True)
class WrongTexts:
    """Texts of a batch that belong to none of their row's pictures, and what tells when one is a caption all the same.

    Shapes: M wrong texts of all rows laid end to end, J captions of all rows, whichever of them a step takes.

    Args:
        index_M: int64, the place of each among the distinct texts.
        caption_id_J: int64, of every caption.
        caption_counts_B: int64, number of captions of each row.
    """

    index_M: torch.Tensor
    caption_id_J: torch.Tensor
    caption_counts_B: torch.Tensor

    def to(self, device: torch.device) -> WrongTexts:
        """The same on another device."""
        sent = (one.to(device, non_blocking=True) for one in (self.index_M, self.caption_id_J, self.caption_counts_B))
        return WrongTexts(*sent)


@dataclass(frozen=True)
class BatchFacts:
    """What a batch says of its rows, on the device of the features.

    Args:
        text_index_K: int64, the place of each text among the distinct ones.
        text_counts_B: int64, number of texts of each row.
        text_id_T: int64, equal for equal texts, in every batch and process.
        picture_B: int64, equal for rows of one picture; 0 where nothing tells, which is no other row's picture.
        columns: further columns that the objective asked for: tensors [B, …] of numbers, lists of B otherwise.
        columns_of_texts: those with a value for each text: tensors [K, …].
        wrong: texts of the objective's column of wrong ones; None where it has none.
    """

    text_index_K: torch.Tensor
    text_counts_B: torch.Tensor
    text_id_T: torch.Tensor
    picture_B: torch.Tensor
    columns: Mapping[str, Any] = field(default_factory=dict)
    columns_of_texts: Mapping[str, torch.Tensor] = field(default_factory=dict)
    wrong: WrongTexts | None = None

    @property
    def num_rows(self) -> int:
        """B."""
        return len(self.picture_B)

    @property
    def text_id_K(self) -> torch.Tensor:
        """int64, of every text of every row."""
        return self.text_id_T.index_select(0, self.text_index_K)

    def one_text_each(self) -> BatchFacts:
        """The same with the first text of each row alone."""
        first_B = self.text_counts_B.cumsum(0) - self.text_counts_B
        return replace(
            self,
            text_index_K=self.text_index_K.index_select(0, first_B),
            text_counts_B=torch.ones_like(self.text_counts_B),
            columns_of_texts={name: one.index_select(0, first_B) for name, one in self.columns_of_texts.items()},
        )

    def first(self, num_rows: int) -> BatchFacts:
        """The same of the first so many rows; where there are fewer, they are taken again from the first on."""
        place_B = torch.arange(num_rows, device=self.picture_B.device) % self.num_rows
        place_K = _of_rows(self.text_counts_B, place_B)
        wrong = self.wrong
        if wrong is not None:
            counts_B = wrong.caption_counts_B.index_select(0, place_B)
            caption_id_J = wrong.caption_id_J.index_select(0, _of_rows(wrong.caption_counts_B, place_B))
            wrong = WrongTexts(wrong.index_M, caption_id_J, counts_B)
        return BatchFacts(
            text_index_K=self.text_index_K.index_select(0, place_K),
            text_counts_B=self.text_counts_B.index_select(0, place_B),
            text_id_T=self.text_id_T,
            picture_B=self.picture_B.index_select(0, place_B),
            columns={name: _taken(one, place_B) for name, one in self.columns.items()},
            columns_of_texts={name: one.index_select(0, place_K) for name, one in self.columns_of_texts.items()},
            wrong=wrong,
        )


def _of_rows(counts_B: torch.Tensor, place_N: torch.Tensor) -> torch.Tensor:
    """Places of all that some rows own, where each row's lie end to end: int64 [M].

    Args:
        counts_B: int64, how many each row owns.
        place_N: int64, the rows.
    """
    first_N, counts_N = (counts_B.cumsum(0) - counts_B).index_select(0, place_N), counts_B.index_select(0, place_N)
    before_N = counts_N.cumsum(0) - counts_N
    within_M = torch.arange(int(counts_N.sum()), device=counts_B.device) - before_N.repeat_interleave(counts_N)
    return first_N.repeat_interleave(counts_N) + within_M


def _taken(values: Any, place_N: torch.Tensor) -> Any:
    return values.index_select(0, place_N) if isinstance(values, torch.Tensor) else [values[at] for at in place_N]
