"""Items that wait to be read."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import pytest

from ingest.updating.source import Item
from ingest.updating.spool import Spool


def item(number: int, etag: str = "1") -> Item:
    return Item(f"{number}.jpg", etag, 10, f"/in/{number}.jpg", {"mtime": number})


@dataclass(frozen=True)
class Alive(Item):
    lock: Any = field(default_factory=threading.Lock)


@pytest.mark.parametrize("num", [0, 1, 4096, 4097, 30_000])
def test_a_spool_gives_the_items_back_as_often_as_one_asks(num: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.updating.spool.ITEMS_IN_MEMORY", 8192)
    items = [item(number) for number in range(num)]
    spool = Spool()
    for one in items:
        spool.append(one)

    assert len(spool) == num
    assert list(spool) == items
    assert [one.key for one in spool] == [one.key for one in items]
    assert sum(isinstance(chunk, int) for chunk in spool._chunks) == max(num // 4096 - 2, 0)


def test_items_that_cannot_be_written_down_stay_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.updating.spool.ITEMS_IN_MEMORY", 0)
    spool = Spool()
    for number in range(5000):
        spool.append(Alive(str(number), "1", 10, "/in"))
    assert [one.key for one in spool] == [str(number) for number in range(5000)]
