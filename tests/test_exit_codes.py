"""Exit codes: a verb that ends with nothing usable does not end well, and says all of it in one object."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import clipdata as cd
from pipelines.cli.app import main
from tests.pictures import write_pictures
from tests.tables import number_table

STEPS = """
import clipdata as cd

@cd.step(reads="number", returns="int64")
def fails(number):
    raise ValueError("no")

@cd.step(reads="number", returns="int64")
def fails_on_odd(number):
    return number // (1 - number % 2)

@cd.step(reads="number", returns="int64")
def copy(number):
    print("a word of mine")
    return number

@cd.step(reads="number", returns="int64", batch=True)
def breaks(numbers):
    raise ValueError("no")
"""


@pytest.fixture
def steps(tmp_path: Path) -> Path:
    (tmp_path / "own.py").write_text(STEPS)
    return tmp_path / "own.py"


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict, str]:
    code = main([*map(str, arguments), "--json"])
    out, err = capsys.readouterr()
    return code, json.loads(out, parse_constant=pytest.fail), err


def test_an_ingest_that_refuses_everything_prints_its_report_and_exits_with_6(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_text("no picture")
    into = tmp_path / "t.lance"

    for _ in range(2):  # refused now, and known to be refused
        code, found, _ = run(capsys, "ingest", "images", tmp_path / "in", "--into", into)
        assert code == found["error"]["code"] == 6
        assert (found["rows"], found["listed"]) == (0, 1)
        assert f"clipdata rejects {into}" in found["error"]["hint"]
    write_pictures(tmp_path / "in", 1)
    assert run(capsys, "ingest", "images", tmp_path / "in", "--into", into)[0] == 0


def test_a_merge_of_nothing_exits_with_6(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pictures(tmp_path / "in", 2)
    pq.write_table(pa.table({"filename": ["elsewhere.jpg"], "caption": ["a"]}), tmp_path / "m.parquet")
    main(["ingest", "images", str(tmp_path / "in"), "--into", str(tmp_path / "i.lance")])
    main(["ingest", "parquet", str(tmp_path / "m.parquet"), "--into", str(tmp_path / "m.lance")])
    capsys.readouterr()

    code, found, _ = run(capsys, "merge", tmp_path / "i.lance", tmp_path / "m.lance", "--into", tmp_path / "c.lance")

    assert (code, found["rows"], found["error"]["code"]) == (6, 0, 6)


def test_an_export_of_nothing_exits_with_6(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pictures(tmp_path / "in", 2)
    main(["ingest", "images", str(tmp_path / "in"), "--into", str(tmp_path / "i.lance")])
    capsys.readouterr()

    code, found, _ = run(capsys, "export", tmp_path / "i.lance", "--out", tmp_path / "s", "--where", "width < 0")

    assert (code, found["num_rows"]) == (6, 0)
    assert not (tmp_path / "s").exists()


def test_a_map_fails_when_no_row_has_a_value_or_more_failed_than_are_allowed(
    tmp_path: Path, steps: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = number_table(tmp_path, 10).uri

    for _ in range(2):  # failed now, and failed before
        code, found, _ = run(capsys, "map", table, f"{steps}:fails", "none")
        assert code == found["error"]["code"] == 6
    assert found["failed_before"] == 10
    assert run(capsys, "map", table, f"{steps}:fails_on_odd", "half")[0] == 0
    for bound, code in (("5", 0), ("4", 6), ("0.5", 0), ("0.4", 6), ("0", 6), ("lots", 2), ("-1", 2), ("1.5", 2)):
        words = ["map", table, f"{steps}:fails_on_odd", "half", "--retry-failed", "--max-failed", bound]
        assert run(capsys, *words)[0] == code, bound


def test_a_comparison_that_misses_its_gate_is_one_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = number_table(tmp_path, 6)
    cd.map_column(table, cd.step(reads="number", returns="int64")(abs), "copy")

    code, found, _ = run(capsys, "compare", table.uri, "number", "copy", "--fail-if", "mean.difference <= 0")

    assert (code, found["error"]["name"], found["mean"]["difference"]) == (7, "gate_failed", 0.0)


def test_what_a_step_prints_does_not_disturb_the_object(
    tmp_path: Path, steps: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found, err = run(capsys, "map", number_table(tmp_path, 3).uri, f"{steps}:copy", "copy")

    assert (code, found["computed"]) == (0, 3)
    assert "a word of mine" in err


def test_a_step_that_breaks_is_the_persons_error_with_its_line(
    tmp_path: Path, steps: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found, err = run(capsys, "map", number_table(tmp_path, 3).uri, f"{steps}:breaks", "broken")

    assert code == 1
    assert "ValueError: no (own.py, line 19)" in found["error"]["message"]
    assert "fault in clipdata" not in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("x = 1\nx / 0\n", "ZeroDivisionError: division by zero (own.py, line 2)"),
        ("import sys\n\nsys.exit(3)\n", "asks to end the program when it is read (own.py, line 3)"),
        (
            "import clipdata as cd\n\n\n@cd.step\ndef f(x):\n    return 1\n",
            "own.py (own.py, line 4): step f does",
        ),
        ("def f(:\n", "(own.py, line 1)"),
    ],
)
def test_a_file_of_steps_that_cannot_be_read_is_told_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], code: str, said: str
) -> None:
    (tmp_path / "own.py").write_text(code)

    ended, found, err = run(capsys, "map", number_table(tmp_path, 3).uri, f"{tmp_path / 'own.py'}:f", "column")

    assert ended == 2
    assert said in found["error"]["message"]
    assert "Traceback" not in err


def test_an_interruption_is_said_in_one_line(tmp_path: Path) -> None:
    table = number_table(tmp_path, 3)
    (tmp_path / "own.py").write_text(
        "import time, sys\nimport clipdata as cd\n\n\n@cd.step(reads='number', returns='int64')\n"
        "def slow(number):\n    sys.stderr.write('begun\\n')\n    sys.stderr.flush()\n    time.sleep(600)\n"
    )
    words = [sys.executable, "-m", "clipdata", "map", table.uri, f"{tmp_path / 'own.py'}:slow", "slow", "--json"]
    running = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": os.getcwd()}
    )
    assert running.stderr is not None
    assert running.stderr.readline() == "begun\n"

    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=300)

    assert running.returncode == 130
    assert err == "interrupted: the same command goes on where it stopped\n"
    assert json.loads(out)["error"]["code"] == 130


def test_a_reader_that_has_gone_is_no_error(tmp_path: Path) -> None:
    table = number_table(tmp_path, 3)
    command = f"{sys.executable} -m clipdata show {table.uri} --vertical --full | true"

    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, check=False)

    assert (done.returncode, "rror" in done.stderr) == (0, False)
