"""Matching of images and metadata, against a join written out by hand."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from ingest.merging.matching import Matches, arranged, find, keys_of, keys_of_groups, positions_in
from ingest.updating.digests import digests_of_texts


def digests(texts: list[str | None]) -> np.ndarray:
    return digests_of_texts(pa.array(texts, pa.string()))


def images_of(image_keys: list[str | None], metadata_keys: list[str | None]) -> np.ndarray:
    named = np.array([key is not None for key in image_keys], np.bool_)
    naming = np.array([key is not None for key in metadata_keys], np.bool_)
    return find(digests(image_keys), digests(metadata_keys), named=named, naming=naming).images


def outputs_of(found: Matches) -> list[tuple[int, list[int]]]:
    numbers = np.arange(len(found))
    members, starts = found.members_of(numbers)
    return [(int(found.images[n]), members[starts[n] : starts[n + 1]].tolist()) for n in numbers]


@pytest.mark.parametrize("seed", range(5))
def test_every_metadata_row_finds_its_image_in_the_order_asked_for(seed: int) -> None:
    chance = np.random.default_rng(seed)
    names: list[str | None] = [f"{number}é.jpg" for number in range(60)]
    names[3] = None
    rank = chance.permutation(60)
    wanted: list[str | None] = [str(name) for name in chance.choice([*names[10:], "nobody.jpg"], 200)]
    wanted[17] = None

    images = images_of(names, wanted)

    expected = [names.index(key) if key is not None and key in names else -1 for key in wanted]
    assert images.tolist() == expected
    pairs = sorted((rank[image], row, image) for row, image in enumerate(expected) if image >= 0)
    assert outputs_of(arranged(images, rank, group=False)) == [(image, [row]) for _, row, image in pairs]
    by_image: dict[int, list[int]] = {}
    for _, row, image in pairs:
        by_image.setdefault(image, []).append(row)
    assert outputs_of(arranged(images, rank, group=True)) == list(by_image.items())


def test_members_of_some_outputs_come_in_the_order_asked_for() -> None:
    found = arranged(images_of(["a", "b", "c"], ["c", "a", "c", "b", "c"]), None, group=True)

    members, starts = found.members_of(np.array([2, 0]))

    assert members.tolist() == [0, 2, 4, 1]
    assert starts.tolist() == [0, 3, 4]


def test_keys_that_share_half_of_their_digest_are_told_apart() -> None:
    keys = np.zeros((4, 16), np.uint8)
    keys[:, 15] = [3, 1, 2, 0]
    wanted = np.zeros((6, 16), np.uint8)
    wanted[:, 15] = [0, 1, 2, 3, 4, 2]
    wanted[5, 0] = 9

    assert positions_in(keys, wanted).tolist() == [3, 1, 2, 0, -1, -1]


def names(etags: list[str], rows: list[str], *, group: bool) -> set[tuple[bytes, bytes]]:
    """Keys and etags of the outputs of two images and three metadata rows."""
    identities, content = digests(["a.jpg", "b.jpg"]), digests(rows)
    found = arranged(np.array([1, 0, 1]), None, group=group)
    if group:
        keys, tags = keys_of_groups(found, identities, digests(etags), content)
    else:
        keys, tags = keys_of(found, identities, content, np.zeros(3, np.int32)), digests(etags)[found.images]
    return {(key.tobytes(), tag.tobytes()) for key, tag in zip(keys, tags, strict=True)}


@pytest.mark.parametrize("group", [False, True])
def test_names_change_with_the_image_or_the_metadata_and_with_nothing_else(group: bool) -> None:
    before = names(["1", "1"], ["x", "y", "z"], group=group)

    assert names(["1", "1"], ["x", "y", "z"], group=group) == before
    assert len(names(["1", "1"], ["x", "Y", "z"], group=group) - before) == 1
    assert len(names(["1", "2"], ["x", "y", "z"], group=group) - before) == (1 if group else 2)


def test_equal_metadata_rows_have_keys_of_their_own() -> None:
    found = arranged(np.array([0, 0]), None, group=False)

    keys = keys_of(found, digests(["a.jpg"]), digests(["x", "x"]), np.array([0, 1], np.int32))

    assert len({key.tobytes() for key in keys}) == 2


def test_keys_that_belong_to_several_images_are_named_when_the_metadata_names_them() -> None:
    images = digests(["1", "2", "1", "3", "3"])

    found = find(images, digests(["2", "1", "1"]), named=None, naming=np.ones(3, np.bool_))

    assert [(row, places.tolist()) for row, places in found.ambiguous] == [(1, [0, 2])]


@pytest.mark.parametrize("sides", [([], ["a"]), (["a"], []), ([None], ["a"]), ([], [])])
def test_nothing_matches_nothing(sides: tuple[list[str | None], list[str | None]]) -> None:
    images = images_of(*sides)

    assert images.tolist() == [-1] * len(sides[1])
    assert len(arranged(images, None, group=True)) == 0
    assert len(arranged(images, None, group=False)) == 0
