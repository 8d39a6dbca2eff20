"""Measuring a model on held-out rows while it trains. It knows features and batches, and nothing of optimizers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from clipdata.training.forward import Features
from clipdata.training.objectives import choice_logits


@dataclass(frozen=True)
class Evaluation:
    """How well a model chooses.

    Args:
        num_rows: rows measured.
        accuracy: share of rows whose right choice scores above every other; a tie for the top is not right, as in
            `compare`.
        mean_probability: of the right choice, by softmax over the row's own choices.
    """

    num_rows: int
    accuracy: float
    mean_probability: float

    def to_json(self) -> dict[str, Any]:
        """Fields as JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"held-out accuracy {self.accuracy:.1%}, mean probability {self.mean_probability:.3f} "
            f"of {self.num_rows:,} rows"
        )


def right_answers(found: Features) -> torch.Tensor:
    """Tell of which rows the right choice scores above every other: bool [B]."""
    return _right(_logits(found), found.label_B)


def _logits(found: Features) -> torch.Tensor:
    return choice_logits(
        found.image_BD,
        found.text_TD,
        found.logit_scale,
        text_index_K=found.text_index_K,
        text_counts_B=found.text_counts_B,
    )


def _right(logits_BN: torch.Tensor, label_B: torch.Tensor) -> torch.Tensor:
    right_B = logits_BN.gather(1, label_B[:, None])
    return (logits_BN >= right_B).sum(dim=1) == 1


def evaluate(batches: Iterable[Mapping[str, Any]], features_of: Callable[[Mapping[str, Any]], Features]) -> Evaluation:
    """Measure how often the right choice wins.

    Args:
        batches: of a stream with `drop_last=False`.
        features_of: a `Forward`.
    """
    num_rows, num_right, probability = 0, 0, 0.0
    with torch.no_grad():
        for batch in batches:
            found = features_of(batch)
            logits_BN = _logits(found)
            num_rows += len(logits_BN)
            num_right += int(_right(logits_BN, found.label_B).sum())
            right_B = logits_BN.softmax(dim=1).gather(1, found.label_B[:, None])
            probability += float(right_B.double().sum())
    return Evaluation(num_rows, num_right / max(num_rows, 1), probability / max(num_rows, 1))
