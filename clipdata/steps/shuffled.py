"""Shuffled: 64-bit numbers in an order that follows from them, and looks like chance. It knows numpy alone."""

from __future__ import annotations

import numpy as np


def shuffled(key_N: np.ndarray) -> np.ndarray:
    """Keys in an order that has nothing to do with what they are: the finaliser of SplitMix64.

    Source: Steele, Lea, Flood: Fast splittable pseudorandom number generators (OOPSLA 2014).
    """
    mixed_N = key_N.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    mixed_N = (mixed_N ^ (mixed_N >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed_N = (mixed_N ^ (mixed_N >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed_N ^ (mixed_N >> np.uint64(31))
