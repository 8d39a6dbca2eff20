"""Gradients of a step: features, loss and backward, one batch after the other, in all processes together.

Several batches a step are plain accumulation: their gradients are averaged, and no row is compared with one of another
batch, so that it saves memory and adds no negatives. How a batch goes through the towers is a `Passes`: all of its rows
at once here, or some at a time in cached_gradients.py. It knows forwards, objectives and processes; it must not know
optimizers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch

from clipdata.training.features import BatchFacts, Features
from clipdata.training.forward import Forward
from clipdata.training.objectives import Objective
from clipdata.training.processes import Processes
from clipdata.training.vitals import Vitals, look_at

Autocast = Callable[[], AbstractContextManager[Any]]
"""What a forward computes in."""


@dataclass(frozen=True)
class Passed:
    """A batch that went through the towers.

    Args:
        features: of its rows, with gradients as far as they reach.
        facts: of its rows.
        behind: what takes the gradients on from where those of the features end, after the loss's backward pass.
    """

    features: Features
    facts: BatchFacts
    behind: tuple[Callable[[], None], ...] = ()


class Passes(ABC):
    """How a batch goes through the towers, and gradients back.

    Args:
        forward: of the model.
        autocast: what it computes in.
    """

    def __init__(self, forward: Forward, autocast: Autocast) -> None:
        self.forward, self._autocast = forward, autocast

    @abstractmethod
    def __call__(self, batch: Mapping[str, Any]) -> Passed:
        """Compute the features of a batch of a stream made with `forward.request()`."""


class WholeBatch(Passes):
    """All rows of a batch at once."""

    def __call__(self, batch: Mapping[str, Any]) -> Passed:
        """The loss's gradients reach every weight by themselves."""
        with self._autocast():
            return Passed(*self.forward(batch))


@dataclass(frozen=True)
class Backward:
    """What a step's backward passes did.

    Args:
        loss: mean over the rows of all processes, before the weights moved.
        num_rows: of all processes.
    """

    loss: float
    num_rows: int


class Gradients:
    """Computes a step's gradients, and leaves them at the parameters.

    Attributes:
        looks: look at the features of the steps to come.
        vitals: what the last look found.

    Args:
        passes: of batches through the towers.
        objective: gives the loss.
        scale: from a loss to what is differentiated, as a GradScaler scales it.
        processes: that train together.
    """

    def __init__(
        self,
        passes: Passes,
        objective: Objective,
        *,
        scale: Callable[[torch.Tensor], torch.Tensor],
        processes: Processes,
    ) -> None:
        self._passes, self._objective = passes, objective
        self._scale, self._processes = scale, processes
        self.vitals: Vitals | None = None
        self.looks = False

    def of(self, batches: Sequence[Mapping[str, Any]], device: torch.device) -> Backward:
        """Add up the gradients of a step's batches, each by its share of the rows.

        Args:
            batches: of a stream made with `forward.request()`, each of at least one row in some process.
        """
        num_rows = [self._processes.total(self._passes.forward.num_rows(batch), device) for batch in batches]
        loss = 0.0
        for batch, rows in zip(batches, num_rows, strict=True):
            share = rows / sum(num_rows)
            loss += share * self._of_one(batch, rows, share, device)
        return Backward(loss, int(sum(num_rows)))

    def _of_one(self, batch: Mapping[str, Any], rows: float, share: float, device: torch.device) -> float:
        passed = self._passes(batch)
        features, facts = passed.features, passed.facts
        own_rows = facts.num_rows
        if self._objective.shares:  # every process has the loss of all rows, whose gradients average to that of one
            features, facts = self._processes.gather(features, facts)
            loss, weight = self._objective.loss(features, facts), 1.0
        elif own_rows:
            # The mean over processes is taken afterwards; one with more rows counts for more.
            loss, weight = self._objective.loss(features, facts), own_rows * self._processes.world / rows
        else:
            loss, weight = features.image_BD.sum() * 0.0, 0.0
        self._scale(loss * (weight * share)).backward()
        for carry_on in passed.behind:
            carry_on()
        if self.looks:
            self._look(features, facts)
        value = float(loss.detach())
        return value if self._objective.shares else self._processes.total(value * own_rows, device) / rows

    def _look(self, features: Features, facts: BatchFacts) -> None:
        """Look at the rows of all processes."""
        if not self._objective.shares:
            with torch.no_grad():
                features, facts = self._processes.gather(features, facts)
        if facts.num_rows:
            self.vitals = look_at(features, facts, self._objective)
