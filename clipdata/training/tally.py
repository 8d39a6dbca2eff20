"""Tally: what the losses of the steps since the last report add up to. Knows numbers only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Tally:
    """Sums over the steps since the last report."""

    num_steps: int = 0
    loss: float = 0.0

    def add(self, loss: float) -> None:
        """Take in a step."""
        self.num_steps, self.loss = self.num_steps + 1, self.loss + loss
