"""What is measured on held-out rows, one class a kind of objective. It knows features and facts, and no towers.

Shapes: B rows of a batch, N all rows, C classes, D shared space.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from clipdata.training.belonging import owners
from clipdata.training.classification import classification, confusion_table
from clipdata.training.features import BatchFacts, Features
from clipdata.training.figures import Evaluation, Units
from clipdata.training.losses import choice_logits
from clipdata.training.retrieval import Recall, retrieval

if TYPE_CHECKING:
    from clipdata.training.objectives import ClassPrompts


class ChoiceMeasure:
    """How often the right one of a row's captions scores above every other, and its mean probability.

    Args:
        label: column of its place.
    """

    def __init__(self, label: str) -> None:
        self._label = label
        self._right, self._probability, self._chance = ([torch.zeros(0, dtype=torch.float64)] for _ in range(3))
        self._picture = [torch.zeros(0, dtype=torch.int64)]

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
        self._right.append(right_answers(logits_BN, label_B1[:, 0]).cpu().double())
        self._probability.append(logits_BN.softmax(dim=1).gather(1, label_B1)[:, 0].cpu().double())
        self._chance.append(1 / facts.text_counts_B.cpu().double())
        self._picture.append(facts.picture_B.cpu())

    def result(self) -> Evaluation:
        """Accuracy and mean probability of all that was taken in."""
        picture_N = torch.cat(self._picture).numpy()
        values = {"accuracy": torch.cat(self._right).numpy(), "mean_probability": torch.cat(self._probability).numpy()}
        num_rows = len(picture_N)
        return Evaluation(
            num_rows,
            {name: float(value_N.sum()) / max(num_rows, 1) for name, value_N in values.items()},
            {"chance": float(torch.cat(self._chance).sum()) / max(num_rows, 1)},
            units={name: Units(value_N, picture_N) for name, value_N in values.items()},
        )


class RetrievalMeasure:
    """How early a picture's own captions come among all held-out ones, and a caption's own pictures."""

    def __init__(self) -> None:
        self._image, self._text = [torch.zeros(0, 0)], [torch.zeros(0, 0)]
        self._picture, self._text_id, self._owner = ([torch.zeros(0, dtype=torch.int64)] for _ in range(3))
        self._num_rows = 0

    def add(self, features: Features, facts: BatchFacts) -> None:
        """Take in a batch; its features are compared by their cosines, whatever the loss takes."""
        text_KD = features.text_TD.index_select(0, facts.text_index_K)
        self._image.append(functional.normalize(features.image_BD, dim=-1).cpu())
        self._text.append(functional.normalize(text_KD, dim=-1).cpu())
        self._picture.append(facts.picture_B.cpu())
        self._text_id.append(facts.text_id_K.cpu())
        self._owner.append(owners(facts.text_counts_B, len(facts.text_index_K)).cpu() + self._num_rows)
        self._num_rows += facts.num_rows

    def result(self) -> Evaluation:
        """Recall in both directions over all that was taken in."""
        if not self._num_rows:
            return Evaluation(0, {})
        found = retrieval(
            torch.cat(self._image[1:]),
            torch.cat(self._text[1:]),
            owner_K=torch.cat(self._owner),
            picture_B=torch.cat(self._picture),
            text_K=torch.cat(self._text_id),
        )
        sides = {"image_to_text": found.text_of_image, "text_to_image": found.image_of_text}
        metrics = {f"{side}_recall@{k}": value for side, recall in sides.items() for k, value in recall.at.items()}
        text = "; ".join(f"{side.replace('_', ' ')} {_recalls(recall)}" for side, recall in sides.items())
        units = {
            f"{side}_recall@{k}": Units(recall.hit_QS[:, place], recall.group_Q)
            for side, recall in sides.items()
            for place, k in enumerate(recall.sizes)
        }
        return Evaluation(self._num_rows, metrics, found.to_json() | _intervals(sides), text, units=units)


def _recalls(recall: Recall) -> str:
    """Recall at each size beside that of chance, in one line."""
    names = "/".join(map(str, recall.sizes))
    found, chance = ("/".join(f"{100 * one:.1f}" for one in values.values()) for values in (recall.at, recall.chance))
    return f"R@{names} {found} % of {recall.gallery:,} (chance {chance})"


def _intervals(sides: dict[str, Recall]) -> dict[str, list[float] | None]:
    found = {f"{side}_recall@{k}_interval": recall.interval(k) for side, recall in sides.items() for k in recall.sizes}
    return {name: list(interval) if interval is not None else None for name, interval in found.items()}


class ClassMeasure:
    """How often a picture's class is first, or among the first five, of all classes.

    Args:
        objective: gives the classes and their features.
    """

    def __init__(self, objective: ClassPrompts) -> None:
        self._objective = objective
        self._image: list[torch.Tensor] = []
        self._label: list[torch.Tensor] = []
        self._picture: list[torch.Tensor] = []
        self._class_CD: torch.Tensor | None = None

    def add(self, features: Features, facts: BatchFacts) -> None:
        """Take in a batch."""
        self._class_CD = self._objective.class_features(features).cpu()
        self._image.append(features.image_BD.cpu())
        self._label.append(facts.columns[self._objective.label].cpu())
        self._picture.append(facts.picture_B.cpu())

    def result(self) -> Evaluation:
        """Top-1, top-5 and the mean recall per class of all that was taken in; the confusion table beside them."""
        if self._class_CD is None:
            return Evaluation(0, {})
        found = classification(torch.cat(self._image), self._class_CD, torch.cat(self._label))
        metrics = {f"top{k}_accuracy": value for k, value in found.top.items()}
        metrics["mean_class_recall"] = found.mean_recall
        picture_N = torch.cat(self._picture).numpy()[found.judged_B]
        units = {f"top{k}_accuracy": Units((found.place_B <= k).astype(np.float64), picture_N) for k in found.top}
        return Evaluation(
            found.num_rows,
            metrics,
            found.to_json() | {"confusion": found.answers(self._objective.classes)},
            str(found),
            confusion_table(found, self._objective.classes),
            units,
        )


def right_answers(logits_BN: torch.Tensor, label_B: torch.Tensor) -> torch.Tensor:
    """Tell of which rows the right choice scores above every other, as `compare` does: bool [B]."""
    right_B1 = logits_BN.gather(1, label_B[:, None])
    return (logits_BN >= right_B1).sum(dim=1) == 1
