"""The names of the sample's drawings in three languages, their captions and classes: nothing is on both sides."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipelines import sample
from pipelines.sample.captions import captions_of, with_article
from pipelines.sample.classes import CLASS_OF, class_of
from pipelines.sample.names import families, subjects


@pytest.fixture(scope="module")
def names() -> list[dict[str, Any]]:
    return pq.read_table(sample.names_path()).to_pylist()


def sides(names: list[dict[str, Any]], column: str) -> tuple[set[str], set[str]]:
    """Values of the training and of the test pictures; those of a list each by itself."""
    found: dict[str, set[str]] = defaultdict(set)
    for row in names:
        found[row["split"]].update(row[column] if isinstance(row[column], list) else [row[column]])
    assert set(found) == {"train", "test"}
    return found["train"], found["test"]


def test_every_picture_of_the_questions_has_its_names_on_the_same_side(names) -> None:
    asked = {
        (row["filename"], row["split"], row["caption"], row["caption_zh"], row["category"], row["drawn_by"])
        for row in pq.read_table(sample.questions_path()).to_pylist()
    }
    columns = ("filename", "split", "caption", "caption_zh", "category", "drawn_by")
    assert {tuple(row[column] for column in columns) for row in names} == asked
    assert len(names) == len(asked) == 1800


@pytest.mark.parametrize("column", ["filename", "caption", "caption_zh", "caption_fr", "captions"])
def test_no_picture_and_no_name_or_caption_is_on_both_sides(names, column: str) -> None:
    train, test = sides(names, column)
    assert train
    assert test
    assert not train & test


def test_a_family_of_names_is_on_one_side(names) -> None:
    train, test = sides(names, "caption")
    family_of = families(train | test)
    assert not {family_of[name] for name in train} & {family_of[name] for name in test}
    assert not {word for name in train for word in subjects(name)} & {word for name in test for word in subjects(name)}


def test_every_language_names_every_drawing(names) -> None:
    for column in ("caption", "caption_zh", "caption_fr"):
        assert all(row[column].strip() for row in names)
        assert len({row[column] for row in names}) > 890
    french = {row["caption"]: row["caption_fr"] for row in names}
    assert (french["rainbow"], french["sunset"]) == ("arc-en-ciel", "coucher de soleil")


def test_a_picture_has_several_captions_that_all_name_it_and_most_have_five(names) -> None:
    counts = Counter(len(row["captions"]) for row in names)
    assert set(counts) == {3, 4, 5}
    assert counts[5] > 1000
    for row in names:
        assert len(set(row["captions"])) == len(row["captions"])
        assert all(row["caption"] in caption for caption in row["captions"])


def test_the_two_drawings_of_a_name_are_told_apart_by_one_caption_alone(names) -> None:
    by_name = defaultdict(list)
    for row in names:
        by_name[row["caption"]].append(set(row["captions"]))
    assert all(len(first ^ second) == 2 for first, second in by_name.values())


def test_every_class_has_pictures_to_train_on_and_to_test(names) -> None:
    train, test = sides(names, "class_name")
    assert train == test
    assert all(row["class_name"] == class_of(row["subcategory"]) for row in names)
    assert set(CLASS_OF) <= {row["subcategory"] for row in names}
    assert len(train) > 30


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("burrito", "a burrito"),
        ("ear of corn", "an ear of corn"),
        ("unicorn", "a unicorn"),
        ("x-ray", "an x-ray"),
        ("OK hand", "an OK hand"),
        ("octopus", "an octopus"),
        ("dress", "a dress"),
        ("gloves", "gloves"),
        ("women holding hands", "women holding hands"),
        ("person lifting weights", "a person lifting weights"),
        ("meat on bone", "meat on bone"),
        ("bowl with spoon", "a bowl with spoon"),
        ("Santa Claus", "Santa Claus"),
    ],
)
def test_names_stand_in_a_sentence_as_people_say_them(name: str, said: str) -> None:
    assert with_article(name) == said


def test_tags_that_the_name_says_already_make_no_caption() -> None:
    plain = captions_of("red apple", ["red", "apples", "U+1F34E"], class_name="fruit", artist="google")
    assert plain == ["a drawing of a red apple", "a red apple, drawn by Google", *plain[2:]]
    assert plain[2:] == ["an emoji that shows a red apple, filed under fruit"]
    assert captions_of("hut", ["home"], class_name="building", artist="twitter")[3:] == [
        "a small picture of a hut, tagged home"
    ]
