"""Captions in another file: three formats, hostile lines, one row an image or a caption, what has no partner."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import ingest
from clipdata.errors import NotFoundError, UsageError
from ingest import from_captions
from ingest.pictures.caption_files import CaptionFiles
from ingest.pictures.caption_formats import CaptionFile
from tests.pictures import encoded, write_pictures

TOKENS = """0000.jpg#0\tA dog, a cat and a "bird" .
0000.jpg#1\tTwo animals\tand a bird .
0001.jpg#1\tA child  climbs #1 stairs .
0001.jpg#0\t一个孩子,爬楼梯。
"""
CAPTIONS = {
    "0000.jpg": ['A dog, a cat and a "bird" .', "Two animals\tand a bird ."],
    "0001.jpg": ["一个孩子,爬楼梯。", "A child  climbs #1 stairs ."],
}


@pytest.fixture
def flickr(tmp_path):
    write_pictures(tmp_path / "in", 2)
    (tmp_path / "tokens.txt").write_text(TOKENS)
    return tmp_path


def take_in(folder, captions="tokens.txt", **options):
    return from_captions(folder / "in", folder / captions, into=folder / "t.lance", **options)


def captions_of(done):
    return {row["path"]: row["captions"] for row in done.table.to_table(["path", "captions"]).to_pylist()}


def test_one_row_an_image_holds_its_captions_by_number(flickr):
    done = take_in(flickr)

    assert captions_of(done) == CAPTIONS
    assert done.table.to_table(["image"])["image"][0].as_py() == encoded(0)
    assert not done.refused


def test_one_row_a_caption_repeats_the_image_under_keys_of_their_own(flickr):
    done = take_in(flickr, rows="caption")

    table = done.table.to_table(["path", "filename", "caption", "image", "sha256"]).sort_by("path")
    assert table["path"].to_pylist() == ["0000.jpg#0", "0000.jpg#1", "0001.jpg#0", "0001.jpg#1"]
    assert table["filename"].to_pylist() == ["0000.jpg", "0000.jpg", "0001.jpg", "0001.jpg"]
    assert table["caption"].to_pylist() == [*CAPTIONS["0000.jpg"], *CAPTIONS["0001.jpg"]]
    assert table["image"][1].as_py() == encoded(0)
    assert len(set(table["sha256"].to_pylist())) == 2


def test_rows_of_a_refused_image_are_refused_one_by_one(flickr):
    (flickr / "in" / "0001.jpg").write_bytes(b"broken")

    assert take_in(flickr, rows="caption").refused == {"not_an_image": 2}


def test_a_changed_caption_replaces_its_row_alone(flickr):
    take_in(flickr, rows="caption")
    (flickr / "tokens.txt").write_text(TOKENS.replace("Two animals", "Three animals"))

    done = take_in(flickr, rows="caption")

    assert (done.written.updated, done.unchanged) == (1, 3)


def test_captions_without_an_image_and_images_without_a_caption_are_told(flickr):
    write_pictures(flickr / "in", 1, first=7)
    (flickr / "tokens.txt").write_text(TOKENS + "0001.jpg.1#0\tno such file\n0009.jpg#0\tnor this\n")

    done = take_in(flickr)

    assert done.refused == {"missing": 2}
    assert done.notes == {"images without a caption, left out": "1 (such as 0007.jpg)"}


def test_broken_lines_cost_themselves_alone(flickr):
    lines = [
        "no tab here",
        "0000.jpg\tno number",
        "0000.jpg#x\tno digit",
        "#0\tno image",
        "0000.jpg#7\t   ",
        "0000.jpg#8\t",
    ]
    (flickr / "tokens.txt").write_text(TOKENS + "\n".join([*lines, "0000.jpg#9\t" + "x" * 10_001, "\n"]))

    done = take_in(flickr, file_format="flickr")

    assert captions_of(done) == CAPTIONS
    assert done.refused == {"bad_caption": 7}


def test_windows_line_ends_and_a_byte_order_mark_are_no_part_of_anything(flickr):
    (flickr / "tokens.txt").write_bytes(b"\xef\xbb\xbf" + TOKENS.replace("\n", "\r\n").encode())

    assert captions_of(take_in(flickr)) == CAPTIONS


CSV_FILES = {
    "quoted": 'image,caption\n0000.jpg,"A dog, a cat"\n0001.jpg,plain\n',
    "never quoted": "image,caption\n0000.jpg,A dog, a cat\n0001.jpg,plain\n",
    "quote inside": 'image,caption\n0000.jpg,A dog, a cat\n0001.jpg,"plain"\n',
    "tabs and other names": "filepath\ttitle\n0000.jpg\tA dog, a cat\n0001.jpg\tplain\n",
    "bars and a number": "image_name| comment_number| comment\n0000.jpg| 0| A dog, a cat\n0001.jpg| 0| plain\n",
    "more columns": 'id,caption,image\n7,"A dog, a cat",0000.jpg\n8,plain,0001.jpg\n',
}


@pytest.mark.parametrize("text", CSV_FILES.values(), ids=CSV_FILES)
def test_csv_captions_keep_their_commas_quoted_or_not(flickr, text):
    (flickr / "captions.csv").write_text(text)

    assert captions_of(take_in(flickr, "captions.csv")) == {"0000.jpg": ["A dog, a cat"], "0001.jpg": ["plain"]}


def test_a_quote_that_is_never_closed_costs_its_own_line(flickr):
    (flickr / "captions.csv").write_text('image,caption\n0000.jpg,"never closed\n0001.jpg,plain\n0001.jpg,again\n')

    done = take_in(flickr, "captions.csv")

    assert captions_of(done) == {"0001.jpg": ["plain", "again"]}
    assert done.refused == {"bad_caption": 1}


def test_coco_captions_are_joined_through_image_ids(flickr):
    images = [{"id": 5, "file_name": "0000.jpg"}, {"id": 6, "file_name": "val2017/0001.jpg"}]
    annotations = [
        {"id": 30, "image_id": 6, "caption": "second\n"},
        {"id": 20, "image_id": 6, "caption": "first, with a comma"},
        {"id": 10, "image_id": 5, "caption": "alone"},
        {"id": 40, "image_id": 99, "caption": "of no image"},
        {"id": 50, "image_id": 5},
    ]
    (flickr / "captions.json").write_text(json.dumps({"images": images, "annotations": annotations}))

    done = take_in(flickr, "captions.json")

    assert captions_of(done) == {"0000.jpg": ["alone"], "0001.jpg": ["first, with a comma", "second"]}
    assert done.refused == {"bad_caption": 2}


def test_a_name_in_two_folders_is_ambiguous_unless_the_file_has_the_path(tmp_path):
    for folder in ("a", "b"):
        write_pictures(tmp_path / "in" / folder, 2)
    (tmp_path / "tokens.txt").write_text("0000.jpg#0\twhich?\nb/0001.jpg#0\tthis one\n")

    done = take_in(tmp_path)

    assert captions_of(done) == {"b/0001.jpg": ["this one"]}
    assert done.refused == {"ambiguous": 1}


def test_lists_of_names_give_each_image_its_split(flickr):
    write_pictures(flickr / "in", 1, first=2)
    (flickr / "tokens.txt").write_text(TOKENS + "0002.jpg#0\tin no list\n")
    (flickr / "train.txt").write_text("0000.jpg\n\n")
    (flickr / "test.txt").write_text("0001.jpg\n0000.jpg\n")
    splits = {"train": str(flickr / "train.txt"), "test": str(flickr / "test.txt")}

    done = take_in(flickr, splits=splits, rows="caption")

    found = {row["path"]: row["split"] for row in done.table.to_table(["path", "split"]).to_pylist()}
    assert (found["0000.jpg#1"], found["0001.jpg#0"], found["0002.jpg#0"]) == ("train", "test", None)
    assert done.notes == {"images in two splits, kept in the first": "1 (such as 0000.jpg)"}


@pytest.mark.parametrize("text", ["", "hello\nworld\n", "a,b\n1,2\n", "{not json", '{"images": 3}', "[]"])
def test_what_is_no_file_of_captions_is_named(flickr, text):
    (flickr / "tokens.txt").write_text(text)

    with pytest.raises(UsageError, match=r"tokens\.txt"):
        take_in(flickr)
    assert not (flickr / "t.lance").exists()


def test_nothing_in_common_is_an_error_that_shows_both_names(flickr):
    (flickr / "tokens.txt").write_text("other.jpg#0\tx\n")

    with pytest.raises(NotFoundError, match=r"names 'other\.jpg#0', the folder has '0000\.jpg'"):
        take_in(flickr)


def test_a_file_that_changes_after_it_was_listed_is_taken_as_it_is_then(flickr):
    source = CaptionFiles(flickr / "in", flickr / "tokens.txt", rows="caption")
    items = list(source.items())
    (flickr / "in" / "0000.jpg").write_bytes(encoded(8))
    (row, *_) = [row for batch in source.read(items, lambda _: None) for row in batch.to_pylist()]

    again = {item.key: item.etag for item in source.items()}

    assert row["image"] == encoded(8)
    assert row["etag"] == again["0000.jpg#0"] != items[0].etag


@pytest.mark.cloud
def test_images_and_captions_in_a_bucket_are_taken_alike(bucket, tmp_path):
    fs, path = bucket.direct.filesystem(bucket.url("flickr"))
    fs.pipe_file(f"{path}/tokens.txt", TOKENS.encode())
    for number in range(2):
        fs.pipe_file(f"{path}/in/{number:04d}.jpg", encoded(number))

    done = from_captions(
        bucket.url("flickr", "in"),
        bucket.url("flickr", "tokens.txt"),
        into=bucket.url("t.lance"),
        rows="caption",
        storage=bucket.storage,
    )

    found = done.table.to_table(["path", "image"]).to_pylist()
    assert [(row["path"], row["image"]) for row in found] == [
        (f"{number:04d}.jpg#{caption}", encoded(number)) for number in range(2) for caption in range(2)
    ]


def test_captions_can_be_read_by_themselves(flickr):
    found = CaptionFile(str(flickr / "tokens.txt")).read()

    assert [(caption.image, caption.number) for caption in found] == [
        ("0000.jpg", 0),
        ("0000.jpg", 1),
        ("0001.jpg", 1),
        ("0001.jpg", 0),
    ]


def test_a_caption_that_goes_or_moves_makes_no_other_caption_another_row(tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 1)

    def take(*captions: str) -> dict[str, str]:
        lines = ["image,caption", *(f"0000.jpg,{caption}" for caption in captions)]
        (tmp_path / "c.csv").write_text("\n".join(lines) + "\n")
        done = ingest.from_captions(tmp_path / "in", tmp_path / "c.csv", into=tmp_path / "t.lance", rows="caption")
        return {row["caption"]: row["path"] for row in done.table.to_table(["path", "caption"]).to_pylist()}

    first = take("one", "two", "three")
    assert take("three", "two") == first
    assert take("two", "four").items() >= first.items()


@pytest.mark.parametrize(
    "text",
    [
        "caption,path,Split\nfirst,0000.jpg,train\nsecond,0001.jpg,test\n",
        '{"path": "0000.jpg", "caption": "first", "split": "train"}\n'
        '{"path": "0001.jpg", "caption": "second", "split": "test"}\n',
    ],
)
def test_a_column_says_to_which_split_an_image_belongs(flickr, text):
    (flickr / "pairs.txt").write_text(text)

    done = take_in(flickr, "pairs.txt")

    rows = done.table.to_table(["path", "captions", "split"]).sort_by("path").to_pylist()
    assert [(row["captions"], row["split"]) for row in rows] == [(["first"], "train"), (["second"], "test")]


def test_lists_of_one_folder_each_under_its_prefix_do_not_miss_each_others_rows(flickr):
    other = flickr / "other.txt"
    other.write_text("0001.jpg#0\tNobody's other picture .\n")
    take_in(flickr, prefix="train")

    done = take_in(flickr, "other.txt", prefix="test")

    assert done.num_vanished == 0
    other.write_text("0000.jpg#0\tAnother one .\n")
    assert take_in(flickr, "other.txt", prefix="test").vanished == ["test/0001.jpg"]
