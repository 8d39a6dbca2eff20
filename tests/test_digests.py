"""Digests of rows."""

from __future__ import annotations

from collections import Counter as Tally

import pyarrow as pa
import pytest

from ingest.updating.digests import all_numbered, digest, numbered, row_digests


def test_a_digest_depends_on_content_and_not_on_the_order_of_columns() -> None:
    first = pa.RecordBatch.from_pydict({"a": [1, 2, 1], "b": [["x"], None, ["x"]]})
    turned = first.select(["b", "a"])

    assert row_digests(first) == row_digests(turned)
    assert row_digests(first)[0] == row_digests(first)[2] != row_digests(first)[1]
    assert row_digests(first, salt="file") != row_digests(first)


def test_digests_stay_the_same_from_release_to_release() -> None:
    batch = pa.RecordBatch.from_pydict({"name": ["café"], "bytes": [b"\xff\x00"], "share": [0.1], "none": [None]})

    assert row_digests(batch, salt="meta.parquet") == ["595d693eafdd16567b4cdf76fda32e85"]
    assert digest("a", "b") != digest("ab")


@pytest.mark.parametrize(
    "letters", ["", "a", "aaa", "abcabca", "bbaab"], ids=["nothing", "one", "all equal", "several equal", "neighbours"]
)
def test_equal_rows_are_told_apart_in_the_same_way_batch_by_batch_and_all_at_once(letters: str) -> None:
    plain = [digest(letter) for letter in letters]
    counts: Tally[bytes] = Tally()

    by_batch = [*numbered(plain[:2], counts), *numbered(plain[2:], counts)]
    at_once = all_numbered(pa.chunked_array([plain[:3], plain[3:]], pa.string()))

    assert at_once.to_pylist() == by_batch
    assert len(set(by_batch)) == len(letters)
    assert [name[:32] for name in by_batch] == plain
