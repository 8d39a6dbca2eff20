"""The checker of histories, on histories written by hand: it accepts what may happen and names what may not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.faults.history_check import anomalies
from tests.faults.history_records import OFFSETS, History, Operation, State

A = OFFSETS["A"]


def _write(key: str, number: int = 1, **how: Any) -> Operation:
    return Operation(**{"id": "p0-1", "process": 0, "kind": "write", "start": 1, "rows": {key: number}, **how})


EMPTY = State(rows=[])
HELD = State(rows=[("a", 1, None)])
DONE = _write("a", outcome="ok", end=2)


def test_an_acknowledged_write_that_shows_is_well() -> None:
    assert anomalies(History([DONE], {1: EMPTY, 2: HELD, 3: HELD})) == []


@pytest.mark.parametrize("states", [{1: EMPTY, 2: HELD}, {1: EMPTY, 2: EMPTY}])
def test_an_unknown_write_may_show_or_not(states: dict[int, State]) -> None:
    assert anomalies(History([_write("a")], states)) == []


def _history(*operations: Operation, **states: State) -> History:
    return History(operations, {int(name.removeprefix("v")): state for name, state in states.items()})


FILLED = State(rows=[("a", 1, 1 + A)], step="A", mark="m")
CASES: dict[str, tuple[str, History]] = {
    "an acknowledged write never shows": ("lost", _history(DONE, v1=EMPTY, v2=EMPTY)),
    "an acknowledged write goes again": ("unexplained: version 3: a lost", _history(DONE, v1=EMPTY, v2=HELD, v3=EMPTY)),
    "a failed write shows": ("failed asked", _history(_write("a", outcome="fail", end=2), v1=EMPTY, v2=HELD)),
    "nobody wrote a row": ("nobody did it", _history(v1=EMPTY, v2=HELD)),
    "a write shows after its answer": ("unexplained", _history(DONE, v1=EMPTY, v2=EMPTY, v3=HELD)),
    "a row is there twice": ("doubled", _history(DONE, v1=EMPTY, v2=State(rows=[("a", 1, None)] * 2))),
    "a number changed by itself": ("became 5", _history(DONE, v1=EMPTY, v2=HELD, v3=State(rows=[("a", 5, None)]))),
    "a cell is of another step": ("wrong cell", _history(DONE, v1=EMPTY, v2=replace(FILLED, step="B"))),
    "a cell is of another number": (
        "wrong cell",
        _history(DONE, v1=EMPTY, v2=State(rows=[("a", 1, 2 + A)], step="A", mark="m")),
    ),
    "a delete does not show": (
        "lost",
        _history(
            DONE,
            Operation("p0-2", 0, "delete", 2, "ok", 3, rows={"a": 0}),
            v1=EMPTY,
            v2=HELD,
            v3=HELD,
        ),
    ),
    "a deleted row comes back": (
        "appeared",
        _history(
            DONE,
            Operation("p0-2", 0, "delete", 2, "ok", 3, rows={"a": 0}),
            v1=EMPTY,
            v2=HELD,
            v3=EMPTY,
            v4=HELD,
        ),
    ),
    "a map leaves a row out": (
        "mapped",
        _history(
            DONE,
            Operation("p0-2", 0, "map", 2, "ok", 3, step="A"),
            v1=EMPTY,
            v2=HELD,
            v3=State(rows=[("a", 1, None)], step="A", mark="m"),
        ),
    ),
    "one commit makes two versions": (
        "landed twice",
        _history(DONE, v1=EMPTY, v2=replace(HELD, commit="x"), v3=replace(HELD, commit="x")),
    ),
    "a restore is another version": (
        "is not version 2",
        _history(
            DONE,
            Operation("p0-2", 0, "restore", 2, "ok", 3, to=2),
            v1=EMPTY,
            v2=HELD,
            v3=State(rows=[], verb="restore", restored=2),
        ),
    ),
    "nobody asked for a restore": (
        "nobody asked",
        _history(DONE, v1=EMPTY, v2=HELD, v3=replace(HELD, verb="restore", restored=2)),
    ),
    "a process sees an older version": (
        "went back",
        _history(DONE, Operation("p0-2", 0, "compact", 1, "ok", 2), v1=EMPTY, v2=HELD),
    ),
    "a tag names another version": (
        "tag",
        History(
            [DONE, Operation("p0-2", 0, "tag", 2, "ok", 2, to=2, name="t")], {1: EMPTY, 2: HELD}, {"t": 1}
        ),
    ),
    "a tagged version is gone": (
        "cannot be read",
        History([DONE, Operation("p0-2", 0, "tag", 2, "ok", 2, to=5, name="t")], {1: EMPTY, 2: HELD}, {"t": 5}),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_no_correct_table_does_is_named(case: str) -> None:
    expected, history = CASES[case]

    found = anomalies(history)

    assert any(expected in one for one in found), found


def test_a_restore_takes_acknowledged_rows_away_and_gives_them_back() -> None:
    back = Operation("p0-2", 0, "restore", 2, "ok", 3, to=1)
    again = Operation("p0-3", 0, "restore", 3, "ok", 4, to=2)
    states = {
        1: EMPTY,
        2: HELD,
        3: State(rows=[], verb="restore", restored=1),
        4: replace(HELD, verb="restore", restored=2),
    }
    assert anomalies(History([DONE, back, again], states)) == []


def test_a_restore_of_what_was_there_already_makes_no_version_whatever_others_write_meanwhile() -> None:
    restored = Operation(id="p1-1", process=1, kind="restore", start=3, outcome="ok", end=5, to=2)
    others = replace(DONE, start=1, end=2)
    late = _write("b", 4, id="p0-2", outcome="ok", start=3, end=4)
    both = State(rows=[("a", 1, None), ("b", 4, None)])
    states = {1: EMPTY, 2: HELD, 3: HELD, 4: both, 5: both}

    assert anomalies(History([others, restored, late], states)) == []

    never = replace(restored, start=4)
    assert any(
        "restored version 2, and no version is it" in said for said in anomalies(History([others, never, late], states))
    )
