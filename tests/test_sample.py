"""The built-in sample: what its test split holds is in no way in its training split, and its questions are fair."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import ingest
from clipdata import images
from clipdata.errors import NotFoundError, UsageError
from pipelines import sample
from pipelines.sample import build_sample
from pipelines.sample.build_sample import Emoji
from pipelines.sample.names import families, near, subjects
from pipelines.sample.questions import LETTERS, Picture, make_questions
from tests.pictures import encoded

SPLITS = ("train", "test")


@pytest.fixture(scope="module")
def questions() -> list[dict[str, Any]]:
    return pq.read_table(sample.questions_path()).to_pylist()


@pytest.fixture(scope="module")
def pictures() -> dict[str, Path]:
    return {path.name: path for path in sample.images_path().rglob("*.png")}


def by_split(questions: list[dict[str, Any]], column: str) -> tuple[set[str], set[str]]:
    train, test = ({row[column] for row in questions if row["split"] == split} for split in SPLITS)
    assert train
    assert test
    return train, test


def test_every_picture_has_three_questions_and_a_name_of_its_own(questions, pictures) -> None:
    assert len(list(sample.images_path().rglob("*.png"))) == len(pictures) == 1800
    assert Counter(row["filename"] for row in questions) == dict.fromkeys(pictures, 3)


def test_every_picture_decodes(pictures) -> None:
    for path in pictures.values():
        data = path.read_bytes()
        assert images.check(data).format == "png"
        assert images.decode(data).shape == (64, 64, 3)


def test_the_sample_fits_the_repository(pictures) -> None:
    size = sum(path.stat().st_size for path in [*pictures.values(), sample.questions_path()])
    assert size <= 6_000_000


@pytest.mark.parametrize("column", ["filename", "emoji", "caption", "caption_zh"])
def test_nothing_of_a_test_picture_is_in_training(questions, column: str) -> None:
    train, test = by_split(questions, column)
    assert not train & test


def test_no_test_picture_has_the_bytes_of_a_training_picture(questions, pictures) -> None:
    train, test = (
        {hashlib.sha256(pictures[name].read_bytes()).digest() for name in names}
        for names in by_split(questions, "filename")
    )
    assert not train & test


def test_no_caption_of_a_test_question_is_in_any_training_question(questions) -> None:
    train, test = (
        {caption for row in questions if row["split"] == split for caption in row["caption_choices"]}
        for split in SPLITS
    )
    assert not train & test


def test_families_are_on_one_side_and_share_no_subject_with_the_other(questions) -> None:
    train, test = by_split(questions, "caption")
    family_of = families(train | test)
    assert not {family_of[caption] for caption in train} & {family_of[caption] for caption in test}
    words_of_train = {word for caption in train for word in subjects(caption)}
    assert not words_of_train & {word for caption in test for word in subjects(caption)}


def test_both_drawings_of_an_emoji_are_on_one_side(questions) -> None:
    sides = defaultdict(set)
    for row in questions:
        sides[row["emoji"]].add((row["drawn_by"], row["split"]))
    assert all({artist for artist, _ in found} == {"google", "twitter"} for found in sides.values())
    assert all(len({split for _, split in found}) == 1 for found in sides.values())


def test_the_label_names_the_caption_of_the_picture(questions) -> None:
    for row in questions:
        assert len(set(row["caption_choices"])) == 5
        assert row["caption_choices"][LETTERS.index(row["label"])] == row["caption"]


def test_no_wrong_answer_says_the_same_as_the_right_one(questions) -> None:
    for row in questions:
        wrong = [caption for caption in row["caption_choices"] if caption != row["caption"]]
        assert not [caption for caption in wrong if near(caption, row["caption"])]


def test_wrong_answers_are_often_of_the_same_category_and_never_asked_twice_of_a_picture(questions) -> None:
    category_of = {row["caption"]: row["category"] for row in questions}
    wrong_of = defaultdict(list)
    for row in questions:
        wrong_of[row["filename"], row["category"]] += [c for c in row["caption_choices"] if c != row["caption"]]
    assert all(len(set(wrong)) == 12 for wrong in wrong_of.values())
    same = [category_of[caption] == category for (_, category), wrong in wrong_of.items() for caption in wrong]
    assert 0.45 < sum(same) / len(same) <= 0.5


@pytest.mark.parametrize("split", SPLITS)
def test_every_letter_is_right_equally_often(questions, split: str) -> None:
    counts = Counter(row["label"] for row in questions if row["split"] == split)
    assert set(counts) == set(LETTERS)
    assert max(counts.values()) - min(counts.values()) <= 1


def test_the_committed_questions_are_what_the_maker_makes_of_their_pictures(questions) -> None:
    asked = {
        row["filename"]: Picture(row["filename"], row["caption"], row["category"], row["split"]) for row in questions
    }
    shuffled = list(asked.values())
    random.Random(0).shuffle(shuffled)
    made = make_questions(shuffled, seed=build_sample.SEED)
    found = [(row["filename"], tuple(row["caption_choices"]), row["label"]) for row in questions]
    assert [(question.filename, question.choices, question.label) for question in made] == found


def test_another_seed_asks_other_questions() -> None:
    drawn = [Picture(f"{n}.png", f"thing{n} x{n}", "things", "train") for n in range(30)]
    assert make_questions(drawn, seed=1) == make_questions(drawn, seed=1) != make_questions(drawn, seed=2)


def test_too_few_captions_or_a_filename_twice_are_refused() -> None:
    drawn = [Picture(f"{n}.png", f"thing{n} x{n}", "things", "train") for n in range(12)]
    with pytest.raises(UsageError, match="11 captions of the train split differ"):
        make_questions(drawn)
    with pytest.raises(UsageError, match="distinct filenames"):
        make_questions([drawn[0], drawn[0]])


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("woman astronaut", "man astronaut"),
        ("person running", "man running: facing right"),
        ("one o’clock", "twelve-thirty"),
        ("waxing crescent moon", "waning crescent moon"),
        ("man", "girl"),
        ("black cat", "cat"),
    ],
)
def test_names_that_say_the_same_are_near_and_of_one_family(name: str, other: str) -> None:
    assert near(name, other)
    assert len(set(families([name, other]).values())) == 1


def test_a_family_reaches_through_names_but_not_through_colours() -> None:
    found = families(["grinning face", "cat face", "black cat", "black heart", "red apple", "red heart"])
    assert found["grinning face"] == found["black cat"]
    assert found["black heart"] == found["red heart"]
    assert len(set(found.values())) == 3


def test_the_sample_merges_on_filename_without_a_rest(tmp_path) -> None:
    ingest.from_images(sample.images_path(), into=tmp_path / "images.lance")
    ingest.from_parquet(sample.questions_path(), into=tmp_path / "meta.lance")
    merged = ingest.merge_report(tmp_path / "images.lance", tmp_path / "meta.lance", into=tmp_path / "contest.lance")
    assert merged.num_rows == 5400
    assert not merged.unmatched_images
    assert not merged.unmatched_metadata
    assert not merged.renamed


def source_folder(folder: Path, num_emoji: int) -> Path:
    """A folder laid out like the one the sample was made from."""
    rows = []
    for number in range(num_emoji):
        for artist in build_sample.DRAWN_BY:
            path = folder / artist / f"{number:04x}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded(2 * number + (artist == "google"), ".png"))
            rows.append(
                {
                    "path": f"{artist}/{path.name}",
                    "emoji": path.stem,
                    "drawn_by": artist,
                    "label": f"thing{number}x",
                    "label_zh": f"东西{number}",
                    "tags": ["thing", "made up"],
                    "category": "Objects" if number % 10 else "Flags",
                    "subcategory": "tool",
                }
            )
    french = [{"hexcode": f"{number:04X}-FE0F", "label": f"chose {number}"} for number in range(num_emoji)]
    (folder / "fr.json").write_text(json.dumps([{"hexcode": "ffff", "label": "x", "skins": french}]))
    pq.write_table(pa.Table.from_pylist(rows), folder / "emoji.parquet")
    return folder


def test_building_copies_bytes_and_gives_the_same_sample_again(tmp_path) -> None:
    source = source_folder(tmp_path / "source", 50)
    built = [build_sample.build(source, tmp_path / name, num_train=24, num_test=16) for name in ("a", "b")]
    assert built[0].equals(built[1])
    assert pq.read_table(tmp_path / "a" / "questions.parquet").equals(built[0])
    names = pq.read_table(tmp_path / "a" / "names.parquet")
    assert names.equals(pq.read_table(tmp_path / "b" / "names.parquet"))
    assert set(zip(names["caption"].to_pylist(), names["caption_fr"].to_pylist(), strict=True)) == {
        (one["caption"], f"chose {int(one['emoji'], 16)}") for one in built[0].to_pylist()
    }
    assert Counter(built[0]["split"].to_pylist()) == {"train": 24 * 2 * 3, "test": 16 * 2 * 3}
    written = list((tmp_path / "a" / "images").rglob("*.png"))
    assert {path.name for path in written} == set(built[0]["filename"].to_pylist())
    for path in written:
        artist, code = path.stem.split("-")
        assert path.read_bytes() == (source / artist / f"{code}.png").read_bytes()


def test_categories_left_out_and_too_few_emoji(tmp_path) -> None:
    source = source_folder(tmp_path / "source", 20)
    assert {one.category for one in build_sample.read_emoji(source)} == {"Objects"}
    with pytest.raises(UsageError, match=r"leave .* places open"):
        build_sample.build(source, tmp_path / "out", num_train=24, num_test=16)


def test_variants_of_a_name_are_in_the_sample_once() -> None:
    names = ["woman surfing", "man surfing", "person surfing", "surfboard", "smiling face with heart-eyes"]
    emoji = [
        Emoji(f"{place:04x}", name, name, name, [], "People & Body", "person-sport", {})
        for place, name in enumerate(names)
    ]
    kept = [one.caption for one in build_sample.without_variants(emoji)]
    assert len(kept) == 2
    assert "surfboard" in kept


def test_a_wrong_source_or_a_full_target_is_refused(tmp_path) -> None:
    with pytest.raises(NotFoundError, match=r"emoji\.parquet"):
        build_sample.build(tmp_path, tmp_path / "out")
    source = source_folder(tmp_path / "source", 2)
    (source / "fr.json").unlink()
    with pytest.raises(NotFoundError, match=r"fr\.json"):
        build_sample.build(source, tmp_path / "out")
    (tmp_path / "out" / "images").mkdir(parents=True)
    with pytest.raises(UsageError, match="made from nothing"):
        build_sample.build(tmp_path, tmp_path / "out")


@pytest.mark.parametrize("credit", ["Noto Emoji", "Apache License", "Twemoji", "CC-BY-4.0", "emojibase", "MIT License"])
def test_the_works_of_others_are_credited(credit: str) -> None:
    assert credit in (Path(__file__).parents[1] / "NOTICE").read_text()


def test_the_twemoji_credit_line_is_whole() -> None:
    notice = (Path(__file__).parents[1] / "NOTICE").read_text()
    assert "Twemoji, © Twitter, Inc and other contributors, licensed under CC-BY-4.0" in notice
