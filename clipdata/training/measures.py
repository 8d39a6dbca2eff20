"""What is measured on held-out rows, one class a kind of objective. It knows features and facts, and no towers.

Shapes: B rows of a batch, N all rows, C classes, D shared space.
"""

from __future__ import annotations

import torch

from clipdata.training.evaluation import Evaluation
from clipdata.training.features import BatchFacts, Features
from clipdata.training.losses import choice_logits


class ChoiceMeasure:
    """How often the right one of a row's captions scores above every other, and its mean probability.

    Args:
        label: column of its place.
    """

    def __init__(self, label: str) -> None:
        self._label = label
        self._num_rows, self._num_right, self._probability = 0, 0, 0.0

    def add(self, features: Features, facts: BatchFacts) -> None:
        """Take in a batch."""
        logits_BN = choice_logits(
            features.image_BD,
            features.text_TD,
            features.logit_scale,
            text_index_K=facts.text_index_K,
            text_counts_B=facts.text_counts_B,
        )
        label_B1 = facts.columns[self._label][:, None]
        self._num_rows += len(logits_BN)
        self._num_right += int(right_answers(logits_BN, label_B1[:, 0]).sum())
        self._probability += float(logits_BN.softmax(dim=1).gather(1, label_B1).double().sum())

    def result(self) -> Evaluation:
        """Accuracy and mean probability of all that was taken in."""
        num_rows = max(self._num_rows, 1)
        return Evaluation(
            self._num_rows,
            {"accuracy": self._num_right / num_rows, "mean_probability": self._probability / num_rows},
        )


def right_answers(logits_BN: torch.Tensor, label_B: torch.Tensor) -> torch.Tensor:
    """Tell of which rows the right choice scores above every other, as `compare` does: bool [B]."""
    right_B1 = logits_BN.gather(1, label_B[:, None])
    return (logits_BN >= right_B1).sum(dim=1) == 1
