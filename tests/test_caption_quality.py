"""Figures of captions in every script: known answers, lists of captions, how often one appears, and languages."""

from __future__ import annotations

import importlib.util
import time
from collections import Counter
from pathlib import Path
from typing import Any

import lance
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import clipdata as cd
from clipdata.errors import SchemaError, UsageError
from clipdata.steps.caption_figures import measure
from pipelines.cli.named_steps import build_step


def table_of(folder: Path, captions: Any, kind: pa.DataType) -> cd.Table:
    lance.write_dataset(pa.table({"caption": pa.array(captions, kind)}), str(folder / "t.lance"), mode="overwrite")
    return cd.open_table(folder / "t.lance")


def mapped(table: cd.Table, step: Any, column: str) -> list[Any]:
    cd.map_column(table, step, column)
    values: list[Any] = table.to_table([column]).column(0).to_pylist()
    return values


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("  A dog runs. ", {"characters": 11, "words": 3, "non_letters": 1 / 9, "script": "Latin", "run": 1}),
        ("", {"characters": 0, "words": 0, "non_letters": 0, "script": None, "script_share": 1, "run": 0}),
        ("😀😀 ❤️", {"characters": 5, "words": 2, "non_letters": 1, "script": None, "run": 2}),
        ("一只猫 sits", {"characters": 8, "words": 4, "script": "Latin", "script_share": 4 / 7}),
        ("日本のねこ", {"words": 5, "script": "Kana", "script_share": 3 / 5}),
        ("كلب يركض", {"words": 2, "non_letters": 0, "script": "Arabic"}),
        ("כלב", {"words": 1, "script": "Hebrew"}),
        ("हिन्दी में", {"words": 2, "non_letters": 0, "script": "Devanagari"}),
        ("개가 달린다", {"words": 2, "script": "Hangul"}),
        ("soooo goooood!!!!!!", {"run": 6}),
        ("Собака", {"script": "Cyrillic", "script_share": 1}),
        ("the dog the dog a cat", {"repetition": 12 / 16}),
        ("dog Dog dog", {"repetition": 1}),
        ("a b a b a", {"repetition": 1}),
        ("a dog a cat", {"repetition": 0}),
        ("the the", {"repetition": 0}),
        ("buy it at https://x.org now", {"url": True, "markup": False}),
        ("mail me@example.com", {"url": True}),
        ("shop.example.com", {"url": True}),
        ("Mr. Smith and St. Paul, e.g. here", {"url": False, "markup": False, "filename": False}),
        ("a <b>bold</b> dog", {"markup": True}),
        ("salt &amp; pepper", {"markup": True}),
        ("1 < 2 & 3 > 2", {"markup": False}),
        ("[img]x[/img]", {"markup": True}),
        ("IMG_1234", {"filename": True}),
        ("cat on a mat.JPG", {"filename": True, "url": False}),
        ("my-cat-2", {"filename": True}),
        ("covid-19", {"filename": False}),
        ("8f14e45fceea167a5a36dedd4bea2543", {"filename": True}),
        ("photo 12", {"filename": True}),
        ("well-known", {"filename": False}),
        ("12 monkeys", {"filename": False}),
    ],
)
def test_captions_have_the_figures_that_one_counts_by_hand(caption: str, expected: dict[str, Any]) -> None:
    found = vars(measure([caption]))

    assert {name: found[name] for name in expected} == pytest.approx(expected)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.text(max_size=40), min_size=1, max_size=4))
def test_every_text_has_figures_and_of_several_the_worst_decides(captions: list[str]) -> None:
    alone, together = [measure([caption]) for caption in captions], measure(captions)

    for name, decide in {
        "characters": min, "words": min, "longest": max, "non_letters": max, "repetition": max, "run": max,
        "url": max, "markup": max, "filename": max,
    }.items():  # fmt: skip
        assert getattr(together, name) == decide(getattr(one, name) for one in alone)
    assert 0 <= together.non_letters <= 1
    assert 0 <= together.repetition <= 1
    assert 0 < together.script_share <= 1


@pytest.mark.parametrize(
    "caption", ["a." * 40_000, "a-" * 40_000, "[img" * 20_000, "<a " * 30_000, "a_" * 40_000, "&" * 80_000]
)
def test_no_caption_takes_long(caption: str) -> None:
    started_s = time.process_time()
    measure([caption])
    assert time.process_time() - started_s < 5


