"""New rows go into a large table without a join: the same rows as by key, whoever else writes, and whenever it ends."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import clipdata as cd
import ingest
from clipdata.errors import TransientError
from clipdata.lance_io import rows
from clipdata.lance_io.history import log
from clipdata.lance_io.inserting import Inserter
from clipdata.schema import image_schema
from ingest.pictures.image_files import ImageFiles
from ingest.updating import batches, newcomers, target
from ingest.updating.source import Item, Refuse
from tests.contracts.engines import SlowImages
from tests.pictures import encoded, write_pictures
from tests.test_target import Files, texts

ROOT = Path(__file__).resolve().parents[1]
NUM_THERE = 100


@pytest.fixture
def uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table of a hundred rows beside which every unit is small; each unit is put in at once."""
    monkeypatch.setattr(batches, "UNIT_ROWS", 2)
    monkeypatch.setattr(batches, "BATCH_ROWS", 1)
    monkeypatch.setattr(newcomers, "COMMIT_S", 0.0)
    return large_table(tmp_path / "t.lance")


def large_table(uri: Path) -> Path:
    names = [f"old/{number:04d}.jpg" for number in range(NUM_THERE)]
    columns = {"path": names, "filename": names, "etag": ["1"] * NUM_THERE, "uri": ["/nowhere"] * NUM_THERE}
    rows.upsert(rows.create_table(uri, image_schema()), pa.table(columns))
    return uri


def new_paths(uri: Path) -> list[str]:
    """Keys of the rows that were not there before, each once."""
    paths = cd.open_table(uri).to_table(["path"])["path"].to_pylist()
    assert max(Counter(paths).values()) == 1, "a key has two rows"
    return sorted(path for path in paths if not path.startswith("old/"))


def operations(uri: Path) -> list[str]:
    return [entry.operation for entry in log(cd.open_table(uri), all=True)]


def test_new_rows_are_those_that_are_written_by_key(tmp_path: Path, uri: Path) -> None:
    write_pictures(tmp_path / "in", 7)
    done = ingest.from_images(tmp_path / "in", into=uri)
    assert (done.written.inserted, done.written.updated, done.num_rows) == (7, 0, 7)
    assert operations(uri)[2:] == ["Insert"] * 3 + ["Append"]

    by_key = large_table(tmp_path / "k.lance")
    rows.upsert(cd.open_table(by_key), done.table.to_table(where="NOT starts_with(path, 'old/')"))
    found, expected = (cd.open_table(table).to_table().sort_by("path") for table in (uri, by_key))
    assert found.equals(expected)
    assert [entry.properties.verb for entry in log(cd.open_table(uri)) if entry.properties] == ["ingest images"]
    assert cd.check(uri).sound


@pytest.mark.parametrize("commit_s", [0.0, 60.0])
def test_rows_that_bring_a_column_along_keep_its_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commit_s: float
) -> None:
    monkeypatch.setattr(newcomers, "COMMIT_S", commit_s)
    names = [f"{number:03d}" for number in range(NUM_THERE)]
    pq.write_table(pa.table({"filename": names, "score": range(NUM_THERE)}), tmp_path / "old.parquet")
    ingest.from_parquet(tmp_path / "old.parquet", into=tmp_path / "t.lance")
    for place, column in enumerate(("extra", "Score"), 1):
        new = pa.table({"filename": [f"{column} {number}" for number in range(2)], column: [place, place + 1]})
        pq.write_table(new, tmp_path / f"{column}.parquet")
        done = ingest.from_parquet(tmp_path / f"{column}.parquet", into=tmp_path / "t.lance")
        called = "meta_Score" if column == "Score" else column  # SQL does not tell it from `score`
        assert done.table.to_table([called], where=f"{called} IS NOT NULL")[called].to_pylist() == [place, place + 1]
        assert operations(tmp_path / "t.lance").count("Insert") == place + 1
    assert "differs only in case from one that is here; the source's is called: meta_Score" in str(done)
    again = ingest.from_parquet(tmp_path / "Score.parquet", into=tmp_path / "t.lance")
    assert again.table.schema.names == done.table.schema.names


def test_some_seconds_of_units_go_in_by_one_commit(tmp_path: Path, uri: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newcomers, "COMMIT_S", 60.0)
    write_pictures(tmp_path / "in", 9)
    assert ingest.from_images(tmp_path / "in", into=uri).written.inserted == 9
    assert operations(uri)[2:] == ["Insert", "Append"]
    assert len(new_paths(uri)) == 9


def test_rows_that_changed_are_replaced_beside_new_ones_and_others_stay(tmp_path: Path, uri: Path) -> None:
    paths = write_pictures(tmp_path / "in", 4)
    ingest.from_images(tmp_path / "in", into=uri)
    paths[1].write_bytes(encoded(77))
    write_pictures(tmp_path / "in", 3, first=4)
    (tmp_path / "in" / "0009.jpg").write_bytes(b"no picture")

    done = ingest.from_images(tmp_path / "in", into=uri)

    assert (done.written.inserted, done.written.updated, done.unchanged, done.num_refused) == (3, 1, 3, 1)
    assert new_paths(uri) == [f"{number:04d}.jpg" for number in range(7)]
    (held,) = cd.open_table(uri).to_table(["image"], where="path = '0001.jpg'")["image"].to_pylist()
    assert held == encoded(77)
    assert ingest.from_images(tmp_path / "in", into=uri).read == 0


