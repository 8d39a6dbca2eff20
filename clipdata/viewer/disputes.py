"""Disputes: a decision on a row that somebody else decided otherwise, or removed, since the page looked at it.

One rule for when a decision is taken and when it is written. It knows versions of a table, and nothing of HTTP.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from clipdata.errors import NotFoundError
from clipdata.lance_io.history import Version, log
from clipdata.lance_io.table import Table
from clipdata.printable import printable
from clipdata.viewer.decisions import UNDECIDED, decided_in
from clipdata.viewer.finding import is_one_of

_MOST_LOOKED_AT, _MOST_LISTED, _MOST_TOLD = 10, 1000, 5


@dataclass(frozen=True)
class Taken:
    """A decision on one row.

    Args:
        value: what was decided.
        page: that it came from.
        version: of the table that the page showed.
        at: when, UTC.
        over: what others decided and this one may take the place of, since the person was asked.
    """

    value: str
    page: str
    version: int
    at: datetime
    over: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Dispute:
    """A decision that waits for somebody to say which of two stands.

    Args:
        key: of the row.
        mine: the decision that is held back.
        theirs: what was decided otherwise; None where the row is gone.
        by: who that was.
        version: of the table since which theirs stands; None where it is on its way there.
        at: when that was, UTC.
    """

    key: Any
    mine: Taken
    theirs: str | None
    by: str
    version: int | None
    at: datetime | None

    def __str__(self) -> str:
        since = f", version {self.version}" if self.version is not None else ""
        when = f", {self.at.astimezone():%Y-%m-%d %H:%M:%S}" if self.at is not None else ""
        if self.theirs is None:
            return printable(f"{self.key} is gone since{since.removeprefix(',')}{when}")
        found = f"“{self.theirs}”" if self.theirs != UNDECIDED else "without a decision"
        return printable(f"{self.key} is {found} ({self.by}{since}{when}), not “{self.mine.value}”")


def told(disputes: Iterable[Dispute], column: str) -> dict[str, Any]:
    """JSON values: how many there are, the first few in words, and how many may be written all the same."""
    listed = list(disputes)
    return {
        "num": len(listed),
        "column": column,
        "lines": [str(one) for one in listed[:_MOST_TOLD]],
        "num_over": sum(one.theirs is not None for one in listed),
    }


def disputes_of(
    newest: Table, key: str, column: str, taken: Mapping[Any, Taken], written: Mapping[Any, Taken]
) -> list[Dispute]:
    """Decisions on rows that are decided otherwise at the newest version than at the one that was looked at.

    Args:
        newest: what they would be written to.
        key: column that tells rows apart.
        column: of decisions.
        taken: the decisions, by key.
        written: the last decisions that this viewer wrote, by key: a page is not told of its own.
    """
    taken = {name: one for name, one in taken.items() if one.version != newest.version}
    if not taken:
        return []
    now, seen = decided_in(newest, key, column), _seen(newest, key, column, taken.values())
    found = []
    for name, one in taken.items():
        stands, own = now.get(name, UNDECIDED), written.get(name)
        if stands in (seen[one.version].get(name, UNDECIDED), one.value, *one.over):
            continue
        is_ours = own is not None and own.value == stands
        if is_ours and own is not None and own.page == one.page:
            continue
        by = "another page of this viewer" if is_ours else "another viewer, or a command"
        found.append(Dispute(name, one, stands, by, None, own.at if is_ours and own is not None else None))
    gone = _gone(newest, key, taken)
    return _dated(newest, key, column, [one for one in found if one.key not in gone]) + [
        Dispute(name, taken[name], None, "", newest.version, None) for name in taken if name in gone
    ]


def _seen(newest: Table, key: str, column: str, taken: Iterable[Taken]) -> dict[int, dict[Any, str]]:
    """What was decided at each version that was looked at; nothing, of one that was cleaned up since."""
    seen: dict[int, dict[Any, str]] = {}
    for version in {one.version for one in taken}:
        try:
            seen[version] = decided_in(newest.pinned(version), key, column)
        except NotFoundError:
            seen[version] = {}
    return seen


def _gone(newest: Table, key: str, taken: Mapping[Any, Taken]) -> set[Any]:
    where = is_one_of(key, list(taken)) if len(taken) <= _MOST_LISTED else None
    return set(taken).difference(newest.to_table([key], where=where).column(0).to_pylist())


def _dated(newest: Table, key: str, column: str, found: list[Dispute]) -> list[Dispute]:
    """The same with the versions since which theirs stand, as far as the last writes of the column tell."""
    if not found:
        return []
    since: dict[Any, Version] = {}
    open_, first = {one.key: one.theirs for one in found}, min(one.mine.version for one in found)
    for entry in [entry for entry in reversed(log(newest)) if entry.version > first][:_MOST_LOOKED_AT]:
        said = entry.properties
        if said is None or said.parameters.get("column") != column or entry.version > newest.version:
            continue
        then = decided_in(newest.pinned(entry.version), key, column)
        open_ = {name: theirs for name, theirs in open_.items() if then.get(name, UNDECIDED) == theirs}
        since |= dict.fromkeys(open_, entry)
    return [
        Dispute(one.key, one.mine, one.theirs, one.by, since[one.key].version, since[one.key].when.astimezone(UTC))
        if one.key in since
        else one
        for one in found
    ]
