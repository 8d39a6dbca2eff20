"""Figures of a model on held-out rows, and what gathers them. It knows features and facts by name alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from clipdata.training.metrics import told

if TYPE_CHECKING:
    from clipdata.training.features import BatchFacts, Features


@dataclass(frozen=True)
class Evaluation:
    """How well a model does on held-out rows.

    Args:
        num_rows: rows measured.
        metrics: figures by name, the chief one first; shares are from 0 to 1.
        more: what stands beside them, as JSON values: chance, intervals, counts.
        text: the figures in words; by default their names and values.
        table: what is better read as a table, such as which classes are taken for which.
    """

    num_rows: int
    metrics: Mapping[str, float]
    more: Mapping[str, Any] = field(default_factory=dict)
    text: str = ""
    table: str = ""

    def to_json(self) -> dict[str, Any]:
        """The figures by name."""
        return {"num_rows": self.num_rows, **self.metrics}

    def __str__(self) -> str:
        if not self.num_rows:
            return "no row to measure can be decoded"
        if self.text:
            return self.text
        return f"{', '.join(told(name, value) for name, value in self.metrics.items())} of {self.num_rows:,} rows"


class Measure(Protocol):
    """Gathers figures over batches of held-out rows."""

    def add(self, features: Features, facts: BatchFacts) -> None:
        """Take in a batch; the features are those that the objective's loss takes."""
        ...

    def result(self) -> Evaluation:
        """Figures of all that was taken in."""
        ...
