"""Contrastive: each picture's caption among those of the batch, and each caption's picture among its pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from clipdata.training.objectives.pairs import Pairs

if TYPE_CHECKING:
    import torch

    from clipdata.training.features import BatchFacts, Features


@dataclass(frozen=True)
class Contrastive(Pairs):
    """Symmetric cross-entropy over the pairs of a batch, one caption a picture.

    Args:
        text: column of captions, one or a list a row.
        captions: which one of a list: "random" draws another every epoch, "longest", "first".
        same: what pairs are that share a picture, a text or a group without being the row's own: "left_out" of what is
            compared, or "negatives", as the loss was published.
        group: column of which equal values belong together, too; none by default.
        negatives: column of lists of captions that do not belong to the picture, any number a row: every picture's own
            is told from those of all rows as well. One that is a caption of the row all the same, or of a row that
            belongs to it, is none: choices with the right one among them will do. None by default.
        normalise: L2-normalise features; False takes plain dot products.
    """

    kind: ClassVar[str] = "contrastive"

    text: str = "caption"
    captions: Literal["first", "longest", "random"] = "random"
    same: Literal["left_out", "negatives"] = "left_out"
    group: str | None = None
    negatives: str | None = None
    normalise: bool = True

    def loss(self, features: Features, facts: BatchFacts) -> torch.Tensor:
        """See `losses.contrastive_loss`."""
        from clipdata.training.losses import contrastive_loss

        return contrastive_loss(
            features.image_BD,
            features.text_TD.index_select(0, facts.text_index_K),
            features.logit_scale,
            same_BB=self.same_pairs(facts) if self.same == "left_out" else None,
            wrong_BM=self.wrong_logits(features, facts),
        )
