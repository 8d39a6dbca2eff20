"""Objectives: what a step minimises, as functions of features. They know neither towers nor tables.

Shapes: B rows of a batch, K all their choices laid end to end, T distinct texts among these, N most choices of one row,
D shared space.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch.nn import functional


class Objective(Protocol):
    """Loss of a batch, from features and what the batch says of them."""

    def __call__(
        self,
        image_BD: torch.Tensor,
        text_TD: torch.Tensor,
        logit_scale: torch.Tensor,
        *,
        text_index_K: torch.Tensor,
        text_counts_B: torch.Tensor,
        label_B: torch.Tensor,
    ) -> torch.Tensor:
        """Return the mean loss of the rows, a scalar."""
        ...


def choice_logits(
    image_BD: torch.Tensor,
    text_TD: torch.Tensor,
    logit_scale: torch.Tensor,
    *,
    text_index_K: torch.Tensor,
    text_counts_B: torch.Tensor,
) -> torch.Tensor:
    """Score every image against its own choices, all rows at once though they have different numbers of them.

    Args:
        image_BD: float, L2-normalised.
        text_TD: float, L2-normalised; each distinct text once.
        logit_scale: the factor itself, not its logarithm.
        text_index_K: int64, the text of each choice.
        text_counts_B: int64, number of choices of each row.

    Returns:
        float [B, N]; -inf where a row has fewer choices.
    """
    # index_select, because its gradient sums in a fixed order on a CPU, which that of plain indexing does not.
    rows = torch.arange(len(text_counts_B), device=text_counts_B.device)
    owner_K = torch.repeat_interleave(rows, text_counts_B, output_size=len(text_index_K))
    image_KD, text_KD = image_BD.index_select(0, owner_K), text_TD.index_select(0, text_index_K)
    logits_K = logit_scale * (image_KD * text_KD).sum(-1)
    places = torch.arange(int(text_counts_B.max()), device=text_counts_B.device)
    present_BN = places < text_counts_B[:, None]
    return torch.full(present_BN.shape, -torch.inf, device=logits_K.device).masked_scatter(present_BN, logits_K)


def choice_loss(
    image_BD: torch.Tensor,
    text_TD: torch.Tensor,
    logit_scale: torch.Tensor,
    *,
    text_index_K: torch.Tensor,
    text_counts_B: torch.Tensor,
    label_B: torch.Tensor,
) -> torch.Tensor:
    """Cross-entropy of the right choice among each row's own, in the mean over rows.

    Equal in value and gradient to one forward a row, as long as the text tower has no dropout: a text that occurs in
    several rows is encoded once.

    Args:
        label_B: int64, the place of the right choice in its row, from 0.

    Source: the contest tutorial of DataChain's "Fine-tuning CLIP", whose loop sums the rows one by one.
    """
    logits_BN = choice_logits(image_BD, text_TD, logit_scale, text_index_K=text_index_K, text_counts_B=text_counts_B)
    return functional.cross_entropy(logits_BN, label_B)


OBJECTIVES: Mapping[str, Objective] = {"choice": choice_loss}
