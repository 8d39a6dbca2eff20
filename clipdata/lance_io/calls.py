"""Calls: the versions that one call of a verb made, told together, however many others wrote meanwhile.

A verb that writes in units closes with a commit that says which version was the newest before it began. The commits
since then that say nothing of themselves are its own; of two verbs at once, those of the one that ended first. A commit
that no verb closed stands by itself. It knows numbers and properties of versions, and reads none.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Sequence
from itertools import accumulate
from typing import Any, TypeVar

T = TypeVar("T", bound=Any)


def by_call(entries: Sequence[T]) -> list[list[T]]:
    """Entries of a history, ascending by version, with those of one call together; in the order in which calls ended.

    Args:
        entries: each with a `version`, and with `properties` that are None where its commit says nothing of itself.
    """
    closed = [entry for entry in entries if entry.properties is not None]
    numbers = [entry.version for entry in closed]
    firsts = [_first(entry) for entry in closed]
    earliest = list(accumulate(reversed(firsts), min))[::-1]  # of a closing commit and all behind it
    calls: dict[Hashable, list[T]] = {}
    for entry in entries:
        said = entry.properties
        if said is None:
            place = bisect_right(numbers, entry.version)
            # Most commits of other tools end here, without a look at each verb that came after them.
            while place < len(closed) and earliest[place] < entry.version <= firsts[place]:
                place += 1
            if place < len(closed) and firsts[place] < entry.version:
                said = closed[place].properties
        calls.setdefault(said.call if said is not None else entry.version, []).append(entry)
    return sorted(calls.values(), key=lambda commits: commits[-1].version)


def _first(entry: Any) -> int:
    """Newest version before the call that an entry closes; its own where it says of none."""
    first = entry.properties.first_version
    return int(first) if first is not None else int(entry.version)
