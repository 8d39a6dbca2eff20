"""Retrieval: how early an image's own texts come among all texts, and a text's own images among all images.

It knows features and who belongs to whom, and nothing of models or tables.

Shapes: B rows, each an image; K texts of all rows laid end to end; D shared space; Q queries, N the gallery that each
ranks, E pairs of a query and what is right for it; S sizes k at which recall is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch

from clipdata.statistics import FloatArray, IntArray, bootstrap_means, dense_codes, percentile_interval, sum_clusters

SIZES = (1, 5, 10)
_SCORES_IN_MEMORY = 4_000_000
_RESAMPLES = 2000


@dataclass(frozen=True)
class Recall:
    """How early what is right comes, in one direction.

    Among things that score alike the order is nobody's merit: a figure is what a random order of those gives in the
    mean. So a model that gives everything the same features has the recall of chance.

    Args:
        sizes: each k.
        gallery: how many things a query ranks.
        hit_QS: float64, how likely one right thing at least is among the first k.
        chance_QS: float64, the same of a gallery in random order.
        rank_Q: float64, place of the first right thing, from 1.
        group_Q: int64, queries of one group hang together (texts of one picture) and are resampled together.
    """

    sizes: tuple[int, ...]
    gallery: int
    hit_QS: FloatArray = field(repr=False)
    chance_QS: FloatArray = field(repr=False)
    rank_Q: FloatArray = field(repr=False)
    group_Q: IntArray = field(repr=False)

    @property
    def queries(self) -> int:
        """How many things were looked up."""
        return len(self.rank_Q)

    @property
    def at(self) -> dict[int, float]:
        """k → share of queries with something right among the first k; NaN without a query."""
        return dict(zip(self.sizes, _means(self.hit_QS), strict=True))

    @property
    def chance(self) -> dict[int, float]:
        """k → the recall of a gallery in random order."""
        return dict(zip(self.sizes, _means(self.chance_QS), strict=True))

    @property
    def median_rank(self) -> float:
        """Median over queries of the place of the first right thing."""
        return float(np.median(self.rank_Q)) if self.queries else float("nan")

    def interval(self, size: int) -> tuple[float, float] | None:
        """Interval of 95 % of the recall at `size`, by resampling groups of queries; None for fewer than two groups."""
        if len(self._resampled) == 0:
            return None
        low, high = percentile_interval(self._resampled[:, self.sizes.index(size)], len(np.unique(self.group_Q)))
        return max(low, 0.0), min(high, 1.0)

    @cached_property
    def _resampled(self) -> FloatArray:
        """Recalls of resampled groups: float64 [draws, S]; without a draw for fewer than two groups."""
        if len(np.unique(self.group_Q)) < 2:
            return np.empty((0, len(self.sizes)))
        return bootstrap_means(sum_clusters(dense_codes(self.group_Q), *self.hit_QS.T), resamples=_RESAMPLES, seed=0)

    def to_json(self) -> dict[str, Any]:
        """Figures as JSON values."""
        recall = {f"recall@{size}": value for size, value in self.at.items()}
        chance = {f"chance@{size}": value for size, value in self.chance.items()}
        return {**recall, **chance, "median_rank": self.median_rank, "queries": self.queries, "gallery": self.gallery}

    def __str__(self) -> str:
        figures = ", ".join(f"R@{size} {self.at[size]:.1%} (chance {self.chance[size]:.1%})" for size in self.sizes)
        return f"{figures}, median rank {self.median_rank:,.1f} of {self.gallery:,}; {self.queries:,} looked up"


@dataclass(frozen=True)
class Retrieval:
    """Recall in both directions.

    Args:
        text_of_image: images look up their texts.
        image_of_text: texts look up their images.
    """

    text_of_image: Recall
    image_of_text: Recall

    def to_json(self) -> dict[str, Any]:
        """Figures as JSON values, named by their direction."""
        sides = {"image_to_text": self.text_of_image, "text_to_image": self.image_of_text}
        return {f"{side}_{name}": value for side, recall in sides.items() for name, value in recall.to_json().items()}

    def __str__(self) -> str:
        return f"text of image: {self.text_of_image}\nimage of text: {self.image_of_text}"


def retrieval(
    image_BD: torch.Tensor,
    text_KD: torch.Tensor,
    *,
    owner_K: torch.Tensor,
    picture_B: torch.Tensor | None = None,
    text_K: torch.Tensor | None = None,
    sizes: Sequence[int] = SIZES,
) -> Retrieval:
    """Rank all texts for each image and all images for each text, by dot product.

    Rows of one picture are one image with the texts of all of them, and equal texts are one text with the images of
    all of them: what is right is not counted as wrong because it is there twice. One right thing among the first k is
    a hit, however many are right. Products are made in double precision and compared in single, so that equal features
    score alike wherever they stand.

    Args:
        image_BD: float; L2-normalised for cosines. What is no number comes last.
        text_KD: float.
        owner_K: int64, the row of each text.
        picture_B: int64, an id that rows of one picture share; 0 is unknown, and nobody else's. By default every row is
            a picture.
        text_K: int64, an id that equal texts share; 0 is unknown, and nobody else's. By default every text is its own.
        sizes: each k; one larger than the gallery takes in all of it.

    Source: recall at k with several captions a picture, as in CLIP (arXiv 2103.00020, section 3.1) on Flickr30k and
        COCO, where the gallery holds all captions.
    """
    image_of_B, first_B = _distinct(picture_B, len(image_BD))
    text_of_K, first_K = _distinct(text_K, len(text_KD))
    pairs_E2 = np.unique(np.stack([image_of_B[_numbers(owner_K)], text_of_K], axis=1), axis=0)
    images, texts = _doubles(image_BD)[first_B], _doubles(text_KD)[first_K]
    by_text_E2 = pairs_E2[np.lexsort((pairs_E2[:, 0], pairs_E2[:, 1]))][:, ::-1]
    return Retrieval(
        _recall(images, texts, pairs_E2, sizes, groups=np.arange(len(images))),
        _recall(texts, images, by_text_E2, sizes, groups=image_of_B[_numbers(owner_K)][first_K]),
    )


def _distinct(ids: torch.Tensor | None, size: int) -> tuple[IntArray, IntArray]:
    """Number things by first appearance, and tell where each appears first; every 0 is one apart."""
    if ids is None:
        return np.arange(size), np.arange(size)
    id_N = _numbers(ids)
    _, first_N, group_N = np.unique(id_N, return_index=True, return_inverse=True)
    place_N = np.where(id_N == 0, np.arange(size), first_N[group_N])
    first_M, code_N = np.unique(place_N, return_inverse=True)
    return code_N, first_M


def _recall(
    query_QD: torch.Tensor, gallery_ND: torch.Tensor, right_E2: IntArray, sizes: Sequence[int], *, groups: IntArray
) -> Recall:
    """Recall of the queries that have something right, the first column of `right_E2`, ascending."""
    asked_Q, start_Q, right_Q = np.unique(right_E2[:, 0], return_index=True, return_counts=True)
    counts = np.empty((3, len(asked_Q)), np.int64)
    at_once = max(1, _SCORES_IN_MEMORY // max(len(gallery_ND), 1))
    for start in range(0, len(asked_Q), at_once):
        chunk = slice(start, start + at_once)
        score_QN = (query_QD[asked_Q[chunk]] @ gallery_ND.T).float().nan_to_num_(-torch.inf, torch.inf, -torch.inf)
        row_E = torch.from_numpy(np.repeat(np.arange(len(score_QN)), right_Q[chunk])).to(score_QN.device)
        first, last = start_Q[start], start_Q[start] + right_Q[chunk].sum()
        score_E = score_QN[row_E, torch.from_numpy(right_E2[first:last, 1].copy()).to(score_QN.device)]
        best_Q = score_QN.new_full((len(score_QN),), -torch.inf).scatter_reduce(0, row_E, score_E, "amax")
        counts[0, chunk] = (score_QN > best_Q[:, None]).sum(1).cpu()
        counts[1, chunk] = (score_QN == best_Q[:, None]).sum(1).cpu()
        counts[2, chunk] = _count(row_E, score_E == best_Q[row_E], len(best_Q))
    above_Q, tied_Q, right_tied_Q = counts
    total_Q = np.full(len(asked_Q), len(gallery_ND), np.int64)
    return Recall(
        tuple(sizes),
        len(gallery_ND),
        _hits(above_Q, tied_Q, right_tied_Q, sizes),
        _hits(np.zeros_like(total_Q), total_Q, right_Q, sizes),
        above_Q + (tied_Q + 1) / (right_tied_Q + 1),
        groups[asked_Q],
    )


def _count(row_E: torch.Tensor, counted_E: torch.Tensor, num_rows: int) -> torch.Tensor:
    return torch.bincount(row_E[counted_E], minlength=num_rows).cpu()


def _hits(above_Q: IntArray, tied_Q: IntArray, right_Q: IntArray, sizes: Sequence[int]) -> FloatArray:
    """How likely one right thing at least is among the first k, when those that score alike come in random order.

    Of `tied` things, `right` of them right, the first j are all wrong with a chance of C(tied - right, j) / C(tied, j).

    Args:
        above_Q: int64, things that score higher, all wrong.
        tied_Q: int64, things that score as the best right one, itself among them.
        right_Q: int64, those of them that are right.

    Returns:
        float64 [Q, S].
    """
    miss_Q, hit_QS = np.ones(len(above_Q)), np.zeros((len(above_Q), len(sizes)))
    for place in range(max(min(max(sizes), int((above_Q + tied_Q).max(initial=0))), 0)):
        drawn_Q = place - above_Q
        wrong_Q, left_Q = np.maximum(tied_Q - right_Q - drawn_Q, 0), np.maximum(tied_Q - drawn_Q, 1)
        miss_Q = np.where(drawn_Q < 0, miss_Q, miss_Q * wrong_Q / left_Q)
        hit_QS[:, [column for column, size in enumerate(sizes) if size > place]] = 1 - miss_Q[:, None]
    return hit_QS


def _means(figures_QS: FloatArray) -> list[float]:
    return [float(column.mean()) if len(column) else float("nan") for column in figures_QS.T]


def _numbers(ids: torch.Tensor) -> IntArray:
    numbers: IntArray = ids.detach().cpu().numpy()
    return numbers


def _doubles(features: torch.Tensor) -> torch.Tensor:
    """In double precision, on the CPU where the device knows none."""
    features = features.detach()
    return (features.cpu() if features.device.type == "mps" else features).double()
