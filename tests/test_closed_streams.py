"""Streams that take nothing, a current folder that is gone, a locale without UTF-8: each is told in words."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import clipdata as cd
from clipdata.errors import NotFoundError
from tests.tables import number_table

HERE = Path(__file__).parents[1]
NO_UTF8 = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("streams")
    number_table(folder, 3)
    return folder


def typed(folder: Path, line: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """What a shell does with a line, in which `clipdata` is this one."""
    own = f'clipdata() {{ {shlex.quote(sys.executable)} -m clipdata "$@"; }}\n'
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHON"))}
    given = {**kept, "PYTHONPATH": str(HERE), "LC_ALL": "C.UTF-8", **environment}
    return subprocess.run(["bash", "-c", own + line], cwd=folder, env=given, capture_output=True, check=False)


@pytest.mark.parametrize("form", ["", " --json"])
def test_a_result_that_cannot_be_written_is_told_in_one_line(folder: Path, form: str) -> None:
    for stream, why in ((">/dev/full", "No space left on device"), (">&-", "its stream is closed")):
        ended = typed(folder, f"clipdata show t.lance{form} {stream}")
        assert (ended.returncode, ended.stderr.decode()) == (1, f"error: the result could not be written: {why}\n")


def test_without_stderr_the_result_and_the_exit_code_still_tell(folder: Path) -> None:
    for stream in ("2>&-", "2>/dev/full"):
        found = typed(folder, f"clipdata show t.lance --json {stream}")
        assert (found.returncode, len(json.loads(found.stdout)["columns"])) == (0, 3)
        missing = typed(folder, f"clipdata show none.lance {stream}")
        assert (missing.returncode, missing.stdout) == (3, b"")
    assert typed(folder, "clipdata show t.lance >&- 2>&-").returncode == 1


def test_a_current_folder_that_is_gone_is_named_with_one_to_change_into(folder: Path) -> None:
    for words in ("show t.lance", "runs ."):
        ended = typed(folder, f"mkdir gone; cd gone; rmdir ../gone; clipdata {words}")
        told = f"error: the current folder is gone (it was {folder}/gone)\n"
        hint = f"  hint: change into one that exists: cd {folder}\n"
        assert (ended.returncode, ended.stderr.decode()) == (3, told + hint)
    assert typed(folder, "mkdir gone; cd gone; rmdir ../gone; clipdata --version").returncode == 0


def test_a_relative_path_is_named_where_the_current_folder_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    for ask in (lambda: cd.open_table("t.lance"), lambda: cd.open_run("t.lance"), lambda: cd.doctor("t.lance")):
        with pytest.raises(NotFoundError, match=r"the current folder is gone.*where 't\.lance' is"):
            ask()


def test_letters_are_understood_and_names_explained_in_a_locale_without_utf8(folder: Path) -> None:
    found = typed(folder, "clipdata stats t.lance --where \"text <> '猫'\" --json", **NO_UTF8)
    assert (found.returncode, json.loads(found.stdout)["num_rows"]) == (0, 3), found.stderr
    named = typed(folder, "cp -r t.lance 猫.lance; clipdata show 猫.lance", **NO_UTF8)
    assert named.returncode == 2
    assert b"cannot be a file's name here: this locale writes names in ascii" in named.stderr
    assert b"export LC_ALL=C.UTF-8" in named.stderr


def test_what_is_no_utf8_is_refused_in_words(folder: Path) -> None:
    ended = typed(folder, "clipdata stats t.lance --where $'text = \\'a\\xe9\\''")
    assert ended.returncode == 2
    assert b"is no UTF-8; expected text in UTF-8" in ended.stderr


ASKING = (
    "delete t.lance --where 'number > 0'",
    "drop t.lance text",
    "clean t.lance",
    "restore t.lance 1 --dry-run",
    "refresh t.lance",
    "check t.lance --repair",
)


@pytest.mark.parametrize("line", ASKING)
def test_a_stdin_that_is_closed_answers_as_one_that_is_empty(folder: Path, line: str) -> None:
    empty, closed = (typed(folder, f"clipdata {line} {stream}") for stream in ("</dev/null", "<&-"))
    assert (closed.returncode, closed.stdout, closed.stderr) == (empty.returncode, empty.stdout, empty.stderr)
    assert b"fault in clipdata" not in closed.stderr
    for streams in ("<&- 2>&-", "<&- >&-", "<&- >&- 2>&-"):
        ended = typed(folder, f"clipdata {line} {streams}")
        assert ended.returncode in (empty.returncode, 1)  # 1: the result could not be written
        assert b"Traceback" not in ended.stderr


def test_a_step_that_writes_to_a_closed_stderr_does_not_end_the_map(folder: Path) -> None:
    (folder / "loud.py").write_text(
        "import sys\nimport clipdata as cd\n\n\n@cd.step\ndef loud(number: int) -> int:\n"
        "    sys.stderr.write('here')\n    sys.stdin.isatty()\n    return number\n"
    )
    assert typed(folder, "clipdata map t.lance loud.py:loud loud <&- 2>&-").returncode == 0


def test_nobody_is_asked_who_would_not_see_the_question(folder: Path) -> None:
    """A terminal answers, and stderr goes to a file: the question would not be seen, and waited for without end."""
    line = f"{shlex.quote(sys.executable)} -m clipdata drop t.lance text 2>told.txt"
    given = {**os.environ, "PYTHONPATH": str(HERE)}
    ended = subprocess.run(
        [sys.executable, "-c", "import pty, sys; sys.exit(pty.spawn(['bash', '-c', sys.argv[1]]) >> 8)", line],
        cwd=folder, env=given, capture_output=True, check=False, stdin=subprocess.DEVNULL, timeout=120,
    )  # fmt: skip
    assert ended.returncode == 2
    assert "nobody can be asked here" in (folder / "told.txt").read_text()