def test_figures_become_a_column_that_sql_filters_by(tmp_path: Path) -> None:
    table = table_of(tmp_path, ["a dog runs", "", None, "IMG_1"], pa.string())
    found = mapped(table, cd.steps.CaptionQuality(), "quality")

    assert [None if one is None else one["characters"] for one in found] == [10, 0, None, 5]
    assert table.count_rows("quality.words >= 1 AND NOT quality.filename AND quality.script = 'Latin'") == 1

    lists = table_of(tmp_path, [["a dog", "x" * 30], [None, "one two three"], [], [None], None], pa.list_(pa.string()))
    found = mapped(lists, cd.steps.CaptionQuality(), "quality")
    told = [one and (one["captions"], one["characters"], one["longest"], one["words"]) for one in found]
    assert told == [(2, 5, 30, 1), (1, 13, 13, 3), None, None, None]
    assert lists.to_table(["quality__error"]).column(0).to_pylist()[2:4] == ["no caption"] * 2


@settings(deadline=None, max_examples=15)
@given(captions=st.lists(st.one_of(st.none(), st.sampled_from(["a", "A ", "b", "c  d", "C d", "", "é"])), max_size=25))
def test_a_caption_is_counted_in_all_rows_that_have_it(tmp_path_factory: Any, captions: list[str | None]) -> None:
    table = table_of(tmp_path_factory.mktemp("t"), captions, pa.string())
    folded = [" ".join((text or "").split()).casefold() or None for text in captions]
    counts = Counter(folded)

    assert mapped(table, cd.steps.CaptionCount(table), "n") == [counts[text] if text else None for text in folded]


def test_of_several_captions_the_most_frequent_counts_and_rows_that_came_since_keep_the_rest(tmp_path: Path) -> None:
    table = table_of(tmp_path, [["a", "b"], ["A", "a"], ["b", "c"], ["b"], [], None], pa.list_(pa.large_string()))
    step = cd.steps.CaptionCount(table.uri)
    done = cd.map_column(table, step, "n")

    assert table.to_table(["n"]).column(0).to_pylist() == [3, 2, 3, 3, None, None]
    assert done.notes["different captions"] == 3
    lance.write_dataset(
        pa.table({"caption": pa.array([["a"], ["new"]], pa.list_(pa.large_string()))}), table.uri, mode="append"
    )
    table = table.latest()
    assert mapped(table, cd.steps.CaptionCount(table), "n") == [3, 2, 3, 3, None, None, 3, 1]


def test_captions_of_another_kind_are_refused(tmp_path: Path) -> None:
    table = table_of(tmp_path, [1, 2], pa.int64())
    with pytest.raises(SchemaError, match="expected texts or lists of texts"):
        cd.map_column(table, cd.steps.CaptionQuality(), "q")
    with pytest.raises(SchemaError, match="expected texts or lists of texts"):
        cd.steps.CaptionCount(table)
    with pytest.raises(SchemaError, match="has no column 'captions'"):
        cd.steps.CaptionCount(table, "captions")
    with pytest.raises(UsageError, match="text is 3"):
        cd.steps.CaptionQuality(3)  # type: ignore[arg-type]


has_languages = pytest.mark.skipif(importlib.util.find_spec("py3langid") is None, reason="the extra is not installed")


@has_languages
def test_languages_are_told_apart(tmp_path: Path) -> None:
    captions = [["a dog runs across the field"], ["ein Hund läuft über das Feld"], ["一只狗在跑"],
                ["كلب يركض في الحقل"], ["un chien", "court dans le champ"], ["собака бежит"],
                ["😀 123"], [""], [None], None]  # fmt: skip
    table = table_of(tmp_path, captions, pa.list_(pa.string()))
    expected = ["en", "de", "zh", "ar", "fr", "ru", "zxx", "zxx", None, None]

    assert mapped(table, cd.steps.CaptionLanguage(), "language") == expected
    few = build_step("caption-language", {"among": "en,de", "sure": "0.9"}, model=None, device=None, say=lambda _: None)
    assert mapped(table, few, "few")[:2] == ["en", "de"]
    assert few.parameters == {"among": ["en", "de"], "sure": 0.9}


@has_languages
@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"among": ["en"]}, "two codes"), ({"among": ["en", "xx"]}, "known: "), ({"sure": 2}, "from 0 to 1"),
     ({"among": [1, 2]}, "two codes"), ({"text": ""}, "text is ''")],
)  # fmt: skip
def test_languages_that_nobody_knows_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        cd.steps.CaptionLanguage(**wrong)
    assert said in str(caught.value)


@pytest.mark.skipif(importlib.util.find_spec("py3langid") is not None, reason="the extra is installed")
def test_without_its_library_the_step_says_what_to_install() -> None:
    with pytest.raises(UsageError, match=r"clipdata\[language\]"):
        cd.steps.CaptionLanguage()
