"""What commands write, and where."""

from __future__ import annotations

import io
import json
import sys
import time

import pytest

from pipelines.cli.terminal import Terminal


def test_results_go_to_stdout_and_all_else_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal()
    terminal.say("loading")
    terminal.result("3 rows", {"rows": 3})
    terminal.hint("clipdata show t.lance")

    assert capsys.readouterr() == ("3 rows\n", "loading\nnext: clipdata show t.lance\n")


def test_json_is_one_object_with_its_schemas_version(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal(as_json=True)
    terminal.result("3 rows", {"rows": 3, "name": "图"})
    terminal.hint("clipdata show t.lance")
    terminal.close()

    out = capsys.readouterr().out
    assert json.loads(out) == {"schema_version": 1, "rows": 3, "name": "图", "next": "clipdata show t.lance"}
    assert "图" in out


def test_a_result_and_the_error_that_came_after_it_are_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal(as_json=True)
    with terminal.only_results():
        sys.stdout.write("a step of somebody's own prints")
        terminal.result("3 rows", {"rows": float("nan")})
    code = terminal.fail("gate_failed", 7, "missed", "look")
    terminal.close()

    out, err = capsys.readouterr()
    error = {"name": "gate_failed", "code": 7, "message": "missed", "hint": "look"}
    assert json.loads(out) == {"schema_version": 1, "rows": None, "next": None, "error": error}
    assert code == 7
    assert "a step of somebody's own prints" in err


@pytest.mark.parametrize("as_json", [False, True])
def test_what_data_orders_a_terminal_is_spelled_out_wherever_it_is_written(
    capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    orders = "\x1b]0;title\x07 \x9b31m \u202e \udc80"
    terminal = Terminal(as_json=as_json)
    terminal.say(orders)
    with terminal.task(orders, 1) as counter:
        counter.advance()
    terminal.result(orders, {"name": orders, orders: 1})
    terminal.hint(f"clipdata show {orders}")
    terminal.fail("failed", 1, orders, orders)
    terminal.close()

    out, err = capsys.readouterr()
    for order in ("\x1b", "\x07", "\x9b", "\u202e", "\udc80"):
        assert order not in out + err
    assert "\\x1b]0;title\\x07" in err
    if as_json:
        assert json.loads(out)["name"] == orders


def test_a_stream_that_cannot_show_a_letter_gets_it_spelled_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for as_json in (False, True):
        raw = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
        terminal = Terminal(as_json=as_json)
        terminal.result("图", {"name": "图"})
        terminal.close()

        assert "\\u56fe" in raw.getvalue().decode("ascii")


def test_a_place_that_does_not_answer_at_once_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.cli.terminal._PATIENCE_S", 0.02)
    for quiet, place in ((False, "gs://bucket/t.lance"), (True, "gs://bucket/t.lance"), (False, None)):
        terminal = Terminal(quiet=quiet)
        terminal.wait(place)
        time.sleep(0.1)
        terminal.wait(place)
        terminal.result("done", {})
        time.sleep(0.05)

    assert capsys.readouterr().err == "connecting to gs://bucket/t.lance …\n"


def test_progress_goes_to_stderr_and_not_with_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    for quiet in (False, True):
        terminal = Terminal(quiet=quiet)
        with terminal.task("map", 10) as counter:
            counter.advance(10)
            terminal.say("loading")
        terminal.hint("clipdata log")

    assert capsys.readouterr() == ("", "loading\nnext: clipdata log\n")