def test_rows_that_were_deleted_by_hand_stay_away(tmp_path: Path, uri: Path) -> None:
    write_pictures(tmp_path / "in", 3)
    ingest.from_images(tmp_path / "in", into=uri)
    cd.delete(uri, "path = '0001.jpg'")
    write_pictures(tmp_path / "in", 2, first=3)
    assert ingest.from_images(tmp_path / "in", into=uri).written.inserted == 2
    assert new_paths(uri) == ["0000.jpg", "0002.jpg", "0003.jpg", "0004.jpg"]


def test_a_key_that_two_files_have_is_one_row(tmp_path: Path, uri: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    del uri  # for what it sets
    filled = [(f"{number}", "x") for number in range(NUM_THERE)]
    with monkeypatch.context() as patch:
        patch.setattr(batches, "UNIT_ROWS", NUM_THERE)
        ingest.ingest(Files(filled), tmp_path / "f.lance")
    source = Files(filled, [("a", "1"), ("b", "2")], [("c", "3"), ("a", "other")], [("d", "4"), ("b", "other")])

    assert ingest.ingest(source, tmp_path / "f.lance").written.inserted == 4

    held = texts(tmp_path / "f.lance")
    assert {key: held[key] for key in "abcd"} == {"a": "1", "b": "2", "c": "3", "d": "4"}
    assert len(held) == NUM_THERE + 4
    assert ingest.ingest(source, tmp_path / "f.lance").unchanged == 2, "of the others, rows belong to another file"


class Ending(ImageFiles):
    """Images of a store that goes down before one of them."""

    def read(self, items: Iterable[Item], refuse: Refuse) -> Iterator[pa.RecordBatch]:
        for item in items:
            if item.key == "0005.jpg":
                raise TransientError("the store is down")
            yield from super().read([item], refuse)


def test_what_came_before_the_store_went_down_is_in_the_table(
    tmp_path: Path, uri: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(newcomers, "COMMIT_S", 60.0)
    write_pictures(tmp_path / "in", 8)
    with pytest.raises(TransientError, match="the store is down"):
        ingest.ingest(Ending(tmp_path / "in"), uri)
    assert new_paths(uri) == [f"{number:04d}.jpg" for number in range(5)]
    done = ingest.from_images(tmp_path / "in", into=uri)
    assert (done.unchanged, done.written.inserted) == (5, 3)


@pytest.mark.parametrize("peer", ["as new rows", "by key"])
def test_ingests_of_the_same_pictures_at_once_double_nothing(tmp_path: Path, uri: Path, peer: str) -> None:
    write_pictures(tmp_path / "in", 24)
    write_pictures(tmp_path / "more", 12, first=12)

    def by_key() -> None:
        for path in sorted((tmp_path / "more").iterdir()):
            unit = pa.table({"path": [path.name], "filename": [path.name], "image": [path.read_bytes()]})
            rows.upsert(cd.open_table(uri), unit)

    with ThreadPoolExecutor(3) as pool:
        jobs = [pool.submit(ingest.from_images, tmp_path / "in", into=uri) for _ in range(2)]
        if peer == "as new rows":
            jobs.append(pool.submit(ingest.from_images, tmp_path / "more", into=uri))
        else:
            pool.submit(by_key).result()
    for job in jobs:
        job.result()

    assert new_paths(uri) == [f"{number:04d}.jpg" for number in range(24)]
    assert cd.check(uri).sound


def test_a_table_that_another_writer_made_between_the_plan_and_the_first_row_is_compared_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target, "is_small", lambda num_rows, table_rows: True)
    write_pictures(tmp_path / "in", 4)
    uri = tmp_path / "t.lance"

    class Late(ImageFiles):
        def items(self) -> Iterator[Item]:
            yield from super().items()
            ingest.from_images(tmp_path / "in", into=uri)

    done = ingest.ingest(Late(tmp_path / "in"), uri)

    assert done.written.inserted == 0
    assert len(new_paths(uri)) == 4


def test_a_killed_ingest_is_finished_by_the_next(tmp_path: Path, uri: Path) -> None:
    write_pictures(tmp_path / "in", 12)
    (tmp_path / "seen").mkdir()
    command = [sys.executable, "-m", "tests.contracts.engines", "ingest", "local", str(uri), str(tmp_path / "seen")]
    job = subprocess.Popen([*command, str(tmp_path / "in")], cwd=ROOT)
    while cd.open_table(uri).num_rows < NUM_THERE + 4:
        assert job.poll() is None, "it ended before it was killed"
        time.sleep(0.02)
    job.send_signal(signal.SIGKILL)
    job.wait()
    there = len(new_paths(uri))
    assert "Insert" in operations(uri)

    done = ingest.ingest(SlowImages(tmp_path / "in", folder=tmp_path / "seen"), uri)

    assert 4 <= there < 12
    assert (done.unchanged, done.written.inserted) == (there, 12 - there)
    assert new_paths(uri) == [f"{number:04d}.jpg" for number in range(12)]


def test_new_rows_count_what_went_in_and_what_another_writer_was_faster_with(uri: Path, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 3)
    insert, calls = Inserter.insert, []

    def late(self: Inserter, new: Any, **named: Any) -> Any:
        if not calls:
            rows.upsert(cd.open_table(uri), pa.table({"path": ["0001.jpg"], "filename": ["0001.jpg"], "etag": ["0"]}))
        calls.append(new)
        return insert(self, new, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Inserter, "insert", late)
        done = ingest.from_images(tmp_path / "in", into=uri)

    assert (done.written.inserted, done.written.updated) == (2, 1)
    assert new_paths(uri) == ["0000.jpg", "0001.jpg", "0002.jpg"]
