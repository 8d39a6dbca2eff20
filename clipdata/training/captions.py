"""Which of a row's captions a step trains on: all, the first, the longest, or one that differs from epoch to epoch.

The choice is a pure function of seed, epoch and row, so that a run that goes on makes the same one. It knows lists of
texts and tensors, and no tables. Shapes: B rows, K texts of all rows laid end to end.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from clipdata.training.objectives.protocol import Captions

# Multipliers of splitmix64. Source: Steele et al., "Fast splittable pseudorandom number generators", 2014.
_GAMMA, _FIRST, _SECOND = (np.uint64(n) for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def places_of(
    how: Captions,
    counts_B: torch.Tensor,
    *,
    texts: Sequence[Sequence[str]] | None = None,
    offsets_B: torch.Tensor | None = None,
    seed: int = 0,
    epoch: int = 0,
) -> torch.Tensor:
    """Place of one caption of each row among its own: int64 [B].

    Args:
        how: anything but "all".
        counts_B: int64, captions of each row, at least one.
        texts: the captions, for "longest"; of several that are as long, the first is taken.
        offsets_B: int64, the rows' places in the table, for "random".
        seed, epoch: for "random".
    """
    if how == "longest":
        assert texts is not None
        return torch.tensor([max(range(len(row)), key=lambda at: len(row[at])) for row in texts], dtype=torch.int64)
    if how == "random":
        assert offsets_B is not None
        drawn_B = _mixed(offsets_B.numpy().astype(np.uint64), seed, epoch) % counts_B.numpy().astype(np.uint64)
        return torch.from_numpy(drawn_B.astype(np.int64))
    return torch.zeros_like(counts_B)


def _mixed(offsets_B: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """A random-looking uint64 for each row."""
    with np.errstate(over="ignore"):
        state_B = offsets_B * _GAMMA
        for part in (seed, epoch):
            state_B = _scrambled(state_B ^ np.uint64(part % 2**64)) + _GAMMA
    return _scrambled(state_B)


def _scrambled(state_B: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        state_B = (state_B ^ (state_B >> np.uint64(30))) * _FIRST
        state_B = (state_B ^ (state_B >> np.uint64(27))) * _SECOND
    return state_B ^ (state_B >> np.uint64(31))
