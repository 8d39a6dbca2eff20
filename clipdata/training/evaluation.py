"""Measuring a model on held-out rows: the figures, and the pass over the rows that gathers them.

It knows features and batches, and nothing of optimizers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from clipdata.training.features import BatchFacts, Features
from clipdata.training.metrics import told
from clipdata.training.objectives import Objective


@dataclass(frozen=True)
class Evaluation:
    """How well a model does on held-out rows.

    Args:
        num_rows: rows measured.
        metrics: figures by name, the chief one first; shares are from 0 to 1.
        more: what is no single figure, as JSON values.
    """

    num_rows: int
    metrics: Mapping[str, float]
    more: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The figures by name."""
        return {"num_rows": self.num_rows, **self.metrics}

    def __str__(self) -> str:
        figures = ", ".join(told(name, value) for name, value in self.metrics.items())
        return f"held-out {figures} of {self.num_rows:,} rows"


class Measure(Protocol):
    """Gathers figures over batches of held-out rows."""

    def add(self, features: Features, facts: BatchFacts) -> None:
        """Take in a batch; the features are those that the objective's loss takes."""
        ...

    def result(self) -> Evaluation:
        """Figures of all that was taken in."""
        ...


def evaluate(
    batches: Iterable[Mapping[str, Any]],
    features_of: Callable[[Mapping[str, Any]], tuple[Features, BatchFacts]],
    objective: Objective,
) -> Evaluation:
    """Measure held-out rows: the loss, in batches as they come, and what else the objective measures.

    Args:
        batches: of a stream with `drop_last=False`.
        features_of: a `Forward` that gives all texts of a row.
        objective: what was trained for.
    """
    measure = objective.measure()
    num_rows, loss = 0, 0.0
    with torch.no_grad():
        for batch in batches:
            features, facts = features_of(batch)
            measure.add(features, facts)
            seen = facts if objective.picks == "all" else facts.one_text_each()
            loss += float(objective.loss(features, seen)) * facts.num_rows
            num_rows += facts.num_rows
    found = measure.result()
    if not num_rows:
        return found
    return Evaluation(found.num_rows, {**found.metrics, "held_out_loss": loss / num_rows}, found.more)
