"""`clipdata view`: it prints an address and serves until it is interrupted, or writes one file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from pipelines.cli.app import VERBS, main
from pipelines.cli.json_output import schema_of
from tests.json_schemas import check_schema
from tests.viewing import picture


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    for number in range(3):
        (tmp_path / "photos" / f"{number}.png").write_bytes(picture(number))
    return tmp_path / "photos"


def hearing() -> None:
    """Hear Ctrl-C, which a shell's background job inherits deafness to."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_it_serves_at_the_address_that_it_prints_until_it_is_interrupted(folder: Path) -> None:
    command = [sys.executable, "-m", "clipdata", "view", str(folder), "--sort", "bytes"]
    serving = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ,
        preexec_fn=hearing,
    )
    try:
        assert serving.stdout is not None
        url = serving.stdout.readline().strip()
        answer = httpx.get(url, trust_env=False, timeout=180)
        serving.send_signal(signal.SIGINT)
        _, said = serving.communicate(timeout=180)
    finally:
        serving.kill()

    assert answer.status_code == 303
    assert answer.headers["location"] == "/?sort=bytes"
    assert serving.returncode == 0
    assert "Traceback" not in said


def test_it_writes_one_file_and_says_so_as_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = folder.parent / "gallery.html"
    code = main(["view", str(folder), "--export", str(file), "--rows", "2", "--where", "bytes > 0", "--json"])
    told = json.loads(capsys.readouterr().out)

    assert code == 0
    assert told["exported"]["num_rows"] == 2
    assert told["exported"]["num_found"] == 3
    assert file.read_text("utf-8").count("data:image/webp") == 2
    check_schema(told, schema_of("view", next(one for one in VERBS if one.words == "view").found))


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--rows", "5"], 2),
        (["--host", "0.0.0.0"], 2),
        (["--edit"], 2),
        (["--version", "3"], 2),
        (["--where", "nope = 1"], 2),
        (["--run", "nowhere"], 3),
    ],
)
def test_what_it_cannot_do_is_said_at_once(folder: Path, words: list[str], code: int) -> None:
    assert main(["view", str(folder), *words]) == code
    assert main(["view", str(folder / "none")]) == 3
