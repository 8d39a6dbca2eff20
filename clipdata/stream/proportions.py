"""Which part of a mix gives the next row: arithmetic on weights, and nothing else.

A mix is one endless sequence of rows. How many of its first n rows a part gives is a formula of n and the weights, so
that any place of the sequence is known without walking to it; epochs, batches and ranks only cut the sequence up. The
parts take turns as evenly as whole rows allow: any stretch of the sequence, and so the batch of every rank, holds the
parts in their proportions, but for a row or two. No random number is drawn; which row of a part comes next is the
part's own order.

The formula gives each part in turn its rounded share of what the parts before it leave over: never less for a larger n,
and a sum of exactly n. This module must not know torch, Arrow or Lance.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Literal

import numpy as np

from clipdata.stream.plan import Cursor

Until = Literal["first", "all"] | int
"""Where an epoch of a mix ends: where the first part, or every part, has given all its rows; or after some batches."""


@dataclass(frozen=True)
class MixPlan:
    """How the rows of parts follow each other, and how they are cut into global batches.

    Args:
        num_rows: of each part, in one epoch of its own; at least 1.
        weights: of the parts, above 0, in any unit.
        batch_size: rows of a global batch, over all ranks.
        until: where an epoch of the mix ends.
        drop_last: make all batches full, by ending earlier (`until="first"`) or later (`"all"`) by less than a batch.
        take: most batches of an epoch.
    """

    num_rows: tuple[int, ...]
    weights: tuple[Fraction, ...]
    batch_size: int
    until: Until = "first"
    drop_last: bool = True
    take: int | None = None

    @cached_property
    def epoch_rows(self) -> int:
        """Rows of the sequence in one epoch of the mix; the next epoch goes on behind them."""
        return self._whole_rows if self.take is None else min(self.take * self.batch_size, self._whole_rows)

    @cached_property
    def _whole_rows(self) -> int:
        if isinstance(self.until, int):
            return self.until * self.batch_size
        parts = list(enumerate(self.num_rows))
        if self.until == "first":  # as long as no part gives a row again
            end = min(self._given(part, rows + 1) for part, rows in parts) - 1
        else:
            end = max(self._given(part, rows) for part, rows in parts)
        if not self.drop_last:
            return end
        return (end // self.batch_size if self.until == "first" else -(-end // self.batch_size)) * self.batch_size

    @property
    def num_batches(self) -> int:
        """Global batches in an epoch of the mix; the same for every epoch and every rank."""
        return -(-self.epoch_rows // self.batch_size)

    @property
    def num_dropped(self) -> int:
        """None: the next epoch begins with the rows that did not fill a batch of this one."""
        return 0

    @property
    def shuffle(self) -> bool:
        """Whether epochs differ."""
        return True

    def share(self, cursor: Cursor, rank: int, world_size: int) -> tuple[int, int]:
        """Places of the sequence that one rank takes of a global batch: a contiguous slice, as long as every other's.

        Only in a short last batch (`drop_last=False`) do the slices differ, by at most one row.
        """
        start = cursor.batch * self.batch_size
        size = min(self.batch_size, self.epoch_rows - start)
        start += cursor.epoch * self.epoch_rows
        return start + size * rank // world_size, start + size * (rank + 1) // world_size

    def counts(self, length: int) -> tuple[int, ...]:
        """How many of the first `length` rows of the sequence each part gives."""
        counts, left = [], length
        for up, down in self._ratios:
            counts.append((2 * up * left + down) // (2 * down))
            left -= counts[-1]
        return (*counts, left)

    def parts(self, start: int, stop: int) -> np.ndarray:
        """Which part gives each row at places [start, stop) of the sequence.

        Returns:
            int64 [stop - start], from 0.
        """
        first = np.array(self.counts(start), np.int64)
        counts = np.array([self.counts(length) for length in range(start, stop + 1)], object) - first
        return np.diff(counts.astype(np.int64), axis=0).argmax(axis=1) if stop > start else np.empty(0, np.int64)

    @cached_property
    def _ratios(self) -> list[tuple[int, int]]:
        """Of each part but the last: its weight among those not yet served, as numerator and denominator."""
        left, ratios = sum(self.weights, Fraction(0)), []
        for weight in self.weights[:-1]:
            ratio = weight / left
            ratios.append((ratio.numerator, ratio.denominator))
            left -= weight
        return ratios

    def _given(self, part: int, rows: int) -> int:
        """The length of the sequence at which a part has given so many rows."""
        most = 1
        while self.counts(most)[part] < rows:
            most *= 2
        return bisect_left(range(most + 1), rows, key=lambda length: self.counts(length)[part])


def exact_weights(weights: Sequence[float | Fraction]) -> tuple[Fraction, ...]:
    """Weights as the numbers that were written: .7 is seven tenths, which no binary fraction is."""
    return tuple(weight if isinstance(weight, Fraction) else Fraction(str(weight)) for weight in weights)
