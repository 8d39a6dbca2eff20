"""Class folders with split lists: dots in stems, blank lines, entries without files, files without entries."""

from __future__ import annotations

import subprocess
import sys
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


def write_images(folder, *names):
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(encoded(number))


@pytest.mark.parametrize(
    ("folder", "split"), [("train", "train"), ("val", "val"), ("valid", "val"), ("Validation", "val")]
)
def test_a_folder_of_a_split_is_never_the_class(tmp_path, folder, split):
    write_images(tmp_path / "in", f"{folder}/apple_pie/1.jpg", "test/miso soup/2.jpg")

    done = from_class_list(tmp_path / "in", into=tmp_path / "t.lance")

    assert set(rows_of(done)) == {
        (f"{folder}/apple_pie/1.jpg", "apple pie", "apple_pie", split),
        ("test/miso soup/2.jpg", "miso soup", "miso soup", "test"),
    }


def test_a_class_called_train_among_others_is_a_class(tmp_path):
    write_images(tmp_path / "in", "train/1.jpg", "train/steam/2.jpg", "cat/3.jpg", "dog/4.jpg")

    done = from_class_list(tmp_path / "in", into=tmp_path / "t.lance")

    assert sorted(row[2] for row in rows_of(done)) == ["cat", "dog", "train", "train"]


def test_images_of_a_split_without_a_class_folder_are_refused(tmp_path):
    write_images(tmp_path / "in", "train/a/1.jpg", "test/a/2.jpg", "test/3.jpg")

    assert from_class_list(tmp_path / "in", into=tmp_path / "t.lance").refused == {"no_class": 1}


@pytest.mark.parametrize("delimiter", [" ", "\t", ",", ", "])
def test_lists_may_give_a_label_beside_the_name(tmp_path, delimiter):
    write_images(tmp_path / "in", "one dog.jpg", "2.jpg", "pies/3.jpg")
    lines = [["one dog.jpg", "guide_dog"], ["2", "cat"], ["pies/3.jpg", "17"], ["gone.jpg", "cat"]]
    (tmp_path / "train.txt").write_text("".join(delimiter.join(line) + "\n" for line in lines))

    done = from_class_list(tmp_path / "in", {"train": str(tmp_path / "train.txt")}, into=tmp_path / "t.lance")

    assert {row[0]: row[1] for row in rows_of(done)} == {
        "one dog.jpg": "guide dog",
        "2.jpg": "cat",
        "pies/3.jpg": "pies",
    }
    assert done.refused == {"missing": 1}


def test_a_header_of_a_list_with_labels_is_no_entry(tmp_path):
    write_images(tmp_path / "in", "1.jpg")
    (tmp_path / "train.csv").write_text("filename,label\n1.jpg,cat\n")

    done = from_class_list(tmp_path / "in", {"train": str(tmp_path / "train.csv")}, into=tmp_path / "t.lance")

    assert rows_of(done) == [("1.jpg", "cat", "cat", "train")]
    assert not done.refused


def test_entries_in_another_spelling_join_where_one_file_is_left_and_it_is_said(food):
    write_images(food / "images", "cafe\u0301/5.JPG")
    write_list(food, "train", "caf\u00e9/5.jpg", "apple_pie\\3.png")

    done = take_in(food)

    assert {"cafe\u0301/5.JPG", "apple_pie/3.png"} <= {row[0] for row in rows_of(done)}
    assert done.notes["names in another spelling (accents, case of the suffix), matched"] == "2"


def test_what_cannot_be_read_in_the_folder_is_refused_for_what_it_is(food):
    (food / "images" / "x").symlink_to("x")
    (food / "images" / "apple_pie" / "3.png").unlink()
    (food / "images" / "apple_pie" / "3.png").symlink_to("gone.png")

    assert take_in(food).refused == {"broken_link": 2}
    assert ingest(ClassLists(food / "images"), food / "u.lance").refused == {"broken_link": 2}


def test_lists_in_another_encoding_are_read(tmp_path):
    write_images(tmp_path / "in", "苹果/1.jpg")
    (tmp_path / "train.txt").write_bytes("苹果/1\n".encode("gb18030"))
    lists = {"train": str(tmp_path / "train.txt")}

    done = from_class_list(tmp_path / "in", lists, into=tmp_path / "t.lance", encoding="gb18030")

    assert rows_of(done) == [("苹果/1.jpg", "苹果", "苹果", "train")]


def test_lists_again_with_nothing_changed_make_no_version(food):
    write_list(food, "test", "apple_pie/3", "gone/1")
    first = take_in(food)

    again = take_in(food)

    assert (again.refused_before, again.table.version) == (1, first.table.version)


def test_entries_wait_on_disk_and_not_in_memory(tmp_path):
    code = (
        "import resource, sys\n"
        "from datetime import UTC, datetime\n"
        "from clipdata.objects.stamps import Stamp\n"
        "from ingest.pictures.class_lists import ClassLists\n"
        "import ingest.updating.spool as spool\n"
        "spool.ITEMS_IN_MEMORY = 0\n"
        "num, now = 20_000, datetime.now(UTC)\n"
        "open(sys.argv[1], 'w').writelines(f'class_{n % 100}/img_{n:07d}\\n' for n in range(num))\n"
        "source = ClassLists('/r', {'train': sys.argv[1]})\n"
        "source._files = lambda: ((f'/r/class_{n % 100}/img_{n:07d}.jpg', Stamp(f'{n}', n, now)) for n in range(num))\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "found = sum(1 for _ in source.items())\n"
        "print(found, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 // num)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "train.txt"], stdout=subprocess.PIPE, check=True)

    found, bytes_each = map(int, done.stdout.split())
    assert found == 20_000
    assert bytes_each < 800  # it was 2,000; what is there of a chunk of items counts here, too
