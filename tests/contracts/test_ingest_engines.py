"""What an ingest on a cluster must keep: the table, the refusals and the records of one in a single process.

The tests of Ray are run by `test_engines.py`, inside its network namespace and on its cluster.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter as Tally
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import clipdata as cd
import ingest
from clipdata.errors import ClipdataError, UsageError
from clipdata.lance_io.history import log
from clipdata.lance_io.refused import rejects_uri
from clipdata.lance_io.table import open_table
from clipdata.storage import Storage
from ingest.updating import newcomers, portions
from tests.cloud.fixtures import Bucket
from tests.contracts.engines import ADDRESS, WITHIN, SlowImages, computed, engine, processes
from tests.pictures import encoded, write_pictures

ROOT = Path(__file__).parents[2]
IS_WITHIN = os.environ.get(WITHIN) == "1"
only_ray = pytest.mark.skipif(not IS_WITHIN, reason="run by test_engines.py, in a namespace of its own")
only_here = pytest.mark.skipif(IS_WITHIN, reason="needs no cluster")


@pytest.fixture(autouse=True)
def small_portions(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Portions so small that several workers have some."""
    monkeypatch.setattr(portions, "LEAST_ITEMS", 3)


def rows_of(uri: str | Path, storage: Storage | None = None) -> list[dict[str, Any]]:
    """All rows by key."""
    table = open_table(uri, storage=storage)
    return sorted(table.to_table().to_pylist(), key=lambda row: row[str(table.key)])


def refused(uri: str | Path, storage: Storage | None = None) -> list[tuple[str, ...]]:
    """What the rejects say, times aside."""
    rejects = open_table(rejects_uri(str(uri)), storage=storage)
    kept = rejects.to_table(["path", "reason", "detail", "etag", "scope", "options"]).to_pylist()
    return sorted(tuple(map(str, row.values())) for row in kept)


def counts(done: ingest.Ingested) -> dict[str, Any]:
    """What a run says of itself, places and times aside; which example of a reason came first is the workers'."""
    said = done.to_dict()
    said["examples"] = sorted(said["examples"])
    return {name: value for name, value in said.items() if name not in ("table", "seconds", "version", "hint")}


class Counting:
    """Counts the items it is told."""

    def __init__(self) -> None:
        self.items, self.refused = 0, Tally[str]()

    def task(self, label: str, total: int | None, unit: str = "rows") -> Any:
        from contextlib import nullcontext

        return nullcontext(self if label.startswith("ingest") else Counting())

    def advance(self, num: int = 1) -> None:
        self.items += num

    def refuse(self, reason: str, num: int = 1) -> None:
        self.refused[reason] += num

    def say(self, text: str) -> None:
        pass


@only_ray
def test_pictures_refusals_and_counts_are_those_of_the_local_engine(tmp_path: Path) -> None:
    pictures = tmp_path / "in"
    write_pictures(pictures, 20)
    (pictures / "0004.jpg").write_bytes(b"no picture")
    (pictures / "0013.jpg").write_bytes(encoded(13)[:200])

    def both() -> tuple[ingest.Ingested, ingest.Ingested, Counting]:
        told = Counting()
        here = ingest.from_images(pictures, into=tmp_path / "here.lance")
        there = ingest.from_images(pictures, into=tmp_path / "there.lance", engine=engine("ray"), progress=told)
        assert rows_of(tmp_path / "there.lance") == rows_of(tmp_path / "here.lance")
        assert refused(tmp_path / "there.lance") == refused(tmp_path / "here.lance")
        return here, there, told

    here, there, told = both()
    assert counts(there) == counts(here)
    assert (there.written.inserted, told.items, told.refused.total()) == (18, 20, 2)
    closing = [entry for entry in log(there.table) if entry.properties]
    assert [entry.properties.verb for entry in closing] == ["ingest images"]

    cd.delete(tmp_path / "here.lance", "filename = '0002.jpg'")
    cd.delete(tmp_path / "there.lance", "filename = '0002.jpg'")
    (pictures / "0004.jpg").write_bytes(encoded(4))  # mended
    (pictures / "0007.jpg").write_bytes(encoded(70))  # another
    os.utime(pictures / "0008.jpg", (1, 1))  # only touched
    write_pictures(pictures, 6, first=30)
    here, there, _ = both()
    assert counts(there) == counts(here)
    assert (there.written.inserted, there.written.updated) == (7, 1)
    assert len(rows_of(tmp_path / "there.lance")) == 24


