"""What commands write, and where."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from pipelines.terminal import Terminal, columns


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """A clock that goes on when it is told to."""
    now_s = [100.0]
    monkeypatch.setattr("pipelines.terminal.time.monotonic", lambda: now_s[0])

    def go_on(seconds: float) -> None:
        now_s[0] += seconds

    return go_on


def test_results_go_to_stdout_and_all_else_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal()
    terminal.say("loading")
    terminal.result("3 rows", {"rows": 3})
    terminal.hint("clipdata show t.lance")

    assert capsys.readouterr() == ("3 rows\n", "loading\nnext: clipdata show t.lance\n")


def test_json_is_one_object_with_its_schemas_version(capsys: pytest.CaptureFixture[str]) -> None:
    Terminal(as_json=True).result("3 rows", {"rows": 3, "name": "图"})

    out = capsys.readouterr().out
    assert json.loads(out) == {"schema_version": 1, "rows": 3, "name": "图"}
    assert "图" in out


def test_progress_is_a_line_now_and_then_with_rate_and_refusals(
    capsys: pytest.CaptureFixture[str], wait: Callable[[float], None]
) -> None:
    with Terminal().task("ingest images", 4000, "items") as counter:
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
    with Terminal().task("map", 100) as counter:
        wait(11)
        counter.advance(60)
        wait(2)
        counter.advance(40)
    with Terminal().task("map", 50) as counter:
        wait(11)
        counter.advance(50)

    said = capsys.readouterr().err.splitlines()
    assert said == ["map: 60 of 100 rows, 5/s", "map: 100 of 100 rows, 8/s", "map: 50 of 50 rows, 5/s"]


def test_short_work_and_quiet_commands_show_no_progress(
    capsys: pytest.CaptureFixture[str], wait: Callable[[float], None]
) -> None:
    with Terminal().task("map", 10) as counter:
        counter.advance(10)
    quiet = Terminal(quiet=True)
    with quiet.task("map", 10) as counter:
        wait(30)
        counter.advance(10)
    quiet.say("loading")
    quiet.hint("clipdata log")

    assert capsys.readouterr() == ("", "")


def test_columns_are_aligned_and_the_last_is_not_padded() -> None:
    assert columns([["a", "1"], ["long", "22"]], header=["name", "n"]) == "name  n\na     1\nlong  22"
