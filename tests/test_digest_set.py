"""Sets of digests, and rows by their keys."""

from __future__ import annotations

import numpy as np
import pytest

from ingest.updating.digest_set import NOWHERE, DigestSet, KnownRows


@pytest.mark.parametrize("seed", range(3))
def test_a_digest_set_holds_what_a_set_holds(seed: int) -> None:
    chance = np.random.default_rng(seed)
    digests, plain = DigestSet(), set[str]()
    for _ in range(40):
        texts = [str(number) for number in chance.integers(0, 3000, chance.integers(0, 200))]
        expected_new = [text not in plain and text not in texts[:place] for place, text in enumerate(texts)]
        assert digests.contains(texts).tolist() == [text in plain for text in texts]
        assert digests.add_new(texts).tolist() == expected_new
        plain |= set(texts)
        assert len(digests) == len(plain)


def test_a_digest_set_takes_few_bytes_a_text() -> None:
    digests = DigestSet()
    for start in range(0, 100_000, 4096):
        digests.add([f"a/rather/long/path/to/an/image/{number}.jpg" for number in range(start, start + 4096)])
    assert sum(run.nbytes for run in digests._runs) == 16 * len(digests)
    assert len(digests._runs) < 10


def test_known_rows_say_where_a_key_is_and_whether_its_content_is_the_same() -> None:
    rows = KnownRows(
        [(["b", "a"], ["1", "2"], ["/in/b", "/in/a"]), ([], [], []), (["c", "d"], [None, "4"], ["/other/c", None])],
        lambda place: place is not None and place.startswith("/in/"),
    )

    found = rows.find(["a", "b", "c", "x", "d"], ["2", "new", "", "1", "4"])

    assert len(rows) == 4
    assert found.places.tolist() == [1, 0, 2, NOWHERE, 3]
    assert found.is_same.tolist() == [True, False, False, False, False]
    assert found.is_foreign.tolist() == [False, False, True, False, True]
    assert rows.has_etag(0, "1")
    assert not rows.has_etag(0, "2")


def test_no_rows_know_no_key() -> None:
    found = KnownRows().find(["a"], ["1"])
    assert (found.places.tolist(), found.is_same.tolist(), found.is_foreign.tolist()) == ([NOWHERE], [False], [False])


@pytest.mark.parametrize("num", [1, 1000, 20_000])
def test_known_rows_find_every_row_of_a_table(num: int) -> None:
    keys = [f"folder/{number}.jpg" for number in range(num)]
    rows = KnownRows([(keys, keys, keys)])
    assert rows.find(keys, keys).places.tolist() == list(range(num))
    assert not rows.find([f"{key}x" for key in keys], keys).is_same.any()
