"""Which texts of a batch belong to which of its images: its own row's, its picture's, and what is equal to these.

It knows ids alone: neither features nor losses. Shapes: B images; K texts of all rows laid end to end; J captions of
all rows, taken by a step or not; M further texts.
"""

from __future__ import annotations

import torch


def owners(text_counts_B: torch.Tensor, num_texts: int) -> torch.Tensor:
    """Tell which row each text is of.

    Args:
        text_counts_B: int64, number of texts of each row.
        num_texts: their sum, K.

    Returns:
        int64 [K].
    """
    rows_B = torch.arange(len(text_counts_B), device=text_counts_B.device)
    return torch.repeat_interleave(rows_B, text_counts_B, output_size=num_texts)


def same_pairs(picture_B: torch.Tensor, text_K: torch.Tensor, owner_K: torch.Tensor) -> torch.Tensor:
    """Tell which texts belong to which images, so that none of these pairs is taken for a negative.

    A text belongs to an image when its row is of that picture, or when an equal text is.

    Args:
        picture_B: int64, an id that rows of one picture share; 0 is unknown, and nobody else's.
        text_K: int64, an id that equal texts share; 0 is unknown, and nobody else's.
        owner_K: int64, the row of each text.

    Returns:
        bool [B, K].
    """
    group_B, distinct_K = _groups(picture_B), _groups(text_K)
    shape = (len(group_B), len(distinct_K))
    belongs_GT = torch.zeros(shape, dtype=torch.bool, device=text_K.device)
    belongs_GT[group_B[owner_K], distinct_K] = True
    return belongs_GT[group_B][:, distinct_K]


def belonging_texts(
    picture_B: torch.Tensor, caption_J: torch.Tensor, owner_J: torch.Tensor, text_M: torch.Tensor
) -> torch.Tensor:
    """Tell which of some texts belong to which images: those that equal a caption of a row of the same picture.

    Args:
        picture_B: int64, an id that rows of one picture share; 0 is unknown, and nobody else's.
        caption_J: int64, an id that equal texts share; 0 is unknown, and nobody else's.
        owner_J: int64, the row of each caption.
        text_M: int64, ids as in `caption_J`.

    Returns:
        bool [B, M].
    """
    group_B, distinct_N = _groups(picture_B), _groups(torch.cat([caption_J, text_M]))
    belongs_GT = torch.zeros((len(group_B), len(distinct_N)), dtype=torch.bool, device=text_M.device)
    belongs_GT[group_B[owner_J], distinct_N[: len(caption_J)]] = True
    return belongs_GT[group_B][:, distinct_N[len(caption_J) :]]


def first_of_each(text_K: torch.Tensor, text_M: torch.Tensor) -> torch.Tensor:
    """Tell which of some texts stand there for the first time, after others: bool [M].

    Args:
        text_K: int64, ids of the others; 0 is unknown, and nobody else's.
        text_M: int64, ids of the texts.
    """
    distinct_N = _groups(torch.cat([text_K, text_M]))
    place_N = torch.arange(len(distinct_N), device=distinct_N.device)
    first_T = torch.full_like(place_N, len(place_N)).scatter_reduce(0, distinct_N, place_N, "amin")
    return (first_T.index_select(0, distinct_N) == place_N)[len(text_K) :]


def _groups(id_N: torch.Tensor) -> torch.Tensor:
    """Number the distinct ids from 0, each 0 among them apart: int64 [N], all below N."""
    place_N = torch.arange(len(id_N), device=id_N.device)
    group_N = torch.unique(id_N, return_inverse=True)[1]
    return torch.unique(torch.where(id_N == 0, len(id_N) + place_N, group_N), return_inverse=True)[1]
