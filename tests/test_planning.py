"""Planning of what an ingest reads."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from ingest.updating.planning import DigestSet, Spool, missing, plan_rows
from ingest.updating.source import Item, Reject


def item(number: int, etag: str = "1") -> Item:
    return Item(f"{number}.jpg", etag, 10, f"/in/{number}.jpg", {"mtime": number})


@dataclass(frozen=True)
class Alive(Item):
    lock: Any = field(default_factory=threading.Lock)


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


@pytest.mark.parametrize("num", [0, 1, 4096, 4097, 30_000])
def test_a_spool_gives_the_items_back_as_often_as_one_asks(num: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.updating.planning.ITEMS_IN_MEMORY", 8192)
    items = [item(number) for number in range(num)]
    spool = Spool()
    for one in items:
        spool.append(one)

    assert len(spool) == num
    assert list(spool) == items
    assert [one.key for one in spool] == [one.key for one in items]
    assert sum(isinstance(chunk, int) for chunk in spool._chunks) == max(num // 4096 - 2, 0)


def test_items_that_cannot_be_written_down_stay_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.updating.planning.ITEMS_IN_MEMORY", 0)
    spool = Spool()
    for number in range(5000):
        spool.append(Alive(str(number), "1", 10, "/in"))
    assert [one.key for one in spool] == [str(number) for number in range(5000)]


def test_key_and_etag_decide_what_is_read() -> None:
    refused: list[Reject] = []
    listing = [item(1), item(2, "new"), item(3), item(4), item(1), item(5, "9"), item(3)]
    known: list[tuple[list[str], list[Any]]] = [
        (["1.jpg", "2.jpg"], ["1", "old"]),
        ([], []),
        (["3.jpg", "6.jpg"], ["1", None]),
    ]

    plan = plan_rows(listing, known, {"4.jpg": "1", "5.jpg": "8"}, refused.append)

    assert [one.key for one in plan.todo] == ["2.jpg", "5.jpg"]
    assert (plan.listed, plan.unchanged, plan.refused_before) == (7, 2, 1)
    assert [(reject.key, reject.reason) for reject in refused] == [
        ("1.jpg", "duplicate_key"),
        ("3.jpg", "duplicate_key"),
    ]


def test_what_is_missing_is_told_of_the_sources_own_rows_alone() -> None:
    plan = plan_rows([item(1)], [], {}, lambda _: None)
    rows: list[tuple[list[str], list[Any]]] = [
        (["1.jpg", "2.jpg", "3.jpg"], ["/in/1.jpg", "/in/2.jpg", "/elsewhere/3.jpg"]),
        (["4.jpg"], [None]),
    ]

    assert missing(rows, plan.keys, lambda where: (where or "").startswith("/in/")) == ["2.jpg"]
