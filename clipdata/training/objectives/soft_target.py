"""SoftTarget: targets made of the batch's own similarities, exactly as a tutorial wrote it. It collapses easily."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from clipdata.training.objectives.pairs import Pairs

if TYPE_CHECKING:
    import torch

    from clipdata.training.features import BatchFacts, Features


@dataclass(frozen=True)
class SoftTarget(Pairs):
    """Cross-entropy against a softmax of the similarities within the batch; no id, no logit scale.

    The targets are neither detached nor normalised by row. A falling loss proves little: a model that maps everything
    to one point has the loss ln B. `MultiPositive` mends it.

    Args:
        text: column of captions, one or a list a row.
        captions: which one of a list: "longest", "random" draws another every epoch, "first".
        temperature: of logits and targets.
        normalise: L2-normalise features; at temperature 1 nothing is learned then.
    """

    kind: ClassVar[str] = "soft_target"

    text: str = "caption"
    captions: Literal["first", "longest", "random"] = "longest"
    group: None = None
    negatives: None = None
    normalise: bool = False
    temperature: float = 1.0

    def loss(self, features: Features, facts: BatchFacts) -> torch.Tensor:
        """See `losses.soft_target_loss`."""
        from clipdata.training.losses import soft_target_loss

        text_BD = features.text_TD.index_select(0, facts.text_index_K)
        return soft_target_loss(features.image_BD, text_BD, self.temperature)

    def _problems(self) -> list[str]:
        return [] if self.temperature > 0 else [f"temperature is {self.temperature}; expected a number above 0"]
