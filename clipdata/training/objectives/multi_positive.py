"""MultiPositive: contrastive, where several captions belong to a picture and several pictures to a caption."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from clipdata.training.objectives.pairs import Pairs

if TYPE_CHECKING:
    import torch

    from clipdata.training.features import BatchFacts, Features


@dataclass(frozen=True)
class MultiPositive(Pairs):
    """Symmetric cross-entropy against all that belongs together by ids: the picture, the text, the group.

    Args:
        text: column of captions, one or a list a row.
        captions: which of a list: "all" of them, "random" draws one anew every epoch, "longest", "first".
        group: column of which equal values belong together, too; none by default.
        negatives: column of lists of captions that do not belong to the picture, any number a row: every picture's own
            is told from those of all rows as well. One that is a caption of the row all the same, or of a row that
            belongs to it, is none: choices with the right one among them will do. None by default.
        normalise: L2-normalise features; False takes plain dot products.
    """

    kind: ClassVar[str] = "multi_positive"

    text: str = "caption"
    captions: Literal["all", "first", "longest", "random"] = "random"
    group: str | None = None
    negatives: str | None = None
    normalise: bool = True

    def loss(self, features: Features, facts: BatchFacts) -> torch.Tensor:
        """See `losses.multi_positive_loss`."""
        from clipdata.training.losses import multi_positive_loss

        return multi_positive_loss(
            features.image_BD,
            features.text_TD.index_select(0, facts.text_index_K),
            features.logit_scale,
            positive_BK=self.same_pairs(facts),
            wrong_BM=self.wrong_logits(features, facts),
        )
