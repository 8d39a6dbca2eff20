"""Bars: long work as it is shown at a terminal, in a log and in a notebook."""

from __future__ import annotations

import io
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.cells import cell_len

import clipdata as cd
from clipdata.bars import parts_of_line, progress_bar, rate_of
from tests.tables import number_table


class TerminalScreen(io.StringIO):
    """Takes what is drawn."""

    def isatty(self) -> bool:
        return True


def drawn(screen: TerminalScreen) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())


def at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> TerminalScreen:
    screen = TerminalScreen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    return screen


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
        "ingest images: 1,800 of 4,000 items, 150/s, 25 refused",
        "ingest images: 3,600 of 4,000 items, 150/s, 75 refused",
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
    assert said == ["map: 60 of 100 rows, 5/s", "map: 100 of 100 rows, 8/s", "map: 50 of 50 rows, 5/s"]


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
    screen = at_a_terminal(monkeypatch)
    progress = progress_bar()

    with progress.task("map [red]", 10) as outer:
        with progress.task("read", 5, "files") as inner:
            inner.advance(5)
            inner.refuse("truncated", 2)
            progress.say("a picture is called [bold]x.jpg")
        outer.advance(10)

    for words in ("map [red]", "10/10", "5/5", "2 refused", "[bold]x.jpg"):
        assert words in drawn(screen)


def test_the_bar_is_there_before_anything_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = at_a_terminal(monkeypatch)
    with progress_bar().task("map", 10):
        pass

    assert "0/10 rows, starting" in drawn(screen)


def test_a_log_says_that_work_began_when_nothing_is_done_for_long(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clipdata.bars.LINE_EVERY_S", 0.01)
    with progress_bar().task("map", 1000) as counter:
        threading.Event().wait(0.1)
        counter.advance(1000)

    assert capsys.readouterr().err.splitlines()[0] == "map: starting, 1,000 rows to do"


def test_slow_work_is_told_in_seconds_an_item(
    capsys: pytest.CaptureFixture[str], wait: Callable[[float], None]
) -> None:
    with progress_bar().task("train", 100, "steps") as counter:
        wait(20)
        counter.advance(8)

    assert capsys.readouterr().err == "train: 8 of 100 steps, 2.5 s/step\n"
    assert (rate_of(1, 250, "rows"), rate_of(3000, 2, "rows")) == ("250 s/row", "1,500/s")


@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
def test_a_line_is_never_wider_than_the_terminal_and_loses_its_name_and_bar_before_its_figures(width: int) -> None:
    told = SimpleNamespace(
        description="map 漫画の猫の列の名前 and more of it" * 3, completed=5000, total=100_000, elapsed=10.0, speed=0.5,
        finished_speed=None, time_remaining=190_000, fields={"unit": "rows", "refused": "12 refused"},
    )  # fmt: skip

    name, filled, rest, figures, refused = parts_of_line(told, width)

    assert figures == " 5,000/100,000 rows, 2.0 s/row, 3,167 min left"
    assert cell_len(f"{name} {figures}{refused}") + filled + rest <= max(width, 12 + 2 + len(figures + refused))


def test_names_and_facts_give_a_terminal_no_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = at_a_terminal(monkeypatch)
    progress = progress_bar()
    with progress.task("map \x1b]0;title\x07", 10):
        progress.say("a picture is called \x1b[31mx.jpg\nand another \x07y.jpg")

    assert r"map \x1b]0;title\x07" in drawn(screen)
    assert r"\x1b[31mx.jpg" in drawn(screen)
    assert "\x07" not in screen.getvalue()


def test_a_verb_takes_the_public_bar(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = number_table(tmp_path, 3)

    done = cd.map_column(table, cd.step(reads="number", returns="int64")(abs), "absolute", progress=cd.progress_bar())

    assert done.computed == 3
    assert capsys.readouterr().out == ""
