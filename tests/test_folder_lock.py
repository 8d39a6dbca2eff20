"""One process at a time in a folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from clipdata.errors import StorageError, TransientError, UsageError
from clipdata.folder_lock import FILE, alone_at, alone_in

HOLD = """
import sys, time
from pathlib import Path
from clipdata.folder_lock import alone_in
with alone_in(Path(sys.argv[1]), "run caption-contest"):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_process_is_told_who_is_at_work_and_a_killed_one_leaves_nothing(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"

        held = rf"run caption-contest \(process {holder.pid} on (.|\n)*--out"
        with pytest.raises(TransientError, match=held) as refused, alone_in(tmp_path, "second"):
            pass
        assert refused.value.exit_code == 5
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()

    with alone_in(tmp_path, "test"):
        assert "test" in (tmp_path / FILE).read_text()


def test_the_same_process_is_kept_out_too_and_lets_go_after_an_error(tmp_path: Path) -> None:
    def kept_out() -> None:
        with pytest.raises(TransientError, match="first"), alone_in(tmp_path / "new" / "folder", "second"):
            pass
        raise KeyError

    with pytest.raises(KeyError), alone_in(tmp_path / "new" / "folder", "first"):
        kept_out()
    with alone_in(tmp_path / "new" / "folder", "third"):
        pass


def test_a_file_of_something_else_stands_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("[1")
    with alone_in(tmp_path, "first"), pytest.raises(TransientError, match="first"), alone_in(tmp_path, "second"):
        pass


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write to"), alone_in(tmp_path / "file" / "out", "test"):
        pass


def test_a_folder_that_was_made_for_what_fails_goes_again_and_one_with_anything_in_it_stays(tmp_path: Path) -> None:
    def run(folder: Path, *, writes: bool) -> None:
        with alone_in(folder, "run x"):
            if writes:
                (folder / "config.json").write_text("{}")
            raise UsageError("refused")

    def fail(folder: Path, *, writes: bool = False) -> None:
        with pytest.raises(UsageError, match="refused"):
            run(folder, writes=writes)

    (tmp_path / "there").mkdir()
    for name in ("a/b", "there"):
        fail(tmp_path / name)
    fail(tmp_path / "c/d", writes=True)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["c", "there"]
    assert (tmp_path / "c/d/config.json").exists()


def test_who_writes_a_place_keeps_others_from_it_alone_and_leaves_no_lock(tmp_path: Path) -> None:
    place = tmp_path / "new" / "folder" / "a.csv"
    with alone_at(place, "export") as is_alone:
        assert is_alone
        with (
            pytest.raises(TransientError, match=rf"export \(process {os.getpid()} .* is writing {place}"),
            alone_at(place, "push"),
        ):
            pass
        with alone_at(place.with_name("b.csv"), "export"):
            pass
        assert [path.name for path in place.parent.iterdir()] == [".a.csv.lock"]
    assert os.listdir(tmp_path) == []

    with alone_at(place, "export"):
        place.write_text("x")
    assert [path.name for path in place.parent.iterdir()] == ["a.csv"]


def test_a_place_where_nothing_can_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(StorageError, match=f"cannot write to {tmp_path}/file"),
        alone_at(tmp_path / "file" / "x", "export"),
    ):
        pass


LOCK = """
import sys
from pathlib import Path
from clipdata.errors import TransientError
from clipdata.folder_lock import alone_at
from tests.faults.forbidding import obey_permissions
obey_permissions()
try:
    with alone_at(Path(sys.argv[1]), "export") as is_alone:
        print(is_alone)
except TransientError as error:
    print(error.message)
"""


def test_a_lock_file_that_another_user_left_can_be_locked_and_says_who_holds_it(tmp_path: Path) -> None:
    left = tmp_path / ".out.csv.lock"
    left.write_text("")
    left.chmod(0o444)
    ask = [sys.executable, "-c", LOCK, str(tmp_path / "out.csv")]

    assert subprocess.run(ask, capture_output=True, text=True, check=True).stdout == "True\n"

    with alone_at(tmp_path / "out.csv", "export"):
        left.chmod(0o444)
        said = subprocess.run(ask, capture_output=True, text=True, check=True).stdout
    assert said.startswith(f"export (process {os.getpid()} on ")
