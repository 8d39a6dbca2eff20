"""Places that nobody answers at, and web addresses where a folder is expected: told as such, whatever the verb."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from clipdata.errors import TransientError
from clipdata.storage import Storage
from pipelines.cli.app import main
from tests.pictures import write_pictures


@pytest.fixture
def nobody() -> str:
    """A port of this machine that nothing listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listener.getsockname()[1]}"


def test_a_web_address_is_no_folder(tmp_path: Path, nobody: str, capsys: pytest.CaptureFixture[str]) -> None:
    for verb in (["images"], ["class-list"]):
        assert main(["ingest", *verb, f"http://{nobody}/x", "--into", str(tmp_path / "t.lance")]) == 2
        err = capsys.readouterr().err
        assert f"http://{nobody}/x is a web address, and nothing can list what lies under one" in err
        assert "clipdata ingest urls FILE --into TABLE.lance" in err
        assert "no image under" not in err


def test_a_list_that_nobody_gives_is_not_called_missing(
    tmp_path: Path, nobody: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pictures(tmp_path / "in", 1)
    monkeypatch.chdir(tmp_path)
    for line in (["captions", "in", f"http://{nobody}/c.txt"], ["urls", f"http://{nobody}/u.csv"]):
        assert main(["ingest", *line, "--into", "t.lance"]) == 5
        err = capsys.readouterr().err
        assert "Cannot connect" in err
        assert "there is no" not in err


def test_a_store_that_is_asked_when_it_is_opened_is_named_where_it_does_not_answer(nobody: str) -> None:
    with pytest.raises(TransientError, match=f"cannot reach ftp://{nobody}/x: Connection refused"):
        Storage().filesystem(f"ftp://{nobody}/x")