@only_ray
def test_files_of_rows_are_taken_in_and_rows_go_with_them(tmp_path: Path) -> None:
    folder = tmp_path / "meta"
    folder.mkdir()
    for number in range(6):
        names = [f"{number}-{row}.jpg" if row else None for row in range(4)]
        pq.write_table(pa.table({"filename": names, "label": list("ABCD")}), folder / f"{number}.parquet")
    (folder / "4.parquet").write_bytes((folder / "4.parquet").read_bytes()[:-30])

    def both() -> ingest.Ingested:
        here = ingest.from_parquet(folder, into=tmp_path / "here.lance")
        there = ingest.from_parquet(folder, into=tmp_path / "there.lance", engine=engine("ray"))
        assert rows_of(tmp_path / "there.lance") == rows_of(tmp_path / "here.lance")
        assert refused(tmp_path / "there.lance") == refused(tmp_path / "here.lance")
        assert counts(there) == counts(here)
        return there

    assert both().written.inserted == 15
    pq.write_table(pa.table({"filename": ["new.jpg", "2-1.jpg"], "label": ["E", "B"]}), folder / "2.parquet")
    done = both()
    assert (done.written.inserted, done.written.deleted) == (1, 2)
    assert both().unchanged == 5


@only_ray
def test_a_folder_of_nothing_that_can_be_used_is_told_as_by_one_process(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(8):
        (tmp_path / "in" / f"{number}.jpg").write_bytes(b"no picture")
    here = ingest.from_images(tmp_path / "in", into=tmp_path / "here.lance")
    there = ingest.from_images(tmp_path / "in", into=tmp_path / "there.lance", engine=engine("ray"))
    assert counts(there) == counts(here)
    assert (there.num_refused, open_table(tmp_path / "there.lance").num_rows) == (8, 0)
    assert refused(tmp_path / "there.lance") == refused(tmp_path / "here.lance")


@only_ray
def test_a_worker_that_dies_is_replaced_and_no_row_is_lost_or_doubled(tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 18)
    folder = tmp_path / "seen"
    folder.mkdir()
    source = SlowImages(tmp_path / "in", folder=folder, pause_s=0.02, dies_once="0010.jpg")

    done = ingest.ingest(source, tmp_path / "t.lance", engine=engine("ray"))

    assert (folder / "died").exists()
    assert done.written.inserted == 18
    assert [row["path"] for row in rows_of(tmp_path / "t.lance")] == [f"{number:04d}.jpg" for number in range(18)]
    assert len(processes(folder)) >= 2
    assert len(computed(folder)) - 18 <= 3, "a portion of three pictures was read twice at most"


@only_ray
@pytest.mark.parametrize(("first", "then"), [("ray", "local"), ("local", "ray")])
def test_a_killed_ingest_is_finished_by_either_engine(tmp_path: Path, first: str, then: str) -> None:
    write_pictures(tmp_path / "in", 16)
    folder, uri = tmp_path / "seen", tmp_path / "t.lance"
    folder.mkdir()
    command = [sys.executable, "-m", "tests.contracts.engines", "ingest", first, str(uri), str(folder)]
    job = subprocess.Popen([*command, str(tmp_path / "in")], cwd=ROOT)
    while len(list((uri / "_versions").glob("*.manifest"))) < 3:
        assert job.poll() is None, "it ended before it was killed"
        time.sleep(0.01)
    job.send_signal(signal.SIGKILL)
    job.wait()
    time.sleep(0.5)  # its workers end with it
    there = open_table(uri).num_rows

    done = ingest.ingest(SlowImages(tmp_path / "in", folder=folder), uri, engine=engine(then))

    assert 0 < there < 16
    assert (done.unchanged, done.written.inserted) == (there, 16 - there)
    assert [row["path"] for row in rows_of(uri)] == [f"{number:04d}.jpg" for number in range(16)]
    assert len(computed(folder)) - 16 <= 2 * 2 * 2, "each worker may lose the two pictures that it had"
    verbs = [entry.properties.verb for entry in log(open_table(uri)) if entry.properties]
    assert verbs == ["ingest images"]


@only_ray
def test_an_ingest_here_and_one_on_a_cluster_at_once_double_nothing(tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 16)
    (tmp_path / "seen").mkdir()

    def here() -> None:
        ingest.ingest(SlowImages(tmp_path / "in", folder=tmp_path / "seen", pause_s=0.05), tmp_path / "t.lance")

    beside = threading.Thread(target=here)
    beside.start()
    ingest.from_images(tmp_path / "in", into=tmp_path / "t.lance", engine=engine("ray"))
    beside.join()

    assert [row["path"] for row in rows_of(tmp_path / "t.lance")] == [f"{number:04d}.jpg" for number in range(16)]


@only_ray
def test_two_drivers_that_take_in_the_same_pictures_at_once_double_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(newcomers, "COMMIT_S", 0.0)
    write_pictures(tmp_path / "in", 16)
    folder, uri = tmp_path / "seen", tmp_path / "t.lance"
    folder.mkdir()
    command = [sys.executable, "-m", "tests.contracts.engines", "ingest", "ray", str(uri), str(folder)]
    other = subprocess.Popen([*command, str(tmp_path / "in")], cwd=ROOT)
    while not computed(folder):
        assert other.poll() is None, "it ended before it was met"
        time.sleep(0.05)
    here = ingest.ingest(SlowImages(tmp_path / "in", folder=folder, pause_s=0.05), uri, engine=engine("ray"))

    assert other.wait() == 0
    assert [row["path"] for row in rows_of(uri)] == [f"{number:04d}.jpg" for number in range(16)]
    assert here.unchanged + here.num_rows == 16
    assert cd.check(uri).sound


@only_ray
def test_a_node_is_lost_and_no_picture_with_it(tmp_path: Path, cluster: Any) -> None:
    write_pictures(tmp_path / "in", 36)
    folder = tmp_path / "seen"
    folder.mkdir()
    node = cluster.add_node(num_cpus=1, resources={"lost": 1}, object_store_memory=80 << 20)

    class Losing(Counting):
        def advance(self, num: int = 1) -> None:
            super().advance(num)
            if cluster.worker_nodes and node in cluster.worker_nodes:
                cluster.remove_node(node, allow_graceful=False)

    many = cd.RayEngine(workers=3, address=os.environ[ADDRESS])
    source = SlowImages(tmp_path / "in", folder=folder, pause_s=0.1)
    done = ingest.ingest(source, tmp_path / "t.lance", engine=many, progress=Losing())

    assert node not in cluster.worker_nodes
    assert done.written.inserted == 36
    assert [row["path"] for row in rows_of(tmp_path / "t.lance")] == [f"{number:04d}.jpg" for number in range(36)]


@only_ray
def test_pictures_and_a_table_on_a_bucket_and_no_log_holds_a_key(bucket: Bucket, cluster: Any, tmp_path: Path) -> None:
    secret = "the-key-that-nobody-may-see"
    storage = bucket.direct
    if bucket.scheme == "s3":
        storage = cd.Storage(options={**storage.options, "secret_access_key": secret})
    filesystem, root = storage.filesystem(bucket.url("in"))
    for number in range(8):
        filesystem.pipe_file(f"{root}/{number:04d}.jpg", encoded(number) if number != 5 else b"no picture")

    here = ingest.from_images(bucket.url("in"), into=tmp_path / "here.lance", storage=storage)
    there = ingest.from_images(bucket.url("in"), into=bucket.url("t.lance"), storage=storage, engine=engine("ray"))

    assert counts(there) == counts(here)
    assert rows_of(bucket.url("t.lance"), storage) == rows_of(tmp_path / "here.lance")
    assert refused(bucket.url("t.lance"), storage) == refused(tmp_path / "here.lance")
    logs = Path(cluster.head_node.get_session_dir_path()) / "logs"
    found = [file for file in logs.rglob("*") if file.is_file() and secret.encode() in file.read_bytes()]
    assert not found


@only_ray
def test_the_command_line_takes_in_on_a_cluster(tmp_path: Path) -> None:
    from tests.contracts.engines import ADDRESS

    write_pictures(tmp_path / "in", 3)
    command = [sys.executable, "-m", "clipdata", "ingest", "images", "in", "--into", "t.lance"]
    options = ["--engine", "ray", "-E", "workers=1", "-E", f"address={os.environ[ADDRESS]}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, *options], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert open_table(tmp_path / "t.lance").num_rows == 3


@only_here
def test_what_can_only_be_read_here_is_refused_before_a_cluster_is_looked_for(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_dict({"filename": ["a.jpg"]})
    with pytest.raises(UsageError, match="is open in this process, so no worker can read it"):
        ingest.from_hugging_face(rows, into=tmp_path / "t.lance", engine=cd.RayEngine())
    pq.write_table(pa.table({"filename": ["a.jpg", "b.jpg"]}), tmp_path / "m.parquet")
    with pytest.raises(UsageError, match=r"counted while they are read, by one process\n.*--engine local"):
        ingest.from_parquet(tmp_path / "m.parquet", into=tmp_path / "m.lance", limit=1, engine=cd.RayEngine())


@only_here
def test_a_dry_run_needs_no_cluster(tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 2)
    done = ingest.from_images(tmp_path / "in", into=tmp_path / "t.lance", dry_run=True, engine=cd.RayEngine())
    assert done.read == 2


@only_here
def test_portions_are_bounded_by_items_and_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    from ingest.updating import batches
    from ingest.updating.source import Item

    items = [Item(str(number), "", 100, "") for number in range(7)]
    assert [len(one) for one in portions.portions(items, lambda given: 3)] == [3, 3, 1]
    assert [len(one) for one in portions.portions(items, lambda given: 1 + given // 2)] == [1, 1, 2, 3]
    monkeypatch.setattr(batches, "UNIT_BYTES", 150)
    assert [len(one) for one in portions.portions(items, lambda given: 3)] == [2, 2, 2, 1]


def test_a_fault_of_a_broken_file_keeps_what_it_says_when_it_is_sent() -> None:
    import pickle

    from ingest.updating.source import BrokenFile

    sent = pickle.loads(pickle.dumps(BrokenFile("missing", "it is gone", passing=True)))
    assert (sent.reason, sent.detail, sent.passing, str(sent)) == ("missing", "it is gone", True, "missing: it is gone")
    assert not isinstance(sent, ClipdataError)
