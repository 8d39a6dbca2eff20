"""A keyed permutation of 0 … size-1, any place of which is computed by itself, so that none is held in memory.

A Feistel network over two numbers in place of two halves of a word, walked on while it leads outside 0 … size-1. Its
round function is the finalizer of SplitMix64. All of it is arithmetic on 64-bit words without a sign, so that it gives
the same on every machine and in every version of numpy. It knows numbers alone, and not what is permuted.

Source: the generalized Feistel cipher and cycle walking of Black and Rogaway, "Ciphers with arbitrary finite domains",
CT-RSA 2002; SplitMix64 of Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np

ROUNDS = 16  # of two numbers below 3, twelve are the fewest that show nothing in a chi-square test of 20,000 keys
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_HIGH = np.uint64(32)


class Permutation:
    """See the module.

    Args:
        size: at least 1, below 2^62.
        key: a text; others give other permutations.
    """

    def __init__(self, size: int, key: str) -> None:
        self.size = size
        self._keys = words(key, ROUNDS)
        self._low = np.uint64(math.isqrt(size - 1) + 1)
        self._high = np.uint64(-(-size // int(self._low)))

    def at(self, places: np.ndarray, number: np.ndarray | int = 0) -> np.ndarray:
        """What stands at places of the permutation.

        Args:
            places: int64 [N], each below `size`.
            number: of the permutation, where one key stands for many; int64 [N], or one for all places.

        Returns:
            int64 [N].
        """
        found_N = places.astype(np.uint64)
        salt_N = _mixed(np.broadcast_to(np.asarray(number, np.int64), places.shape).astype(np.uint64) * _GOLDEN)
        outside_M = np.arange(len(found_N))
        while len(outside_M):
            found_N[outside_M] = self._once(found_N[outside_M], salt_N[outside_M])
            outside_M = outside_M[found_N[outside_M] >= np.uint64(self.size)]
        return found_N.astype(np.int64)

    def place_of(self, value: int) -> int:
        """Where a value stands in the permutation of number 0."""
        found = np.array([value], np.uint64)
        salt = np.zeros(1, np.uint64)
        while True:
            found = self._back(found, salt)
            if found[0] < self.size:
                return int(found[0])

    def _once(self, place_N: np.ndarray, salt_N: np.ndarray) -> np.ndarray:
        high_N, low_N = np.divmod(place_N, self._low)
        for turn in range(0, ROUNDS, 2):
            low_N += _below(self._low, high_N ^ self._keys[turn] ^ salt_N)
            low_N -= self._low * (low_N >= self._low)
            high_N += _below(self._high, low_N ^ self._keys[turn + 1] ^ salt_N)
            high_N -= self._high * (high_N >= self._high)
        return high_N * self._low + low_N

    def _back(self, place_N: np.ndarray, salt_N: np.ndarray) -> np.ndarray:
        high_N, low_N = np.divmod(place_N, self._low)
        for turn in reversed(range(0, ROUNDS, 2)):
            high_N += self._high - _below(self._high, low_N ^ self._keys[turn + 1] ^ salt_N)
            high_N -= self._high * (high_N >= self._high)
            low_N += self._low - _below(self._low, high_N ^ self._keys[turn] ^ salt_N)
            low_N -= self._low * (low_N >= self._low)
        return high_N * self._low + low_N


def words(key: str, count: int) -> np.ndarray:
    """Words of 64 random bits that depend on a text alone, uint64 [count]: the output of SplitMix64."""
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little")
    return _mixed(np.array([seed], np.uint64) + np.arange(1, count + 1, dtype=np.uint64) * _GOLDEN)


def _below(bound: np.uint64, word_N: np.ndarray) -> np.ndarray:
    """Numbers below a bound of at most 2^32, of words."""
    return ((_mixed(word_N) >> _HIGH) * bound) >> _HIGH


def _mixed(word_N: np.ndarray) -> np.ndarray:
    word_N = (word_N ^ (word_N >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word_N ^= word_N >> np.uint64(27)
    word_N *= np.uint64(0x94D049BB133111EB)
    word_N ^= word_N >> np.uint64(31)
    return word_N
