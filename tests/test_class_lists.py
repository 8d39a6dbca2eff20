"""Class folders with split lists: dots in stems, blank lines, entries without files, files without entries."""

from __future__ import annotations

from pathlib import Path

import pytest

import clipdata as cd
from clipdata.errors import NotFoundError, UsageError
from ingest import from_class_list
from ingest.pictures.class_lists import ClassLists
from ingest.updating.job import ingest
from tests.pictures import encoded


@pytest.fixture
def food(tmp_path):
    """Four images of two classes, one of them with a dot in its stem, and three lists."""
    for number, name in enumerate(["apple_pie/1.2.jpg", "apple_pie/3.png", "miso soup/4.jpg", "miso soup/5.jpeg"]):
        place = tmp_path / "images" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(encoded(number, place.suffix))
    write_list(tmp_path, "train", "apple_pie/1.2", "", "miso soup/4", "  ")
    write_list(tmp_path, "test", "apple_pie/3")
    return tmp_path


def write_list(folder: Path, split: str, *entries: str, end: str = "\n") -> None:
    (folder / "meta").mkdir(exist_ok=True)
    (folder / "meta" / f"{split}.txt").write_bytes(end.join([*entries, ""]).encode())


def take_in(food, **options):
    return from_class_list(food / "images", food / "meta", into=food / "t.lance", **options)


def rows_of(done):
    columns = ["path", "label", "class_name", "split"]
    return sorted(tuple(row.values()) for row in done.table.to_table(columns).to_pylist())


def test_each_listed_image_has_its_class_label_and_split(food):
    done = take_in(food)

    assert rows_of(done) == [
        ("apple_pie/1.2.jpg", "apple pie", "apple_pie", "train"),
        ("apple_pie/3.png", "apple pie", "apple_pie", "test"),
        ("miso soup/4.jpg", "miso soup", "miso soup", "train"),
    ]
    stored = done.table.to_table(["image"], where="path = 'apple_pie/3.png'")["image"][0].as_py()
    assert stored == (food / "images" / "apple_pie" / "3.png").read_bytes()


def test_images_in_no_list_are_counted_and_left_out(food):
    assert take_in(food).notes["images in no list, left out"] == "1 (such as miso soup/5.jpeg)"


def test_an_entry_without_a_file_is_refused_and_taken_up_once_the_file_is_there(food):
    write_list(food, "val", "miso soup/late", "miso soup/6.v2")
    first = take_in(food)
    (food / "images" / "miso soup" / "late.jpg").write_bytes(encoded(9))

    again = take_in(food)

    assert first.refused == {"missing": 2}
    assert (again.refused_before, again.written.inserted, again.unchanged) == (1, 1, 3)
    assert ("miso soup/late.jpg", "miso soup", "miso soup", "val") in rows_of(again)


@pytest.mark.parametrize("end", ["\r\n", "\n\n", " \n"])
def test_line_ends_and_space_do_not_matter(food, end):
    write_list(food, "train", "\ufeffapple_pie/1.2", "./miso soup/4", end=end)

    assert len(rows_of(take_in(food))) == 3


def test_an_entry_may_have_its_suffix(food):
    write_list(food, "train", "apple_pie/1.2.jpg", "miso soup/5.jpeg")

    assert [row[0] for row in rows_of(take_in(food))] == ["apple_pie/1.2.jpg", "apple_pie/3.png", "miso soup/5.jpeg"]


def test_of_two_files_with_one_stem_the_jpg_is_meant(food):
    (food / "images" / "apple_pie" / "3.jpg").write_bytes(encoded(7))
    done = take_in(food)

    assert "apple_pie/3.jpg" in [row[0] for row in rows_of(done)]
    assert done.notes["images in no list, left out"].startswith("2 ")


def test_an_image_in_two_lists_stays_in_the_first_and_is_told(food):
    write_list(food, "test", "apple_pie/3", "apple_pie/1.2", "apple_pie/3")
    done = take_in(food)

    assert ("apple_pie/1.2.jpg", "apple pie", "apple_pie", "train") in rows_of(done)
    assert done.notes["entries of a later list that an earlier one has, left out"] == "1 (such as apple_pie/1.2)"
    assert done.notes["entries that repeat one of the same list"] == "1 (such as apple_pie/3)"


def test_an_image_that_moves_to_another_split_is_taken_in_again(food):
    take_in(food)
    write_list(food, "train", "miso soup/4")
    write_list(food, "test", "apple_pie/3", "apple_pie/1.2")

    done = take_in(food)

    assert (done.written.updated, done.unchanged) == (1, 2)
    assert ("apple_pie/1.2.jpg", "apple pie", "apple_pie", "test") in rows_of(done)


def test_lists_can_be_named_one_by_one(food):
    (food / "mine.txt").write_text("miso soup/5\n")
    source = ClassLists(food / "images", {"held_out": str(food / "mine.txt")})

    assert rows_of(ingest(source, food / "t.lance")) == [("miso soup/5.jpeg", "miso soup", "miso soup", "held_out")]


def test_without_lists_every_image_in_a_class_folder_is_taken(food):
    (food / "images" / "stray.jpg").write_bytes(encoded(8))

    done = ingest(ClassLists(food / "images"), food / "t.lance")

    assert [row[3] for row in rows_of(done)] == [None] * 4
    assert done.refused == {"no_class": 1}


def test_entries_cannot_reach_outside_the_folder(food):
    (food / "secret.jpg").write_bytes(encoded(8))
    write_list(food, "test", "../secret", "/etc/passwd", "apple_pie/../../secret", "apple_pie/3")

    done = take_in(food)

    assert done.refused == {"missing": 3}
    assert len(rows_of(done)) == 3


def test_a_damaged_image_is_refused_beside_the_others(food):
    (food / "images" / "apple_pie" / "3.png").write_bytes(b"not a picture")

    assert take_in(food).refused == {"not_an_image": 1}


def test_lists_and_folder_with_nothing_in_common_are_an_error_that_shows_both(food):
    with pytest.raises(NotFoundError, match=r"name 'apple_pie/1\.2\.jpg', the folder has 'images/apple_pie/1\.2\.jpg'"):
        ingest(ClassLists(food, food / "meta"), food / "t.lance")
    assert not (food / "t.lance").exists()


def test_a_folder_without_lists_and_a_list_that_is_no_text_are_errors(food):
    with pytest.raises(NotFoundError, match=r"none of train\.txt"):
        ClassLists(food / "images", food / "images")
    (food / "meta" / "train.txt").write_bytes(b"caf\xe9/1\n")
    with pytest.raises(UsageError, match="not UTF-8"):
        take_in(food)
    with pytest.raises(NotFoundError, match=r"gone\.txt"):
        list(ClassLists(food / "images", {"train": str(food / "gone.txt")}).items())


def test_the_table_is_an_image_table_like_any_other(food):
    take_in(food)

    table = cd.open_table(food / "t.lance")
    assert table.key == "path"
    assert table.count_rows("split = 'train' and label = 'miso soup'") == 1
