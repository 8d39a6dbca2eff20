"""Filters: conditions that mean what they say, thresholds that are exact, and what each of a list keeps."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import clipdata as cd
from clipdata import filters
from clipdata.errors import SchemaError, UsageError

NAN, INF = math.nan, math.inf


def table_of(folder: Path, **columns: Any) -> cd.Table:
    lance.write_dataset(pa.table(columns), str(folder / "t.lance"), mode="overwrite")
    return cd.open_table(folder / "t.lance")


@pytest.fixture(scope="module")
def curated(tmp_path_factory: pytest.TempPathFactory) -> cd.Table:
    """Eight rows with all that the recipes read."""
    figures = [(3, 20), (3, 20), (2, 9), (5, 40), (6, 30), (4, 5), (9, 60), None]
    captions = [None if f is None else dict(zip(("words", "characters"), f, strict=True)) for f in figures]
    kind = pa.struct([("words", pa.int32()), ("characters", pa.int32())])
    return table_of(
        tmp_path_factory.mktemp("curated"),
        clip_score=pa.array([0.31, 0.30, 0.29, 0.28, 0.27, NAN, None, 0.5], pa.float32()),
        caption=["a dog runs", "ein", "dog!!", "日本語の猫", "", None, "😀😀😀😀😀", "abcd"],
        bytes=pa.array([5000, 6000, 4999, 9000, 9000, 9000, 9000, 9000]),
        width=[200, 601, 300, 199, 600, 640, 640, 640],
        height=[600, 200, 300, 300, 200, 480, 480, 480],
        aesthetic=[5.0, 4.9, 6.5, None, 7, 8, 1, 5.1],
        caption_quality=pa.array(captions, kind),
        language=["en", "de", "en", "en", "en", "en", None, None],
        captions=pa.array([["a"]] * 8),
        balance=pa.array([{"kept": n % 2 == 0} for n in range(7)] + [None], pa.struct([("kept", pa.bool_())])),
    )


def rows_of(table: cd.Table, condition: str) -> list[int]:
    return [int(row) for row in table.offsets(condition)]


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    figures=st.lists(
        st.one_of(
            st.none(),
            st.floats(width=32),
            st.sampled_from([0.0, -0.0, 1.0, 0.3, NAN, INF, -INF]),
        ),
        max_size=30,
    ),
    share=st.floats(0.01, 1.0),
    kind=st.sampled_from([pa.float32(), pa.float64()]),
)
def test_the_top_share_holds_the_highest_figures_and_says_how_many_tie(
    tmp_path: Path, figures: list[float | None], share: float, kind: pa.DataType
) -> None:
    table = table_of(tmp_path, score=pa.array(figures, kind))
    ranked = sorted((v for v in figures if v is not None and not math.isnan(v)), reverse=True)
    if not ranked:
        with pytest.raises(UsageError, match="no row has a figure"):
            filters.top_share(table, "score", share)
        return
    wanted = max(1, math.floor(share * len(ranked) + 0.5))
    expected = [n for n, v in enumerate(figures) if v is not None and v >= ranked[wanted - 1]]

    kept = filters.top_share(table, "score", share)
    strict = filters.top_share(table, "score", share, ties="drop")

    assert rows_of(table, kept.condition) == expected
    assert kept.figures["kept"] == len(expected)
    assert len(rows_of(table, strict.condition)) == strict.figures["kept"] <= kept.figures["wanted"] == wanted


def test_whole_numbers_are_ranked_exactly_and_a_field_of_a_struct_is_a_column(tmp_path: Path) -> None:
    large = [2**53, 2**53 + 1, 2**53 + 2, None]
    struct = pa.array([{"blur": b} for b in (1.5, 80.0, 120.0, NAN)], pa.struct([("blur", pa.float32())]))
    unsigned = pa.array([2**64 - 1, 2**64 - 2, 0, 1], pa.uint64())
    halves = pa.array(np.array([0.28, 0.3, 0.1, 0.2], np.float16))
    table = table_of(
        tmp_path, **{"n": pa.array(large), "quality": struct, "u": unsigned, "h": halves, "Two Words": large}
    )

    assert rows_of(table, filters.top_share(table, "n", 1 / 3).condition) == [2]
    assert rows_of(table, filters.top_share(table, "n", 2 / 3).condition) == [1, 2]
    assert rows_of(table, filters.top_share(table, "u", 0.5).condition) == [0, 1]
    assert rows_of(table, filters.top_share(table, "h", 0.5).condition) == [0, 1]
    assert rows_of(table, filters.top_share(table, "Two Words", 1 / 3).condition) == [2]
    assert filters.at_least(table, "quality.blur", 100).condition == "quality.blur >= 100 AND NOT isnan(quality.blur)"
    assert rows_of(table, filters.at_least(table, "quality.blur", 80).condition) == [1, 2]
    assert rows_of(table, filters.at_most(table, "quality.blur", 80).condition) == [0, 1]


def test_ties_are_told(tmp_path: Path) -> None:
    table = table_of(tmp_path, score=[0.9, 0.5, 0.5, 0.5, 0.1])

    found = filters.top_share(table, "score", 0.4)

    expected = {"threshold": 0.5, "ranked": 5, "wanted": 2, "kept": 4, "at_the_threshold": 3}
    assert found.figures == expected
    assert "3 rows tie at the threshold and are all kept: 4 for 2 wanted" in str(found)
    assert filters.top_share(table, "score", 0.4, ties="drop").figures["kept"] == 1
    assert filters.top_share(table, "score", 0.5, where="score < 0.9").figures["ranked"] == 4


def test_the_published_recipes_keep_what_their_papers_say(curated: cd.Table) -> None:
    kept = {name: rows_of(curated, filters.all_of(make(curated))) for name, make in filters.RECIPES.items()}

    assert kept == {
        "laion-400m": [0],
        "laion-2b-en": [0, 3],
        "laion-aesthetics": [0, 2, 4, 5, 7],
        "datacomp-basic": [0, 4],
        "datacomp-clip-score": [0, 7],
        "metaclip": [0, 2, 4, 6],
    }
    for make in filters.RECIPES.values():
        assert all("arXiv" in one.source or "laion.ai" in one.source for one in make(curated))
    by_length = filters.laion_400m(curated, caption="caption_quality.characters")
    assert rows_of(curated, filters.all_of(by_length)) == [0, 1]


def test_a_funnel_counts_each_filter_alone_and_after_those_before_it(curated: cd.Table) -> None:
    found = cd.funnel(curated, [*filters.laion_400m(curated), "width >= 200"], where="height < 600")
    alone = [(stage.alone, stage.after, stage.unjudged) for stage in found.stages]

    assert (found.rows, found.kept) == (7, 0)
    assert alone == [(2, 2, 2), (3, 0, 1), (6, 0, 0), (6, 0, 0)]
    assert curated.count_rows(found.condition) == found.kept
    told = str(found)
    assert "2 (28.6%)" in told
    assert "clip_score >= 0.3: 2 rows have no value to judge, and are not kept" in told
    assert told.endswith("0 of 7 rows are kept (0.0%)")
    assert found.to_dict()["stages"][0]["filter"]["source"].startswith("LAION-400M")
    assert "<table>" in found._repr_html_()


def test_figures_that_are_nan_are_told_whether_a_filter_keeps_them_or_not(tmp_path: Path) -> None:
    quality = pa.array([{"sharp": n} for n in (NAN, 1.0, None, 3.0)], pa.struct([("sharp", pa.float32())]))
    table = table_of(tmp_path, score=[0.1, NAN, 0.9, None], quality=quality, note=["score", "b", "c", "d"])
    asked = ["score > 0.5", "at_least(score, 0.5)", "quality.sharp > 2", "`quality`.sharp <= 2", "note = 'score'"]
    found = cd.curate(table, asked).funnel

    assert [(stage.alone, stage.unjudged, stage.kept_nan) for stage in found.stages] == [
        (2, 1, 1),
        (1, 2, 0),
        (2, 1, 1),
        (1, 2, 0),
        (1, 0, 0),
    ]
    assert "score > 0.5: 1 row is kept whose figure is NaN, which SQL takes for the greatest" in str(found)
    assert "`quality`.sharp <= 2: 2 rows have no value to judge, and are not kept" in str(found)
    assert "NaN" not in str(cd.funnel(table, "isnan(score)"))


def test_an_empty_table_goes_through_a_funnel(tmp_path: Path) -> None:
    table = table_of(tmp_path, score=pa.array([], pa.float32()))

    assert cd.funnel(table, ["score > 1"]).to_dict()["kept"] == 0
    assert "0 of 0 rows are kept (–)" in str(cd.funnel(table, "score > 1"))


def test_filters_are_read_the_way_they_are_written_in_python(curated: cd.Table) -> None:
    def kept(text: str) -> list[int]:
        return rows_of(curated, filters.all_of(filters.read_filters(curated, text)))

    assert kept("laion-400m") == kept("laion_400m()") == [0]
    assert kept("laion-aesthetics(least=6.5)") == [2, 4, 5]
    assert kept("top_share(clip_score, 0.5)") == kept("top_share('clip_score', share=0.5)") == [0, 1, 7]
    assert kept("at_least(caption_quality.words, 5)") == [3, 4, 6]
    assert kept(" width > 600 ") == [1, 5, 6, 7]
    assert kept("regexp_like(caption, '^a')") == [0, 7]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda t: filters.top_share(t, "clip_score", 0), "share is 0"),
        (lambda t: filters.top_share(t, "clip_score", 30), "at most 1"),
        (lambda t: filters.top_share(t, "clip_score", True), "share is True"),
        (lambda t: filters.top_share(t, "clip_score", 0.3, ties="some"), "ties is 'some'"),
        (lambda t: filters.top_share(t, "clip_score", 0.3, where=" "), "expected an SQL condition"),
        (lambda t: filters.top_share(t, "clip_scores", 0.3), "did you mean clip_score"),
        (lambda t: filters.top_share(t, "caption", 0.3), "holds string; expected numbers"),
        (lambda t: filters.top_share(t, "captions", 0.3), "expected numbers"),
        (lambda t: filters.top_share(t, "caption_quality", 0.3), "caption_quality.words"),
        (lambda t: filters.top_share(t, "caption_quality.word", 0.3), "has no field 'word'; its fields are words"),
        (lambda t: filters.top_share(t, "caption.words", 0.3), "which has no fields"),
        (lambda t: filters.top_share(t, 3, 0.3), "is no name of a column"),
        (lambda t: filters.at_least(t, "clip_score", "0.3"), "expected a number"),
        (lambda t: filters.at_least(t, "clip_score", NAN), "expected a number"),
        (lambda t: filters.laion_400m(t, clip_score="cosine"), "pair-score cosine"),
        (lambda t: filters.laion_400m(t, caption="captions"), "caption_quality.characters"),
        (lambda t: filters.datacomp_basic(t, captions="quality"), "caption-quality quality"),
        (lambda t: filters.metaclip(t, kept="balanced.kept"), "concept-balance"),
        (lambda t: filters.all_of([]), "no filter"),
        (lambda t: filters.Filter("", "x > 1"), "name is ''"),
        (lambda t: filters.funnel(t, []), "no filter was given"),
        (lambda t: filters.funnel(t, [3]), "3 is no filter"),
        (lambda t: filters.funnel(t, ["widht > 3"]), "filter 'widht > 3'"),
        (lambda t: filters.read_filters(t, ""), "laion-400m"),
        (lambda t: filters.read_filters(t, "laion400m"), "did you mean laion-400m"),
        (lambda t: filters.read_filters(t, "laion_400m(least=3)"), "laion_400m takes clip_score, caption, size"),
        (lambda t: filters.read_filters(t, "top_share(clip_score, 1 + x)"), "cannot be read"),
        (lambda t: filters.read_filters(t, "top_share(clip_score, 0.3)(2)"), "cannot be read"),
    ],
)
def test_wrong_filters_say_what_is_wrong_and_what_would_do(curated: cd.Table, make: Any, said: str) -> None:
    with pytest.raises((UsageError, SchemaError)) as caught:
        make(curated)

    assert said in str(caught.value)
