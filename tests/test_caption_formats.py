"""The formats in which captions are found: as the public sets have them, in whatever encoding, of any length."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from clipdata.errors import UsageError
from ingest import from_captions
from ingest.pictures.caption_files import CaptionFiles
from ingest.pictures.caption_formats import CaptionFile
from tests.pictures import encoded, write_pictures

EXPECTED = {"0000.jpg": ["A dog, a cat", "Two animals"], "0001.jpg": ["一个孩子"]}
KARPATHY = {
    "images": [
        {
            "sentids": [0, 1],
            "imgid": 0,
            "split": "train",
            "filename": "0000.jpg",
            "sentences": [{"tokens": ["a"], "raw": "A dog, a cat"}, {"raw": "Two animals"}],
        },
        {"split": "restval", "filepath": "val2014", "filename": "0001.jpg", "sentences": [{"raw": "一个孩子"}]},
    ],
    "dataset": "flickr30k",
}
COCO_IMAGES = [
    {"id": 5, "file_name": "train2017/0000.jpg"},
    {"id": 6, "coco_url": "http://images.cocodataset.org/val2017/0001.jpg"},
]
ANNOTATIONS = [
    {"image_id": 5, "caption": "A dog, a cat"},
    {"image_id": 5, "caption": "Two animals"},
    {"image_id": 6, "caption": "一个孩子"},
]
FORMS = {
    "flickr.token": "0000.jpg#0\tA dog, a cat\n0000.jpg#1\tTwo animals\n0001.jpg#0\t一个孩子\n",
    "flickr30k results.csv": (
        "image_name| comment_number| comment\n"
        "0000.jpg| 0| A dog, a cat\n0000.jpg| 1| Two animals\n0001.jpg| 0| 一个孩子\n"
    ),
    "ai challenger.txt": "0000#zhm#0 A dog, a cat\n0000#zhm#1 Two animals\n0001#enc2m#0 一个孩子\n",
    "no header.tsv": "0000.jpg\tA dog, a cat\n0000.jpg\tTwo animals\n0001.jpg\t一个孩子\n",
    "no header, spaces.txt": "0000.jpg A dog, a cat\n0000.jpg Two animals\n0001.jpg 一个孩子\n",
    "five columns.csv": (
        'image,caption_0,caption_1,caption_2\n0000.jpg,"A dog, a cat",Two animals,\n0001.jpg,一个孩子,,\n'
    ),
    "metadata.jsonl": (
        '{"file_name": "0000.jpg", "text": ["A dog, a cat", "Two animals"]}\n'
        '{"file_name": "0001.jpg", "text": "一个孩子"}\n'
    ),
    "karpathy.json": json.dumps(KARPATHY),
    "karpathy, indented.json": json.dumps(KARPATHY, indent=2, ensure_ascii=False),
    "coco without ids.json": json.dumps({"info": {}, "images": COCO_IMAGES, "annotations": ANNOTATIONS}),
    "coco, images last.json": json.dumps({"annotations": ANNOTATIONS, "licenses": [1], "images": COCO_IMAGES}),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_pictures(tmp_path / "in", 2)
    return tmp_path


def take_in(folder: Path, file: Path, **options):
    return from_captions(folder / "in", file, into=folder / "t.lance", **options)


def captions_of(done) -> dict[str, list[str]]:
    return {row["path"]: row["captions"] for row in done.table.to_table(["path", "captions"]).to_pylist()}


@pytest.mark.parametrize("name", FORMS)
def test_captions_are_read_as_the_public_sets_have_them(folder: Path, name: str) -> None:
    (folder / name).write_text(FORMS[name])

    done = take_in(folder, folder / name)

    assert captions_of(done) == EXPECTED
    assert not done.refused


def test_karpathys_splits_are_a_column_and_those_of_lists_go_before_them(folder: Path) -> None:
    (folder / "k.json").write_text(json.dumps(KARPATHY))
    (folder / "test.txt").write_text("0001\n")

    own = take_in(folder, folder / "k.json")
    assert own.table.to_table(["path", "split"]).to_pylist() == [
        {"path": "0000.jpg", "split": "train"},
        {"path": "0001.jpg", "split": "restval"},
    ]
    given = take_in(folder, folder / "k.json", splits={"test": str(folder / "test.txt")})
    assert given.table.to_table(["split"], where="path = '0001.jpg'")["split"].to_pylist() == ["test"]


def test_named_columns_are_taken_instead_of_the_usual_ones(folder: Path) -> None:
    (folder / "c.csv").write_text("caption,foto,zh,en\nno,0000.jpg,甲,A\nno,0001.jpg,乙,B\n")

    done = take_in(folder, folder / "c.csv", image_column="foto", caption_columns=["zh", "en"])

    assert captions_of(done) == {"0000.jpg": ["甲", "A"], "0001.jpg": ["乙", "B"]}
    with pytest.raises(UsageError, match="caption"):
        take_in(folder, folder / "c.csv", image_column="photo")


@pytest.mark.parametrize(
    ("written", "given"), [("gb18030", "gb18030"), ("utf-16", "utf-8"), ("utf-16", "utf-16"), ("utf-8-sig", "utf-8")]
)
def test_captions_in_another_encoding_are_read_and_a_mark_tells_it(folder: Path, written: str, given: str) -> None:
    (folder / "c.csv").write_bytes("image,caption\r\n0000.jpg,猫在沙发上\r\n0001.jpg,狗\r\n".encode(written))

    assert captions_of(take_in(folder, folder / "c.csv", encoding=given))["0000.jpg"] == ["猫在沙发上"]


def test_the_hint_of_a_wrong_encoding_names_an_option_that_exists(folder: Path) -> None:
    (folder / "c.csv").write_bytes("image,caption\n0000.jpg,猫在沙发上睡觉\n".encode("gb18030"))

    with pytest.raises(UsageError, match=r"not UTF-8") as fault:
        take_in(folder, folder / "c.csv")
    assert "encoding=" in str(fault.value.hint)
    with pytest.raises(UsageError, match="unknown encoding"):
        take_in(folder, folder / "c.csv", encoding="klingon")


def test_what_cannot_be_read_in_the_folder_is_refused_for_what_it_is(folder: Path) -> None:
    (folder / "c.csv").write_text("image,caption\n0000.jpg,a\n0001.jpg,b\n")
    (folder / "in" / "x").symlink_to("x")
    (folder / "in" / "0001.jpg").unlink()
    (folder / "in" / "0001.jpg").symlink_to("gone.jpg")

    assert take_in(folder, folder / "c.csv").refused == {"broken_link": 2}


def test_two_captions_of_one_number_are_two_rows(folder: Path) -> None:
    (folder / "c.txt").write_text("0000.jpg#0\tone\n0000.jpg#0\tanother\n0000.jpg#1\tthird\n0001.jpg#0\tx\n")

    done = take_in(folder, folder / "c.txt", rows="caption")

    assert sorted(done.table.to_table(["caption"])["caption"].to_pylist()) == ["another", "one", "third", "x"]
    assert not done.refused


def test_a_split_list_that_names_no_image_is_an_error_that_shows_both(folder: Path) -> None:
    (folder / "c.csv").write_text("image,caption\n0000.jpg,a\n0001.jpg,b\n")
    (folder / "test.txt").write_text("someone/else\n")

    with pytest.raises(UsageError, match=r"split 'test'.*'someone/else', the folder '0000\.jpg'"):
        take_in(folder, folder / "c.csv", splits={"test": str(folder / "test.txt")})
    assert not (folder / "t.lance").exists()


def test_names_of_a_split_list_that_are_no_image_are_counted(folder: Path) -> None:
    (folder / "c.csv").write_text("image,caption\n0000.jpg,a\n0001.jpg,b\n")
    (folder / "test.txt").write_text("# a comment\n0000\n0009\n")

    done = take_in(folder, folder / "c.csv", splits={"test": str(folder / "test.txt")})

    assert done.notes["names in the lists of splits that are no image"] == "1 (such as 0009)"


def test_names_that_differ_in_accents_or_the_suffixs_case_join_and_it_is_said(tmp_path: Path) -> None:
    for name in ("cafe\u0301.jpg", "B.JPG", "twice.jpg", "twice.JPG"):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(encoded(1))
    (tmp_path / "c.csv").write_text("image,caption\ncaf\u00e9.jpg,a\nB.jpg,b\ntwice.Jpg,which?\n")

    done = take_in(tmp_path, tmp_path / "c.csv")

    assert captions_of(done) == {"cafe\u0301.jpg": ["a"], "B.JPG": ["b"]}
    assert done.refused == {"ambiguous": 1}
    assert done.notes["names in another spelling (accents, case of the suffix), matched"] == "2"


def test_again_with_nothing_changed_reads_nothing_and_makes_no_version(folder: Path) -> None:
    (folder / "c.csv").write_text("image,caption\n0000.jpg,a\n0001.jpg,b\n0009.jpg,none\n0000.jpg,\n")
    first = take_in(folder, folder / "c.csv", rows="caption")

    again = take_in(folder, folder / "c.csv", rows="caption")

    assert first.refused == {"missing": 1, "bad_caption": 1}
    assert (again.unchanged, again.refused_before, again.table.version) == (2, 2, first.table.version)


@pytest.mark.parametrize(
    "text",
    ['{"images": [{"id": 1}, ', '{"images": [1]}', '{"images": []} x', "[" * 100_000, '{"a": 1}', '{"images" 1}'],
)
def test_broken_json_is_an_error_that_names_the_file(folder: Path, text: str) -> None:
    (folder / "c.json").write_text(text)

    with pytest.raises(UsageError, match=r"c\.json"):
        take_in(folder, folder / "c.json")


def test_options_tell_apart_what_shapes_rows(folder: Path) -> None:
    (folder / "c.csv").write_text("image,caption\n0000.jpg,a\n")
    sources = [
        CaptionFiles(folder / "in", folder / "c.csv"),
        CaptionFiles(folder / "in", folder / "c.csv", rows="caption"),
        CaptionFiles(folder / "in", folder / "c.csv", encoding="latin-1"),
        CaptionFiles(folder / "in", folder / "c.csv", caption_columns=["caption"]),
    ]

    assert len({json.dumps(source.options) for source in sources}) == 4


def test_a_large_json_of_captions_is_read_in_the_memory_of_a_part_of_it(tmp_path: Path) -> None:
    with open(tmp_path / "big.json", "w") as file:
        file.write('{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [')
        one = json.dumps({"image_id": 1, "caption": "x" * 1000})
        file.write(",\n".join([one] * 12_000))
        file.write("]}")
    code = (
        "import resource, sys\n"
        "from ingest.pictures.caption_formats import CaptionFile\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "num = sum(1 for _ in CaptionFile(sys.argv[1]).read())\n"
        "print(num, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "big.json"], capture_output=True, text=True, check=True
    )

    num, mib = map(int, done.stdout.split())
    assert num == 12_000
    assert mib < 12, f"{mib} MiB for a file of 12"


def test_a_place_of_the_file_is_told_for_what_gives_no_caption(folder: Path) -> None:
    (folder / "c.csv").write_text("image,caption\n0000.jpg,a\n0001.jpg,\n")

    faults = [(found.place, found.fault) for found in CaptionFile(str(folder / "c.csv")).read() if found.fault]

    assert faults == [("line 3", "the caption is empty")]
