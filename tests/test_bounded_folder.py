"""A folder that keeps bytes up to a bound: for several processes, through kills, torn files and a full disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import warnings
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pytest

from clipdata.bounded_folder import BoundedFolder
from clipdata.errors import StorageError

CHILD = """
import sys
from hashlib import sha256
import pyarrow as pa
from pathlib import Path
from clipdata.bounded_folder import BoundedFolder
folder, max_bytes, first = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
kept = BoundedFolder(folder, max_bytes, sys.argv[4])
print("ready", flush=True)
for number in range(first, first + int(sys.argv[5])):
    kept.put(sha256(b"%d" % number).hexdigest(), pa.py_buffer(b"%d " % number * 3000))
"""


def name_of(number: int) -> str:
    return sha256(b"%d" % number).hexdigest()


def value_of(number: int) -> bytes:
    return b"%d " % number * 3000


def put(kept: BoundedFolder, number: int) -> bool:
    return kept.put(name_of(number), pa.py_buffer(value_of(number)))


def got(kept: BoundedFolder, number: int) -> bytes | None:
    found = kept.get(name_of(number))
    return None if found is None else found.to_pybytes()


def num_bytes(folder: Path) -> int:
    total = 0
    for path in folder.glob("*/*/*"):
        with suppress(FileNotFoundError):  # another process has just taken it away
            total += path.stat().st_size
    return total


def child(folder: Path, max_bytes: int, first: int, owner: str, num: int) -> subprocess.Popen[bytes]:
    words = [str(folder), str(max_bytes), str(first), owner, str(num)]
    return subprocess.Popen([sys.executable, "-c", CHILD, *words], stdout=subprocess.PIPE)


def test_what_is_kept_is_found_whole_by_another_handle_and_moves_to_its_owner(tmp_path):
    first = BoundedFolder(tmp_path, 10**6, "first")

    assert all(put(first, number) for number in range(5))
    second = BoundedFolder(tmp_path, 10**6, "second")

    assert [got(second, number) for number in range(6)] == [*map(value_of, range(5)), None]
    assert not list((tmp_path / "first").glob("*/*"))
    assert got(first, 3) == value_of(3)


@pytest.mark.parametrize(
    "tear",
    [
        lambda whole: whole[:-1],
        lambda whole: whole[:40],
        lambda whole: b"",
        lambda whole: whole[:1000] + b"\0" * 500 + whole[1500:],
        lambda whole: b"\0" * len(whole),
        lambda whole: whole + b"more",
    ],
)
def test_a_torn_file_is_never_handed_out_and_makes_way_for_a_whole_one(tmp_path, tear):
    put(BoundedFolder(tmp_path, 10**6, "one"), 7)
    (path,) = tmp_path.glob("*/*/*.kept")
    path.write_bytes(tear(path.read_bytes()))
    kept = BoundedFolder(tmp_path, 10**6, "one")

    assert got(kept, 7) is None
    assert put(kept, 7)
    assert got(kept, 7) == value_of(7)


def test_what_others_used_least_recently_goes_first_and_what_one_keeps_stays(tmp_path):
    size = 4096 * -(-(len(value_of(10)) + 64) // 4096)
    old = BoundedFolder(tmp_path, 10 * size, "old")
    assert [put(old, number) for number in range(10, 22)] == [True] * 10 + [False] * 2
    assert old.is_full()
    assert [got(old, number) is not None for number in range(10, 22)] == [True] * 10 + [False] * 2
    for place, number in enumerate((13, 10, 11)):
        (path,) = tmp_path.glob(f"*/*/{name_of(number)}.kept")
        os.utime(path, (place, place))

    new = BoundedFolder(tmp_path, 10 * size, "new")

    assert [put(new, number) for number in (30, 31)] == [True, True]
    assert [got(old, number) is not None for number in (13, 10, 11, 12)] == [False, False, True, True]
    assert num_bytes(tmp_path) <= 10 * size


def test_nothing_makes_way_that_was_used_since_a_handle_was_made(tmp_path):
    one, other = (BoundedFolder(tmp_path, 100_000, owner) for owner in ("one", "other"))
    while put(one, len(list(tmp_path.glob("*/*/*")))):
        time.sleep(0.002)

    assert not put(other, 99)


def test_a_lower_bound_holds_from_the_first_byte_that_is_added(tmp_path):
    before = BoundedFolder(tmp_path, 10**6, "one")
    assert all(put(before, number) for number in range(50))

    put(BoundedFolder(tmp_path, 10**5, "one"), 99)

    assert num_bytes(tmp_path) <= 10**5


def test_a_name_is_claimed_by_one_at_a_time(tmp_path):
    one, other = (BoundedFolder(tmp_path, 10**6, owner) for owner in ("one", "other"))

    with one.claiming([name_of(1), name_of(2)]) as first, other.claiming([name_of(2), name_of(3)]) as second:
        assert first == {name_of(1), name_of(2)}
        assert second == {name_of(3)}
    with other.claiming([name_of(2)]) as third:
        assert third == {name_of(2)}


def test_two_processes_and_a_kill_keep_the_bound_and_every_file_whole(tmp_path):
    bound = 1_000_000
    killed = child(tmp_path, bound, 0, "a", 100_000)
    other = child(tmp_path, bound, 0, "a", 400)
    assert killed.stdout is not None
    assert other.stdout is not None
    killed.stdout.readline()
    other.stdout.readline()
    most = 0
    for _ in range(10):
        time.sleep(0.01)
        most = max(most, num_bytes(tmp_path))
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert other.wait() == 0

    assert 0 < most <= bound
    assert num_bytes(tmp_path) <= bound
    kept = BoundedFolder(tmp_path, bound, "c")
    found = [number for number in range(500) if (data := got(kept, number)) is not None and data == value_of(number)]
    assert len(found) == len(list(tmp_path.glob("*/*/*.kept")))
    assert put(BoundedFolder(tmp_path, bound, "d"), 10**6), "what the others left makes way"


def test_a_full_disk_is_said_once_and_nothing_is_lost(tmp_path):
    script = CHILD.replace(
        'print("ready", flush=True)', "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))"
    )
    words = [str(tmp_path), str(10**7), "0", "a", "20"]

    done = subprocess.run([sys.executable, "-W", "always", "-c", script, *words], capture_output=True, text=True)

    assert done.returncode == 0
    assert done.stderr.count("nothing more is kept in") == 1
    assert {path.suffix for path in tmp_path.glob("*/*/*")} <= {".kept"}


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(StorageError, match="cannot keep anything in"):
        BoundedFolder(tmp_path / "file" / "below", 10**6, "one")


def test_folders_that_someone_removes_meanwhile_do_no_harm(tmp_path):
    kept = BoundedFolder(tmp_path / "kept", 10**6, "one")
    put(kept, 1)
    subprocess.run(["rm", "-r", str(tmp_path / "kept")], check=True)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not put(kept, 2)
        assert got(kept, 1) is None
        with kept.claiming([name_of(1)]) as claimed:
            assert claimed == {name_of(1)}
