"""Versions of one call of a verb are told together, at a cost that grows with the versions alone."""

from __future__ import annotations

import random
from collections.abc import Hashable, Sequence

import pytest

from clipdata.lance_io.calls import by_call
from clipdata.lance_io.history import Properties


class Entry:
    """A version of a history, which counts how often anybody looks at what it says of itself."""

    num_looks = 0

    def __init__(self, version: int, said: Properties | None) -> None:
        self.version, self._said = version, said

    @property
    def properties(self) -> Properties | None:
        Entry.num_looks += 1
        return self._said


def plainly(entries: Sequence[Entry]) -> list[list[int]]:
    """The same, by looking at every closing commit for every other one."""
    calls: dict[Hashable, list[int]] = {}
    closed = [(one.version, one.properties) for one in entries if one.properties is not None]
    for entry in entries:
        said = entry.properties or next(
            (p for version, p in closed if p.first_version is not None and p.first_version < entry.version < version),
            None,
        )
        calls.setdefault(said.call if said else entry.version, []).append(entry.version)
    return sorted(calls.values(), key=lambda commits: commits[-1])


@pytest.mark.parametrize("seed", range(40))
def test_any_history_is_told_as_by_looking_at_all_of_it(seed: int) -> None:
    drawn = random.Random(seed)
    entries = []
    for version in range(1, 60):
        first = drawn.choice([None, max(version - drawn.randrange(1, 20), 0)])
        entries.append(Entry(version, Properties("ingest", first_version=first) if drawn.random() < 0.4 else None))

    assert [[one.version for one in commits] for commits in by_call(entries)] == plainly(entries)


def test_commits_of_other_tools_are_not_compared_with_every_verb() -> None:
    entries = [Entry(n, Properties("delete", first_version=n - 1) if n % 2 else None) for n in range(1, 4001)]
    Entry.num_looks = 0

    assert len(by_call(entries)) == 4000
    assert Entry.num_looks < 10 * len(entries)
