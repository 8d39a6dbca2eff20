"""What commands write, and where."""

from __future__ import annotations

import json

import pytest

from pipelines.cli.terminal import Terminal, columns


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


def test_progress_goes_to_stderr_and_not_with_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    for quiet in (False, True):
        terminal = Terminal(quiet=quiet)
        with terminal.task("map", 10) as counter:
            counter.advance(10)
            terminal.say("loading")
        terminal.hint("clipdata log")

    assert capsys.readouterr() == ("", "loading\nnext: clipdata log\n")


def test_columns_are_aligned_and_the_last_is_not_padded() -> None:
    assert columns([["a", "1"], ["long", "22"]], header=["name", "n"]) == "name  n\na     1\nlong  22"
