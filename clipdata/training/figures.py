"""Figures of a model on held-out rows, and what gathers them. It knows features and facts by name alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from clipdata.statistics import FloatArray, IntArray
from clipdata.training.metrics import told

if TYPE_CHECKING:
    from clipdata.training.features import BatchFacts, Features


@dataclass(frozen=True)
class Units:
    """A figure of every single thing that was judged, of which the figure itself is the mean.

    Their order depends on the rows alone; so two models that measured the same rows judged the same things in it.

    Args:
        value_N: float64.
        picture_N: int64, an id that things of one picture share; 0 is unknown, and nobody else's.
    """

    value_N: FloatArray = field(repr=False)
    picture_N: IntArray = field(repr=False)

    @property
    def cluster_N(self) -> IntArray:
        """Ids of pictures, with an id of its own for each that nobody knows."""
        own_N = np.where(self.picture_N == 0, -1 - np.arange(len(self.picture_N)), 0)
        _, known_N = np.unique(self.picture_N, return_inverse=True)
        return np.where(self.picture_N == 0, own_N, known_N)


@dataclass(frozen=True)
class Evaluation:
    """How well a model does on held-out rows.

    Args:
        num_rows: rows measured.
        metrics: figures by name, the chief one first; shares are from 0 to 1.
        more: what stands beside them, as JSON values: chance, intervals, counts.
        text: the figures in words; by default their names and values.
        table: what is better read as a table, such as which classes are taken for which.
        units: name of a figure → what it is the mean of, for those that are one.
    """

    num_rows: int
    metrics: Mapping[str, float]
    more: Mapping[str, Any] = field(default_factory=dict)
    text: str = ""
    table: str = ""
    units: Mapping[str, Units] = field(default_factory=dict, repr=False, compare=False)

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
