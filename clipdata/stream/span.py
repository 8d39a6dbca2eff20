"""Span: which turns one iteration of a stream covers, when epochs are cut short or follow one another.

Turns are numbered over all epochs. It is arithmetic, and knows neither tables nor workers.
"""

from __future__ import annotations

from dataclasses import dataclass

FOREVER = 2**40  # epochs


@dataclass(frozen=True)
class Span:
    """See the module.

    Args:
        first_epoch: the first of all.
        epochs: of one iteration; None for one that does not end.
        turns: most turns of one iteration, over its epochs; None for all.
        until_epoch: in place of `epochs`, the epoch before which every iteration ends.
    """

    first_epoch: int = 0
    epochs: int | None = 1
    turns: int | None = None
    until_epoch: int | None = None

    @property
    def is_endless(self) -> bool:
        """Whether an iteration goes on for as long as it is asked."""
        return self.until_epoch is None and self.epochs is None and self.turns is None

    def until(self, epoch: int) -> int:
        """The epoch before which an iteration ends that stands in another, and in which the next one begins."""
        if self.until_epoch is not None:
            return self.until_epoch
        if self.epochs is None:
            return FOREVER
        return self.first_epoch + ((epoch - self.first_epoch) // self.epochs + 1) * self.epochs

    def stop(self, until: int, epoch_turns: int) -> int:
        """Number of the turn before which an iteration ends.

        Args:
            until: as above.
            epoch_turns: turns of an epoch.
        """
        if self.turns is None:
            return until * epoch_turns
        begins = self.first_epoch if self.epochs is None or self.until_epoch is not None else until - self.epochs
        return min(until * epoch_turns, begins * epoch_turns + self.turns)
