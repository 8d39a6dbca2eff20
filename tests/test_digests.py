"""Digests of rows."""

from __future__ import annotations

import decimal
from collections import Counter as Tally
from datetime import date

import numpy as np
import pyarrow as pa
import pytest

from ingest.updating.digests import canonical_texts, digest, digests_of_rows, numbered, numbers_among_equal, row_digests

TEXTS, NUMBERS = ["a", None, "b"], [1, None, 3]
LISTS = [["a", None], None, ["b", "c"]]
STRUCTS = [{"x": 1, "y": None}, None, {"x": None, "y": "z"}]
NS = 1_577_836_800_123_000_000


def test_a_digest_depends_on_content_and_not_on_the_order_of_columns() -> None:
    first = pa.RecordBatch.from_pydict({"a": [1, 2, 1], "b": [["x"], None, ["x"]]})
    turned = first.select(["b", "a"])

    assert row_digests(first) == row_digests(turned)
    assert row_digests(first)[0] == row_digests(first)[2] != row_digests(first)[1]
    assert row_digests(first, salt="file") != row_digests(first)


def test_digests_stay_the_same_from_release_to_release() -> None:
    batch = pa.RecordBatch.from_pydict({"name": ["café"], "bytes": [b"\xff\x00"], "share": [0.1], "none": [None]})

    assert row_digests(batch, salt="meta.parquet") == ["0db64a9db9b6dfa4994e881ae3aeacdf"]
    assert digest("a", "b") != digest("ab")


def test_a_new_column_that_is_null_everywhere_changes_no_digest() -> None:
    before = pa.RecordBatch.from_pydict({"name": ["a", "b"], "about": [{"x": 1}, None]})
    nested = pa.array([{"x": 1, "new": None}, None], pa.struct([("new", pa.string()), ("x", pa.int64())]))
    after = pa.RecordBatch.from_pydict({"name": ["a", "b"], "about": nested, "note": pa.nulls(2, pa.float64())})

    assert row_digests(after) == row_digests(before)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pa.array(NUMBERS, pa.int32()), pa.array(NUMBERS, pa.int64())),
        (pa.array(NUMBERS, pa.int64()), pa.array([1.0, None, 3.0])),
        (pa.array([0.5, float("nan"), -0.0], pa.float32()), pa.array([0.5, -float("nan"), 0.0])),
        (pa.array(TEXTS), pa.array(TEXTS, pa.large_string())),
        (pa.array(TEXTS), pa.array(TEXTS).cast(pa.string_view())),
        (pa.array(TEXTS), pa.array(TEXTS).dictionary_encode()),
        (pa.array([b"x", None]), pa.array([b"x", None], pa.large_binary())),
        (pa.array(LISTS), pa.array(LISTS, pa.large_list(pa.large_string()))),
        (pa.array(LISTS), pa.array(LISTS, pa.list_(pa.string(), 2))),
        (pa.array(LISTS), pa.array(LISTS, pa.list_view(pa.string()))),
        (pa.array(STRUCTS), pa.array(STRUCTS, pa.struct([("y", pa.string()), ("x", pa.float64())]))),
        (pa.array([NS // 10**6, None], pa.timestamp("ms")), pa.array([NS, None], pa.timestamp("ns"))),
        (
            pa.array([NS // 10**9, None], pa.timestamp("s", "UTC")),
            pa.array([NS // 10**9 * 10**6, None], pa.timestamp("us", "Asia/Tokyo")),
        ),
        (pa.array([1, None], pa.duration("s")), pa.array([1000, None], pa.duration("ms"))),
        (pa.array([1, None], pa.time32("s")), pa.array([1_000_000, None], pa.time64("us"))),
        (pa.array([date(2020, 1, 2), None], pa.date32()), pa.array([date(2020, 1, 2), None], pa.date64())),
        (pa.array([decimal.Decimal("1.50"), None]), pa.array([decimal.Decimal("1.5000"), None])),
        (
            pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int8())),
            pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64())),
        ),
    ],
    ids=lambda values: str(values.type),
)
def test_the_same_content_in_another_type_has_the_same_digest(one: pa.Array, other: pa.Array) -> None:
    texts = canonical_texts(one)

    assert texts.equals(canonical_texts(other))
    assert texts.is_null().equals(one.is_null())
    assert canonical_texts(one.slice(1)).equals(texts.slice(1))


def test_different_contents_have_different_digests() -> None:
    contents = [
        pa.array(["1"]), pa.array([1]), pa.array([1.5]), pa.array([True]), pa.array([float("nan")]), pa.array([b"1"]),
        pa.array([""]), pa.array(["null"]), pa.array([["1"]]), pa.array([["1", None]]), pa.array([[None, "1"]]),
        pa.array([["1", ""]]), pa.array([["", "1"]]), pa.array([[["1"]]]), pa.array([[]], pa.list_(pa.string())),
        pa.array(["2:s1"]), pa.array([["1", "1"]]), pa.array([["11"]]), pa.array([{"x": "1"}]), pa.array([{"y": "1"}]),
        pa.array([1], pa.timestamp("us")), pa.array([1], pa.timestamp("ns")), pa.array([1], pa.timestamp("us", "UTC")),
        pa.array([1], pa.date32()), pa.array([1], pa.duration("s")), pa.array([None], pa.string()),
    ]  # fmt: skip
    digests = {row_digests(pa.record_batch([values], names=["c"]))[0] for values in contents}

    assert len(digests) == len(contents)
    assert row_digests(pa.RecordBatch.from_pydict({"a": ["xb"], "b": ["y"]})) != row_digests(
        pa.RecordBatch.from_pydict({"a": ["x"], "b": ["by"]})
    )


def test_it_does_not_matter_in_which_batches_rows_come() -> None:
    table = pa.table({"a": TEXTS * 5, "b": LISTS * 5, "c": NUMBERS * 5})
    whole = digests_of_rows(table)

    parts = [digests_of_rows(batch) for batch in table.to_batches(max_chunksize=4)]

    assert np.array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize(
    "letters", ["", "a", "aaa", "abcabca", "bbaab"], ids=["nothing", "one", "all equal", "several equal", "neighbours"]
)
def test_equal_rows_are_told_apart_in_the_same_way_batch_by_batch_and_all_at_once(letters: str) -> None:
    plain = [digest(letter) for letter in letters]
    counts: Tally[bytes] = Tally()

    by_batch = [*numbered(plain[:2], counts), *numbered(plain[2:], counts)]
    packed = np.frombuffer(bytes.fromhex("".join(plain)), np.uint8).reshape(-1, 16)
    at_once = numbers_among_equal(packed).tolist()

    assert [f"{name}-{number}" if number else name for name, number in zip(plain, at_once, strict=True)] == by_batch
    assert len(set(by_batch)) == len(letters)
