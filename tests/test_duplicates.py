"""Duplicates: what lies near is found, and clusters are stars that no chain lets run away."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipdata.duplicates import CosineSearch, HammingSearch, cosine, hamming, star_clusters, stars
from clipdata.duplicates.pairs import Pairs


def pairs_of(search: HammingSearch | CosineSearch, num_known: int | None = None) -> dict[tuple[int, int], float]:
    everything = np.arange(len(search))
    if num_known is None:
        found = Pairs.joined(search.within(everything))
    else:
        found = Pairs.joined(search.between(everything[:num_known], everything[num_known:]))
    return dict(
        zip(zip(found.first_P.tolist(), found.second_P.tolist(), strict=True), found.distance_P.tolist(), strict=True)
    )


def flipped(value: int, rng: np.random.Generator, bits: int) -> int:
    for bit in rng.choice(64, bits, replace=False):
        value ^= 1 << int(bit)
    return value


def clustered_hashes(seed: int, num: int, radius: int) -> np.ndarray:
    """Hashes of which many lie near others, some equal, some all zeros or ones."""
    rng = np.random.default_rng(seed)
    base = [0, 2**64 - 1, *rng.integers(0, 2**64, max(num // 4, 1), dtype=np.uint64).tolist()]
    return np.array(
        [flipped(base[rng.integers(len(base))], rng, rng.integers(0, radius + 3)) for _ in range(num)], "u8"
    )


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 150), st.integers(0, 12), st.integers(1, 4))
def test_hamming_search_finds_every_near_pair_once_however_the_bits_are_cut(
    seed: int, num: int, radius: int, equal: int
) -> None:
    hash_N = clustered_hashes(seed, num, radius)
    distance_NN = np.bitwise_count(hash_N[:, None] ^ hash_N)
    wanted = {
        (int(i), int(j)): float(distance_NN[i, j]) for i, j in np.argwhere(distance_NN <= radius).tolist() if i < j
    }
    assert pairs_of(HammingSearch(hash_N, radius)) == wanted

    by_hand = [
        tuple(sorted(pair))
        for one, other, _ in hamming.near_hashes(hash_N, radius, radius + equal, equal)
        for pair in zip(one.tolist(), other.tolist(), strict=True)
    ]
    assert len(by_hand) == len(set(by_hand))
    assert set(by_hand) == set(wanted)

    known = num // 2
    across = {pair: distance for pair, distance in wanted.items() if pair[0] < known <= pair[1]}
    assert pairs_of(HammingSearch(hash_N, radius), known) == across


def test_long_runs_of_nearly_equal_hashes_are_compared_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hamming, "_STEPS", 4)
    monkeypatch.setattr(hamming, "_BLOCK", 7)
    hash_N = np.arange(60, dtype=np.uint64)
    wanted = {(i, j) for i in range(60) for j in range(i + 1, 60) if (i ^ j).bit_count() <= 2}
    assert set(pairs_of(HammingSearch(hash_N, 2))) == wanted


def test_the_nearest_variant_counts_so_a_mirror_image_is_near() -> None:
    hash_N2 = np.random.default_rng(3).integers(0, 2**64, (40, 2), dtype=np.uint64)
    hash_N2[7] = hash_N2[3][::-1] ^ np.array([0b101, 0], np.uint64)
    assert pairs_of(HammingSearch(hash_N2, 4)) == {(3, 7): 0.0}


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("exact", [True, False])
def test_cosine_search_finds_planted_pairs(exact: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cosine, "EXACT", 5000 if exact else 100)
    monkeypatch.setattr(cosine, "_BLOCK", 300)
    rng = np.random.default_rng(0)
    vector_ND = unit(rng.normal(size=(1500, 32)))
    vector_ND[1000:] = unit(vector_ND[:500] + 0.04 * rng.normal(size=(500, 32)))
    cosine_NN = vector_ND @ vector_ND.T
    wanted = {(int(i), int(j)) for i, j in np.argwhere(cosine_NN >= 0.93).tolist() if i < j}
    assert len(wanted) >= 450

    found = pairs_of(CosineSearch(vector_ND, 0.93))
    across = pairs_of(CosineSearch(vector_ND, 0.93), 1000)

    assert set(found) <= wanted
    assert set(across) <= {pair for pair in wanted if pair[0] < 1000 <= pair[1]}
    share = 1.0 if exact else 0.97
    assert len(found) >= share * len(wanted)
    assert len(across) >= share * 450
    assert all(abs(1 - cosine_NN[pair] - distance) < 1e-4 for pair, distance in found.items())


def test_a_chain_makes_stars_whose_members_are_all_near_their_centre() -> None:
    chain_N = np.array([(1 << n) - 1 for n in range(60)], np.uint64)  # each differs from the next in one bit
    found = star_clusters(HammingSearch(chain_N, 4), np.arange(60, dtype=np.uint64)[::-1])
    assert (np.bitwise_count(chain_N ^ chain_N[found.centre_N]) <= 4).all()
    assert 60 / 9 <= len(np.unique(found.centre_N)) <= 60 / 4


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 120), st.integers(0, 6))
def test_stars_are_near_their_centre_and_centres_far_from_each_other(seed: int, num: int, radius: int) -> None:
    hash_N = np.unique(clustered_hashes(seed, num, radius))
    order_N = np.random.default_rng(seed).permutation(len(hash_N)).astype(np.uint64)
    centre_N = star_clusters(HammingSearch(hash_N, radius), order_N).centre_N
    assert (np.bitwise_count(hash_N ^ hash_N[centre_N]) <= radius).all()
    centre_C = np.unique(centre_N)
    assert (centre_N[centre_C] == centre_C).all()
    apart_CC = np.bitwise_count(hash_N[centre_C][:, None] ^ hash_N[centre_C])
    assert (apart_CC + 64 * np.eye(len(centre_C)) > radius).all()

    turned = np.random.default_rng(seed + 1).permutation(len(hash_N))  # another order of rows, the same stars
    again_N = star_clusters(HammingSearch(hash_N[turned], radius), order_N[turned]).centre_N
    assert dict(zip(hash_N[turned], hash_N[turned][again_N], strict=True)) == dict(
        zip(hash_N, hash_N[centre_N], strict=True)
    )


def test_a_huge_group_is_taken_out_around_its_centre_before_its_pairs_are_listed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stars, "_LEAST_SAMPLE", 200)
    rng = np.random.default_rng(0)
    blob = [flipped(2**40 + 5, rng, rng.integers(1, 4)) for _ in range(3000)]
    hash_N = np.unique(np.array([2**40 + 5, *blob, *rng.integers(0, 2**64, 500, dtype=np.uint64).tolist()], "u8"))
    listed: list[int] = []
    joined = Pairs.joined
    monkeypatch.setattr(Pairs, "joined", lambda parts: listed.append(len(found := joined(parts))) or found)

    found = star_clusters(HammingSearch(hash_N, 6), rng.permutation(len(hash_N)).astype(np.uint64))

    assert max(listed) < 100_000  # of 4.5 million
    assert len(np.unique(found.centre_N)) < 520
    assert (np.bitwise_count(hash_N ^ hash_N[found.centre_N]) <= 6).all()


def test_new_values_join_the_nearest_known_centre_and_those_between_two_are_counted() -> None:
    centres = [0, 0b1111_1111]
    new = [0b11, 0b11_1111, 0b1111, 1 << 63, (1 << 63) | 1]
    found = star_clusters(HammingSearch(np.array(centres + new, "u8"), 4), np.arange(7, dtype=np.uint64), num_known=2)
    assert found.centre_N.tolist()[:5] == [0, 1, 0, 1, 0]
    assert found.centre_N[5] == 0
    assert found.num_bridges == 1
