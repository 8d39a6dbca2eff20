"""Several processes write to one place at once: one at a time, and who says "done" tells the truth."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest

import clipdata as cd
import ingest
from clipdata.errors import TransientError, UsageError
from clipdata.exports.folder_record import RECORD
from clipdata.exports.places import opened
from clipdata.folder_lock import alone_at
from clipdata.storage import Storage
from tests.pictures import encoded

NUM = 300
WORKER = """
import json, sys
import clipdata as cd
from clipdata.viewer.gallery_file import export_view

verbs = {
    "export": cd.export,
    "push": cd.push,
    "query": lambda table, out, **options: cd.export_query(table, "SELECT path, filename FROM dataset", out, **options),
    "view": export_view,
}
table = cd.open_table(sys.argv[1])
print("ready", flush=True)
for line in sys.stdin:
    verb, out, options = json.loads(line)
    try:
        done = verbs[verb](table, out, **options).to_dict()
        told = {"done": {name: done.get(name) for name in ("num_rows", "num_files", "num_bytes")}}
    except cd.ClipdataError as error:
        told = {"error": type(error).__name__, "said": str(error)}
    print(json.dumps(told), flush=True)
"""
Call = tuple[str, Path, dict[str, object]]
REFUSED = {"TransientError", "UsageError"}  # while the other one writes; after it is done


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> cd.Table:
    folder = tmp_path_factory.mktemp("at-once")
    (folder / "in").mkdir()
    for n in range(NUM):
        (folder / "in" / f"{n:04d}.png").write_bytes(encoded(n, ".png", 8 + n % 7, 8))
    return ingest.from_images(folder / "in", into=folder / "t.lance").table


class Worker:
    """A process that does one call after the other."""

    def __init__(self, table: cd.Table) -> None:
        words = [sys.executable, "-c", WORKER, table.uri]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.said() == "ready"

    def begin(self, verb: str, out: Path, options: dict[str, object]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([verb, str(out), options]) + "\n")
        self.process.stdin.flush()

    def said(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture(scope="module")
def workers(pictures: cd.Table) -> Iterator[list[Worker]]:
    found = [Worker(pictures) for _ in range(3)]
    yield found
    for worker in found:
        worker.kill()


def race(workers: list[Worker], *calls: Call) -> list[dict]:
    """Make calls at once, each in a process of its own; what each said."""
    for worker, call in zip(workers, calls, strict=False):
        worker.begin(*call)
    return [json.loads(worker.said()) for worker, _ in zip(workers, calls, strict=False)]


def check_folder(out: Path, done: dict) -> None:
    """A folder holds what was said, and each picture that it names."""
    files = [path for path in out.rglob("*") if path.is_file() and not path.name.startswith(".")]
    assert len(files) == done["num_files"]
    assert sum(path.stat().st_size for path in files) == done["num_bytes"]
    named = [json.loads(line)["file_name"] for line in (out / "metadata.jsonl").read_text().splitlines()]
    assert len(named) == done["num_rows"]
    assert all((out / name).is_file() for name in named)


def check_shards(out: Path, done: dict) -> None:
    manifest = json.loads((out / "clipdata.json").read_text())
    assert manifest["complete"]
    assert done["num_rows"] == sum(counts["samples"] for counts in manifest["shards"].values()) == NUM
    for name, counts in manifest["shards"].items():
        assert (out / name).stat().st_size == counts["bytes"]


def check_rows(out: Path, done: dict) -> None:
    read = {".parquet": "read_parquet", ".csv": "read_csv", ".jsonl": "read_json"}[out.suffix]
    assert duckdb.sql(f"SELECT count(*) FROM {read}('{out}')").fetchall() == [(NUM,)]
    assert (done["num_rows"], done["num_bytes"]) == (NUM, out.stat().st_size)


def check_table(out: Path, done: dict) -> None:
    assert cd.open_table(out).count_rows("image IS NOT NULL") == done["num_rows"] == NUM


def check_set(out: Path, done: dict) -> None:
    assert cd.open_table(out / "data" / "train.lance").num_rows == done["num_rows"] == NUM
    assert (out / "README.md").is_file()


CASES = [
    ("export", "xx", {"format": "folder"}, check_folder),
    ("export", "xx", {"format": "shards", "rows_per_shard": 40}, check_shards),
    ("export", "xx.parquet", {}, check_rows),
    ("export", "xx.csv", {"columns": ["path", "filename"]}, check_rows),
    ("export", "xx.lance", {}, check_table),
    ("query", "xx.jsonl", {}, check_rows),
    ("push", "xx", {}, check_set),
]


@pytest.mark.slow
@pytest.mark.parametrize(("verb", "name", "arguments", "check"), CASES, ids=[f"{one[0]} {one[1]}" for one in CASES])
def test_of_two_that_write_one_place_one_is_refused_and_the_other_tells_the_truth(
    workers: list[Worker], tmp_path: Path, verb: str, name: str, arguments: dict, check: Callable[[Path, dict], None]
) -> None:
    num_refused = 0
    for number in range(4):
        out = tmp_path / str(number) / name
        said = race(workers, (verb, out, arguments), (verb, out, arguments))

        done = [one["done"] for one in said if "done" in one]
        refused = [one for one in said if "error" in one]
        assert {one["error"] for one in refused} <= REFUSED, refused
        if arguments.get("format") != "shards":  # the same shards once more are done already
            assert len(done) == 1, said
        assert done[0]["num_rows"] == NUM
        check(out, done[0])
        num_refused += sum(one["error"] == "TransientError" for one in refused)
        for one in refused:
            assert "is writing" not in one["said"] or "name another place" in one["said"]
        assert [path.name for path in out.parent.iterdir()] == [name]
    assert num_refused, "they never met"


@pytest.mark.slow
def test_two_that_replace_an_export_or_write_other_formats_to_its_place_leave_one_whole_export(
    pictures: cd.Table, workers: list[Worker], tmp_path: Path
) -> None:
    for number in range(4):
        out = tmp_path / str(number) / "xx"
        before = cd.export(pictures, out, format="folder", limit=20).to_dict()
        folder = ("export", out, {"format": "folder", "overwrite": True})
        said = race(workers, folder, folder, ("export", out, {"format": "shards"}))

        assert {one["error"] for one in said if "error" in one} <= REFUSED, said
        # The shards may be looked at first, and refused, while the other two want to begin.
        check_folder(out, next((one["done"] for one in said if "done" in one), before))
        assert [path.name for path in out.parent.iterdir()] == ["xx"]


@pytest.mark.slow
def test_a_page_of_rows_that_two_write_is_whole(workers: list[Worker], tmp_path: Path) -> None:
    for _ in range(3):
        page = ("view", tmp_path / "page.html", {"rows": 5, "overwrite": True})
        said = race(workers, page, page, page)

        assert all("done" in one for one in said), said
        assert (tmp_path / "page.html").read_text().rstrip().endswith("</html>")
    assert os.listdir(tmp_path) == ["page.html"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["folder", "shards", "parquet", "lance"])
def test_who_writes_is_named_and_once_killed_is_in_nobodys_way(pictures: cd.Table, tmp_path: Path, kind: str) -> None:
    out = tmp_path / "made" / "xx"
    worker = Worker(pictures)
    worker.begin("export", out, {"format": kind})
    lock = out.parent / ".xx.lock"
    give_up = time.monotonic() + 60
    while not (lock.exists() and lock.stat().st_size) and time.monotonic() < give_up:
        pass
    os.kill(worker.process.pid, signal.SIGSTOP)
    try:
        with pytest.raises(
            TransientError, match=rf"export \(process {worker.process.pid} on .* is writing {out}(.|\n)*wait"
        ):
            cd.export(pictures, out, format=kind, overwrite=True)
    finally:
        worker.kill()

    assert cd.export(pictures, out, format=kind, overwrite=True).num_rows == NUM
    assert [path.name for path in out.parent.iterdir()] == ["xx"]


def test_a_folder_beside_which_nobody_may_write_takes_shards_from_one_process_at_a_time(
    pictures: cd.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)  # root may write everywhere
    with alone_at(tmp_path / "mine", "first"), pytest.raises(TransientError, match="another process is writing"):
        cd.export(pictures, tmp_path / "mine", format="shards")
    assert os.listdir(tmp_path / "mine") == []
    assert cd.export(pictures, tmp_path / "mine", format="shards").num_rows == NUM
    assert os.listdir(tmp_path) == ["mine"]


def test_a_refused_export_leaves_what_is_there_and_clears_what_a_killed_one_left(
    pictures: cd.Table, tmp_path: Path
) -> None:
    cd.export(pictures, tmp_path / "xx", format="folder", limit=3)
    (tmp_path / ".xx.lock").write_text('{"doing": "export"}')
    with pytest.raises(UsageError, match="holds an export"):
        cd.export(pictures, tmp_path / "xx", format="folder")
    assert os.listdir(tmp_path) == ["xx"]


def test_on_a_disk_without_locks_two_exports_at_once_are_each_whole(
    pictures: cd.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", no_locks)  # as some file systems of clusters answer
    out = tmp_path / "xx"
    with opened(str(out), Storage(), is_folder=True, overwrite=True) as first:
        first.put("metadata.jsonl", b"of the first")
        second = cd.export(pictures, out, format="folder", overwrite=True)
        check_folder(out, second.to_dict())
        first.put("a.jpg", b"of the first, too")
        first.publish({})
    assert sorted(os.listdir(out)) == [RECORD, "a.jpg", "metadata.jsonl"]
    assert os.listdir(tmp_path) == ["xx"]
