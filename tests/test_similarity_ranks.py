"""The pieces of a search beside the sums written out: the best rows met in batches, orders fused, words in texts."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import clipdata as cd
from clipdata.lance_io import rows
from clipdata.progress import Silent
from clipdata.schema import key_field
from clipdata.similarity.candidates import Best
from clipdata.similarity.ranks import Ranked, filled, fused
from clipdata.similarity.texts import by_reading
from clipdata.similarity.words import Words

SCORES = st.lists(st.tuples(st.integers(-5, 5), st.sampled_from([None, "a", "b", "c"])), max_size=40)


@settings(max_examples=100, deadline=None)
@given(
    SCORES,
    st.integers(1, 6),
    st.integers(1, 9),
    st.booleans(),
    st.sampled_from([None, 3]),
    st.sampled_from([None, "b"]),
)
def test_rows_met_in_batches_end_in_the_order_of_all_at_once(
    met, most, at_once, grouped, skips_row, skips_group
) -> None:
    best = Best(most, skips_row, skips_group)
    for start in range(0, len(met), at_once):
        part = met[start : start + at_once]
        group_N = np.empty(len(part), object)
        group_N[:] = [group for _, group in part]
        row_N = np.arange(start, start + len(part), dtype=np.uint64)
        best.meet(row_N, np.array([score for score, _ in part], float), group_N if grouped else None)

    expected: list[int] = []
    seen = set()
    for row in sorted(range(len(met)), key=lambda row: (-met[row][0], row)):
        group = met[row][1] if grouped else None
        if row == skips_row or (group is not None and (group in seen or group == skips_group)):
            continue
        seen.add(group)
        expected.append(row)
    assert best.row_K.tolist() == expected[:most]
    assert best.score_K.tolist() == [met[row][0] for row in expected[:most]]


def test_scores_that_are_no_numbers_do_not_count() -> None:
    best = Best(3)
    best.meet(np.arange(4, dtype=np.uint64), np.array([np.nan, 0.5, np.inf, -np.inf]))
    assert best.row_K.tolist() == [1]


@given(st.lists(st.permutations(range(8)).map(lambda order: order[:5]), min_size=1, max_size=3), st.integers(1, 9))
def test_orders_are_fused_by_their_reciprocal_ranks(orders, most) -> None:
    found = fused([np.array(order, np.uint64) for order in orders], most)
    scores = {
        row: sum(1 / (60 + order.index(row) + 1) for order in orders if row in order)
        for row in range(8)
        if any(row in order for order in orders)
    }
    assert sorted(found.score_K.tolist(), reverse=True) == pytest.approx(sorted(scores.values(), reverse=True)[:most])
    assert all(math.isclose(scores[row], score) for row, score in zip(found.row_K.tolist(), found.score_K, strict=True))


def test_more_candidates_are_asked_for_until_enough_of_them_count() -> None:
    asked: list[int] = []

    def rank(wanted: int) -> Ranked:
        asked.append(wanted)
        return Ranked(np.arange(min(wanted, 1000), dtype=np.uint64), np.zeros(min(wanted, 1000)))

    found, complete = filled(rank, lambda ranked: ranked.kept(ranked.row_K % 100 == 0), 3)
    assert (found.row_K.tolist(), complete) == ([0, 100, 200], True)
    found, complete = filled(rank, lambda ranked: ranked.kept(ranked.row_K > 990), 20)
    assert (len(found), complete) == (9, True)
    assert not filled(rank, lambda ranked: ranked.kept(ranked.row_K > 990), 20, limit=500)[1]
    assert max(asked) < 5000


WORDS = ["猫", "小猫", "小", "狗", "足球", "足球场", "red", "Reds", "house", "café", "dying", "skies", "ponies", "一"]


@settings(max_examples=8, deadline=None)
@given(
    st.lists(st.one_of(st.none(), st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join)), min_size=1, max_size=25),
    st.sampled_from([*WORDS, "cafe", "die", "sky", "pony", "小猫 red"]),
    st.booleans(),
)
def test_reading_every_text_finds_what_holds_a_word_by_bm25(tmp_path_factory, texts, query, as_lists) -> None:
    kind = pa.list_(pa.string()) if as_lists else pa.string()
    made = rows.create_table(
        tmp_path_factory.mktemp("texts") / "t.lance", pa.schema([key_field("path"), pa.field("caption", kind)])
    )
    held = [None if text is None else text.split(" ") if as_lists else text for text in texts]
    keys = [f"{n:03d}" for n in range(len(texts))]
    rows.upsert(made, pa.table({"path": keys, "caption": pa.array(held, kind)}))
    words = Words.of(query)

    counts = [words.counts([] if text is None else text.split(" ") if as_lists else [text]) for text in texts]
    lengths = [0 if text is None else len(text.replace(" ", "")) if as_lists else len(text) for text in texts]
    num, mean = sum(text is not None for text in texts), sum(lengths) / max(sum(text is not None for text in texts), 1)
    scores = {}
    for key, count, length in zip(keys, counts, lengths, strict=True):
        for word, times in count.items():
            n = sum(1 for other in counts if other[word])
            weight = math.log(1 + (num - n + 0.5) / (n + 0.5))
            share = times * 2.2 / (times + 1.2 * (0.25 + 0.75 * length / mean))
            scores[key] = scores.get(key, 0.0) + weight * share

    table = cd.open_table(made.uri)
    ranked, read = by_reading(table, "caption", words, 100, None, Silent())
    assert read == num
    found = dict(
        zip(table.take_ids(ranked.row_K, ["path"]).column(0).to_pylist(), ranked.score_K.tolist(), strict=True)
    )
    assert found == pytest.approx(scores)

    cd.index(table, "caption", queries=0)
    by_index = cd.search(table, words=query, words_column="caption", top=100)
    assert {hit.row for hit in by_index.answers[0].hits} == set(scores)


def test_a_table_is_searched_in_pieces_as_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    schema = pa.schema([key_field("path"), pa.field("v", pa.list_(pa.float32(), 4))])
    table = rows.create_table(tmp_path / "t.lance", schema)
    vector_ND = np.random.default_rng(0).integers(-2, 3, (500, 4)).astype(np.float32)
    held = pa.FixedSizeListArray.from_arrays(pa.array(vector_ND.reshape(-1)), 4)
    rows.upsert(table, pa.table({"path": [f"{n:03d}" for n in range(500)], "v": held}))

    whole = cd.search(table.uri, like="#7", column="v", top=50)
    monkeypatch.setattr("clipdata.similarity.vectors._BATCH_BYTES", 100)
    parts = cd.search(table.uri, like="#7", column="v", top=50)
    assert [round(hit.cosine, 5) for hit in parts.answers[0].hits] == [
        round(h.cosine, 5) for h in whole.answers[0].hits
    ]
    assert parts.ways == whole.ways
