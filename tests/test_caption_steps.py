"""Captions cleaned and told from those that are trained on, and pictures with captions split: tables of other tools."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lance
import pyarrow as pa
import pytest

import clipdata as cd
from clipdata.errors import ClipdataError, SchemaError, UsageError

LISTS = pa.list_(pa.string())


def table_of(folder: Path, captions: Sequence[Any], *, kind: pa.DataType = LISTS, **columns: Any) -> cd.Table:
    held = {"captions": pa.array(captions, kind), **{name: pa.array(values) for name, values in columns.items()}}
    lance.write_dataset(pa.table(held), str(folder / "t.lance"))
    return cd.open_table(folder / "t.lance")


def mapped(table: cd.Table, step: Any, column: str) -> list[Any]:
    cd.map_column(table, step, column)
    values: list[Any] = table.to_table([column]).column(0).to_pylist()
    return values


def test_captions_lose_line_ends_blanks_and_doubles_and_nothing_else(tmp_path: Path) -> None:
    table = table_of(tmp_path, [["a dog\n", " a dog", "A dog,  twice "], ["", " \n", None], None, []])

    assert mapped(table, cd.steps.CleanCaptions(), "clean") == [["a dog", "A dog,  twice"], None, None, None]
    reasons = table.to_table(["clean__error"]).column(0).to_pylist()
    assert reasons[1] == "no caption"


def test_one_caption_a_row_is_a_list_of_one(tmp_path: Path) -> None:
    table = table_of(tmp_path, ["a dog\n", "一只猫", " "], kind=pa.large_string())

    assert mapped(table, cd.steps.CleanCaptions(), "clean") == [["a dog"], ["一只猫"], None]


def test_a_caption_is_unseen_when_no_training_row_has_it_however_it_is_spelled(tmp_path: Path) -> None:
    captions = [["a dog runs"], ["A  DOG runs\n", "a cat sits"], ["a dog runs"]]
    table = table_of(tmp_path, captions, split=["train", "test", "test"])

    found = mapped(table, cd.steps.UnseenCaptions(table), "unseen")

    assert found == [None, ["a cat sits"], None]
    reasons = table.to_table(["unseen__error"]).column(0).to_pylist()
    assert reasons == ["all of its captions are trained on", None, "all of its captions are trained on"]


def test_the_training_rows_may_stand_in_another_table(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    train = table_of(tmp_path / "train", [["a dog"]], split=["train"])
    test = table_of(tmp_path, [["a dog", "a cat"]], split=["test"])

    assert mapped(test, cd.steps.UnseenCaptions(train), "unseen") == [["a cat"]]


def test_pictures_are_known_by_the_digest_of_their_bytes(tmp_path: Path) -> None:
    table = table_of(tmp_path, [["x"]] * 3, image=[b"one", b"one", None])

    one = hashlib.sha256(b"one").hexdigest()
    assert mapped(table, cd.steps.PictureDigest(), "sha256") == [one, one, None]


def sides_of(folder: Path, captions: Sequence[Any], pictures: Sequence[str], **options: Any) -> tuple[list[str], Any]:
    table = table_of(folder, captions, sha256=list(pictures))
    step = cd.steps.PairSplit(table, **options)
    return mapped(table, step, "split"), step


def test_pictures_with_an_equal_caption_stay_on_one_side(tmp_path: Path) -> None:
    captions = [[f"pair {number // 2}", f"only {number}"] for number in range(80)]

    sides, step = sides_of(tmp_path, captions, [f"p{number}" for number in range(80)], test_share=0.3)

    assert sides[::2] == sides[1::2]
    assert set(sides) == {"train", "test"}
    assert step.notes() == {"groups": 40}


def test_rows_of_one_picture_stay_on_one_side(tmp_path: Path) -> None:
    sides, _ = sides_of(tmp_path, [[f"c{n}"] for n in range(80)], [f"p{n // 2}" for n in range(80)])

    assert sides[::2] == sides[1::2]


@pytest.mark.parametrize("num_classes", [1, 4, 10])
def test_captions_that_name_classes_hold_out_pictures_of_each_class(tmp_path: Path, num_classes: int) -> None:
    captions = [[f"a photo of class {number % num_classes}"] for number in range(200)]

    sides, step = sides_of(tmp_path, captions, [f"p{number}" for number in range(200)])

    for one in range(num_classes):
        assert set(sides[one::num_classes]) == {"train", "test"}
    assert step.notes()["captions are of few kinds"] == "pictures are held out by themselves"


def test_a_chain_of_captions_does_not_hold_out_most_of_the_pictures(tmp_path: Path) -> None:
    captions = [[f"link {number}", f"link {number + 1}"] for number in range(60)]
    captions += [[f"alone {number}"] for number in range(90)]

    sides, step = sides_of(tmp_path, captions, [f"p{number}" for number in range(150)])

    assert not step.by_captions
    assert 10 <= sides.count("test") <= 55


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda table: cd.steps.CleanCaptions(""), "expected the name of a column"),
        (lambda table: cd.steps.UnseenCaptions(table, "words"), "has no column 'words'"),
        (lambda table: cd.steps.UnseenCaptions(table, "sha256_"), "has no column"),
        (lambda table: cd.steps.PairSplit(table, test_share=2.0), "PairSplit: test_share is 2.0"),
    ],
)
def test_what_cannot_be_made_is_said(tmp_path: Path, make: Any, said: str) -> None:
    table = table_of(tmp_path, [["x"]], sha256=["p"], split=["train"])

    with pytest.raises(ClipdataError, match=said) as caught:
        make(table)
    assert isinstance(caught.value, UsageError | SchemaError)
