"""A permutation that is computed place by place: every value once, well mixed, the same everywhere, in no memory."""

import hashlib
import math
import time
import tracemalloc

import numpy as np
import pytest

from clipdata.stream.permutation import Permutation, words
from clipdata.stream.plan import Plan

DEVIATIONS = 5  # of a statistic from its mean; chance alone goes further once in millions


def chi_square(counts: np.ndarray) -> float:
    """Deviations from the mean that the chi-square of counts lies away, when all are expected to be equal."""
    expected = counts.mean()
    degrees = counts.size - 1
    return (((counts - expected) ** 2 / expected).sum() - degrees) / math.sqrt(2 * degrees)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 16, 17, 1000, 4096, 65_537])
def test_every_value_comes_once_and_each_place_is_found_again(size):
    permutation = Permutation(size, "once")

    found = permutation.at(np.arange(size))

    assert np.array_equal(np.sort(found), np.arange(size))
    assert all(found[permutation.place_of(value)] == value for value in {0, size // 2, size - 1})


def test_a_part_of_a_permutation_far_beyond_memory_is_the_same_as_in_the_whole():
    size = 2**61 - 1
    permutation = Permutation(size, "large")
    places = np.random.default_rng(0).integers(0, size, 500)

    found = permutation.at(places)

    assert found.min() >= 0
    assert found.max() < size
    assert found[7] == permutation.at(places[7:8])[0]
    assert permutation.place_of(int(found[3])) == places[3]


def test_the_numbers_are_those_of_earlier_releases_on_every_machine():
    """Words as SplitMix64 gives them in plain integers, and permutations that they key."""
    state, whole = int.from_bytes(hashlib.sha256(b"a").digest()[:8], "little"), 2**64 - 1
    expected = []
    for _ in range(3):
        state = (state + 0x9E3779B97F4A7C15) & whole
        word = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & whole
        word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & whole
        expected.append(word ^ (word >> 31))

    assert words("a", 3).tolist() == expected
    assert Permutation(10, "a").at(np.arange(10)).tolist() == [0, 2, 7, 8, 4, 6, 5, 9, 1, 3]
    places, numbers = np.array([0, 1, 10**12 - 1]), np.array([0, 5, 7])
    assert Permutation(10**12, "a").at(places, numbers).tolist() == [451486921631, 68027380749, 870891058754]


@pytest.mark.parametrize("size", [4, 5])
def test_each_order_of_few_rows_comes_equally_often(size):
    numbers = np.arange(12_000)
    place_NS = np.tile(np.arange(size), (len(numbers), 1))
    found_NS = Permutation(size, "all").at(place_NS.reshape(-1), np.repeat(numbers, size)).reshape(-1, size)

    _, counts = np.unique(found_NS, axis=0, return_counts=True)

    assert len(counts) == math.factorial(size)
    assert chi_square(counts) < DEVIATIONS


def test_pairs_of_neighbours_are_torn_apart_evenly():
    """Which two values follow one another, over many keys: all pairs of 16 alike."""
    size, numbers = 16, np.arange(8000)
    found_NS = Permutation(size, "pairs").at(np.tile(np.arange(size), len(numbers)), np.repeat(numbers, size))
    found_NS = found_NS.reshape(-1, size)

    counts = np.zeros((size, size))
    np.add.at(counts, (found_NS[:, 0], found_NS[:, 1]), 1)

    assert chi_square(counts[~np.eye(size, dtype=bool)]) < DEVIATIONS


@pytest.mark.parametrize("shuffle", [True, "rows"])
def test_a_part_of_an_epoch_holds_rows_of_all_of_a_large_table(shuffle):
    plan = Plan(100_000_000, 64, seed=3, shuffle=shuffle, clump_rows=1)

    found = plan.order(1).positions(5_000_000, 5_040_000)

    assert chi_square(np.bincount(found // 1_000_000, minlength=100)) < DEVIATIONS
    assert chi_square(np.bincount(found % 97, minlength=97)) < DEVIATIONS
    assert len(np.unique(found)) == len(found)


@pytest.mark.parametrize("shuffle", [True, "rows"])
def test_the_first_batch_of_a_hundred_million_rows_comes_at_once_from_no_memory(shuffle):
    tracemalloc.start()
    started_s = time.process_time()

    first = Plan(100_000_000, 64, shuffle=shuffle).order(0).positions(0, 64)

    taken_s = time.process_time() - started_s
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(first) == 64
    assert taken_s < 1
    assert peak_bytes < 2 * 2**20
