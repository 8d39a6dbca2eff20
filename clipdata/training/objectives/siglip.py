"""SigLip: whether a picture and a caption belong together, for each pair of the batch by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from clipdata.training.objectives.pairs import Pairs

if TYPE_CHECKING:
    import torch

    from clipdata.training.features import BatchFacts, Features


@dataclass(frozen=True)
class SigLip(Pairs):
    """Sigmoid loss over all pairs of a batch; the model needs a logit bias.

    Args:
        text: column of captions, one or a list a row.
        captions: which of a list: "all" of them, "random" draws one anew every epoch, "longest", "first".
        same: what pairs are that share a picture, a text or a group without being the row's own: "positives" as well,
            "left_out", or "negatives", as the loss was published.
        group: column of which equal values belong together, too; none by default.
        negatives: column of lists of captions that do not belong to the picture, any number a row: every picture's own
            is told from those of all rows as well. One that is a caption of the row all the same, or of a row that
            belongs to it, is none: choices with the right one among them will do. None by default.
        normalise: L2-normalise features; False takes plain dot products.
    """

    kind: ClassVar[str] = "siglip"

    text: str = "caption"
    captions: Literal["all", "first", "longest", "random"] = "random"
    same: Literal["positives", "left_out", "negatives"] = "positives"
    group: str | None = None
    negatives: str | None = None
    normalise: bool = True

    @property
    def needs_bias(self) -> bool:
        """It does."""
        return True

    def loss(self, features: Features, facts: BatchFacts) -> torch.Tensor:
        """See `losses.siglip_loss`."""
        import torch

        from clipdata.training.belonging import owners
        from clipdata.training.losses import siglip_loss

        assert features.logit_bias is not None
        owner_K = owners(facts.text_counts_B, len(facts.text_index_K))
        own_BK = torch.arange(facts.num_rows, device=owner_K.device)[:, None] == owner_K
        same_BK = own_BK if self.same == "negatives" else self.same_pairs(facts)
        return siglip_loss(
            features.image_BD,
            features.text_TD.index_select(0, facts.text_index_K),
            features.logit_scale,
            features.logit_bias,
            positive_BK=same_BK if self.same == "positives" else own_BK,
            ignored_BK=same_BK & ~own_BK if self.same == "left_out" else None,
            wrong_BM=self.wrong_logits(features, facts),
        )
