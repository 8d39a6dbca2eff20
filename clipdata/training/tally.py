"""Tally: what the steps since the last report add up to, and how long each batch was waited for. Knows numbers only."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item")


@dataclass
class Tally:
    """Sums over the steps since the last report; the times are of this process alone."""

    num_steps: int = 0
    loss: float = 0.0
    wait_s: float = 0.0
    step_s: float = 0.0

    def add(self, loss: float, wait_s: float, step_s: float) -> None:
        """Take in a step."""
        self.num_steps, self.loss = self.num_steps + 1, self.loss + loss
        self.wait_s, self.step_s = self.wait_s + wait_s, self.step_s + step_s

    @property
    def wait_share(self) -> float:
        """Part of the time that was spent waiting for data."""
        return self.wait_s / max(self.wait_s + self.step_s, 1e-9)


def timed(batches: Iterator[Item]) -> Iterator[tuple[Item, float]]:
    """Pair every batch with the seconds it was waited for."""
    while True:
        started_s = time.perf_counter()
        batch = next(batches, None)
        if batch is None:
            return
        yield batch, time.perf_counter() - started_s
