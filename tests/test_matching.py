"""Matching of images and metadata, against a join written out by hand."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from clipdata.errors import SchemaError, UsageError
from ingest.merging.matching import Matches, match, names_of


def joined(paths: list[str], image_keys: list[str], metadata_keys: list[str | None]) -> list[tuple[str, int]]:
    """Path and metadata row of every output, in order."""
    place = {key: path for path, key in zip(paths, image_keys, strict=True)}
    return sorted((place[key], row) for row, key in enumerate(metadata_keys) if key in place)


def outputs_of(found: Matches, paths: list[str]) -> list[tuple[str, list[int]]]:
    numbers = np.arange(len(found))
    members, starts = found.members_of(numbers)
    return [(paths[found.images[n]], members[starts[n] : starts[n + 1]].tolist()) for n in numbers]


@pytest.mark.parametrize("seed", range(5))
def test_every_metadata_row_finds_its_image_in_the_order_of_paths(seed: int) -> None:
    chance = np.random.default_rng(seed)
    names = [f"{number}é.jpg" for number in chance.permutation(60)]
    paths = [f"{'zab'[number % 3]}/{name}" for number, name in enumerate(names)]
    wanted: list[str | None] = [str(name) for name in chance.choice([*names[10:], "nobody.jpg"], 200)]
    wanted[17] = None

    arrays = pa.array(paths), pa.array(names), pa.array(wanted).dictionary_encode()
    apart = match(*arrays, on="filename", group=False)
    together = match(*arrays, on="filename", group=True)

    expected = joined(paths, names, wanted)
    assert outputs_of(apart, paths) == [(path, [row]) for path, row in expected]
    by_image: dict[str, list[int]] = {}
    for path, row in expected:
        by_image.setdefault(path, []).append(row)
    assert outputs_of(together, paths) == list(by_image.items())
    assert apart.unmatched_metadata.to_pylist() == [key for key in wanted if key not in names]
    assert sorted(apart.unmatched_images.to_pylist()) == sorted(set(paths) - set(by_image))


def test_members_of_some_outputs_come_in_the_order_asked_for() -> None:
    images, wanted = pa.array(["a", "b", "c"]), pa.array(["c", "a", "c", "b", "c"])
    found = match(images, images, wanted, on="path", group=True)

    members, starts = found.members_of(np.array([2, 0]))

    assert members.tolist() == [0, 2, 4, 1]
    assert starts.tolist() == [0, 3, 4]


@pytest.mark.parametrize("group", [False, True])
def test_names_change_with_the_image_or_the_metadata_and_with_nothing_else(group: bool) -> None:
    paths, wanted = pa.array(["a.jpg", "b.jpg"]), pa.array(["b.jpg", "a.jpg", "b.jpg"])
    found = match(paths, paths, wanted, on="path", group=group)

    def named(etags: list[str], digests: list[str]) -> set[tuple[str, str]]:
        keys, tags = names_of(found, paths, pa.array(etags), pa.array(digests), group=group)
        return set(zip(keys.to_pylist(), tags.to_pylist(), strict=True))

    before = named(["1", "1"], ["x", "y", "z"])

    assert named(["1", "1"], ["x", "y", "z"]) == before
    assert len(named(["1", "1"], ["x", "Y", "z"]) - before) == 1
    assert len(named(["1", "2"], ["x", "y", "z"]) - before) == (1 if group else 2)


def test_keys_that_belong_to_several_images_are_refused_when_the_metadata_names_them() -> None:
    paths, names = pa.array(["g/1", "t/1", "g/2", "t/2"]), pa.array(["1", "1", "2", "2x"])

    assert len(match(paths, names, pa.array(["2"]), on="filename", group=False)) == 1
    with pytest.raises(UsageError, match=r"1 values of 'filename'(.|\n)*1: g/1, t/1"):
        match(paths, names, pa.array(["2", "1"]), on="filename", group=False)


def test_text_is_not_joined_with_numbers() -> None:
    with pytest.raises(SchemaError, match="'filename' is string and the metadata's column is int64"):
        match(pa.array(["1"]), pa.array(["1"]), pa.array([1]), on="filename", group=False)


def test_nothing_matches_nothing() -> None:
    none = pa.array([], pa.string())

    found = match(pa.array(["a"]), pa.array(["a"]), none, on="path", group=True)

    assert len(found) == 0
    assert found.unmatched_images.to_pylist() == ["a"]
    assert [len(names) for names in names_of(found, pa.array(["a"]), pa.array(["1"]), none, group=True)] == [0, 0]
