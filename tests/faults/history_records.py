"""What a history is made of: what processes asked for and were told, and what every version of the table held.

It knows neither tables nor processes, so that a history can be written by hand.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

Outcome = Literal["ok", "fail", "unknown"]
OFFSETS = {"A": 1_000_000, "B": 2_000_000}
"""What a step adds to a row's number, by the version of the step."""


@dataclass(frozen=True)
class Operation:
    """One call of a verb.

    Args:
        id: unique in the history.
        process: that called.
        kind: "write", "delete", "map", "overwrite", "compact", "clean", "tag" or "restore".
        start: newest version when it was called.
        outcome: what the caller was told; "unknown" where it was killed before.
        end: newest version when it returned; None where it did not.
        rows: of a write: key → number. Of a delete: key → 0.
        step: of a map and an overwrite: the step's version.
        to: of a restore and a tag: the version.
        name: of a tag.
    """

    id: str
    process: int
    kind: str
    start: int
    outcome: Outcome = "unknown"
    end: int | None = None
    rows: Mapping[str, int] = field(default_factory=dict)
    step: str = ""
    to: int | None = None
    name: str = ""

    def may_act_in(self, version: int) -> bool:
        """Whether a version may be this operation's work."""
        return self.outcome != "fail" and self.start < version and (self.end is None or version <= self.end)


@dataclass(frozen=True)
class State:
    """What one version held.

    Args:
        rows: (key, number, derived value) of every row.
        step: version of the step whose lineage the derived column has; "" where there is no such column.
        mark: of the derived column, another one each time that it is made anew.
        verb: that made the version, where it says so.
        commit: id of the commit, where it has one.
        restored: version that a restore came back to.
    """

    rows: Sequence[tuple[str, int, int | None]]
    step: str = ""
    mark: str = ""
    verb: str = ""
    commit: str = ""
    restored: int | None = None

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Key → number."""
        return {key: number for key, number, _ in self.rows}


@dataclass(frozen=True)
class History:
    """All that happened to one table.

    Args:
        operations: in any order.
        states: of the versions that could be read, by their number.
        tags: name → version, at the end.
    """

    operations: Sequence[Operation]
    states: Mapping[int, State]
    tags: Mapping[str, int] = field(default_factory=dict)


def read_operations(logs: Iterable[Path]) -> list[Operation]:
    """Operations from the logs of processes; one that has no outcome there is unknown."""
    found: dict[str, Operation] = {}
    for log in logs:
        for line in log.read_text().splitlines():
            told: dict[str, Any] = json.loads(line)
            known = asdict(found[told["id"]]) if told["id"] in found else {}
            found[told["id"]] = Operation(**{**known, **told})
    return list(found.values())
