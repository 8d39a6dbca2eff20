"""Bars: long work as it is shown at a terminal, in a log and in a notebook."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import clipdata as cd
from clipdata.bars import progress_bar
from clipdata.progress import pace
from tests.tables import number_table


class TerminalScreen(io.StringIO):
    """Takes what is drawn."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """A clock that goes on when it is told to."""
    now_s = [100.0]
    monkeypatch.setattr("clipdata.bars.time.monotonic", lambda: now_s[0])

    def go_on(seconds: float) -> None:
        now_s[0] += seconds

    return go_on


def test_progress_is_a_line_now_and_then_with_rate_and_refusals(
    capsys: pytest.CaptureFixture[str], wait: Callable[[float], None]
) -> None:
    with progress_bar().task("ingest images", 4000, "items") as counter:
        for _ in range(4):
            wait(6)
            counter.advance(900)
            counter.refuse("truncated", 25)

    assert capsys.readouterr().err.splitlines() == [
        "ingest images: 1,800 of 4,000 items, 150 items/s, 25 refused",
        "ingest images: 3,600 of 4,000 items, 150 items/s, 75 refused",
    ]


def test_the_last_line_says_where_it_ended_and_is_not_said_twice(
    capsys: pytest.CaptureFixture[str], wait: Callable[[float], None]
) -> None:
    with progress_bar().task("map", 100) as counter:
        wait(11)
        counter.advance(60)
        wait(2)
        counter.advance(40)
    with progress_bar().task("map", 50) as counter:
        wait(11)
        counter.advance(50)

    said = capsys.readouterr().err.splitlines()
    assert said == [
        "map: 60 of 100 rows, 5.5 rows/s",
        "map: 100 of 100 rows, 7.7 rows/s",
        "map: 50 of 50 rows, 4.5 rows/s",
    ]


def test_work_that_is_done_at_once_needs_no_line(
    capsys: pytest.CaptureFixture[str], wait: Callable[[float], None]
) -> None:
    progress = progress_bar()
    with progress.task("map", 10) as counter:
        counter.advance(10)
    with progress.task("map", 0) as counter:
        wait(30)

    assert capsys.readouterr() == ("", "")


def test_at_a_terminal_works_inside_another_and_names_are_shown_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = TerminalScreen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    progress = progress_bar()

    with progress.task("map [red]", 10) as outer:
        with progress.task("read", 5, "files") as inner:
            inner.advance(5)
            inner.refuse("truncated", 2)
            progress.say("a picture is called [bold]x.jpg")
        outer.advance(10)

    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    for words in ("map [red]", "10/10", "5/5", "2 refused", "[bold]x.jpg"):
        assert words in shown


def test_at_a_terminal_the_bar_is_there_before_the_first_of_the_work_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = TerminalScreen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")

    with progress_bar().task("map \x1b]0;title\x07scores", 10, "images") as counter:
        shown = screen.getvalue()
        counter.refuse("truncated \x1b[31m")

    assert "starting …" in shown
    assert "0/10" in shown
    assert "\x1b]0;" not in screen.getvalue()
    assert "map \\x1b]0;title\\x07scores" in shown


@pytest.mark.parametrize(
    ("num", "seconds", "said"),
    [
        (12_000, 10, "1,200 images/s"),
        (10, 4, "2.5 images/s"),
        (10, 42, "4.2 s/image"),
        (1, 90, "90.0 s/image"),
        (0, 5, "no images yet"),
    ],
)
def test_slow_work_is_told_in_seconds_for_each(num: int, seconds: float, said: str) -> None:
    assert pace(num, "images", seconds) == said


def test_a_verb_takes_the_public_bar(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = number_table(tmp_path, 3)

    done = cd.map_column(table, cd.step(reads="number", returns="int64")(abs), "absolute", progress=cd.progress_bar())

    assert done.computed == 3
    assert capsys.readouterr().out == ""
