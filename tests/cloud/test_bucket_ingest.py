"""Ingest of images from buckets: many requests, failing requests, changing objects, several writers, and references."""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

import clipdata as cd
import ingest
from clipdata.errors import ClipdataError, CredentialsError, NotFoundError, TransientError
from clipdata.lance_io.refused import rejects_uri
from clipdata.lance_io.table import exists
from clipdata.objects.faults import PATIENCE
from clipdata.storage import Storage
from ingest.pictures.image_files import ImageFiles
from tests.cloud.fault_proxy import REPOSITORY, Fault
from tests.cloud.fixtures import Bucket
from tests.cloud.objects import TEN_PERCENT, of_folder, put, put_pictures, remove
from tests.pictures import encoded

SECRET = "k7hGs3cretZq9"


def rows_of(uri: object, storage: Storage | None = None) -> dict[str, bytes]:
    """Bytes by path; fails when a path occurs twice."""
    read = cd.open_table(str(uri), storage=storage).to_table(["path", "image"])
    found = dict(zip(read["path"].to_pylist(), read["image"].to_pylist(), strict=True))
    assert len(found) == read.num_rows, "a row is there twice"
    return found


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up soon, so that a test of a store that is down does not take a minute."""
    for module in ("reading", "listing"):
        monkeypatch.setattr(f"clipdata.objects.{module}.PATIENCE", replace(PATIENCE, attempts=1))


def test_a_bucket_gives_the_rows_of_the_same_local_folder(bucket: Bucket, tmp_path: Path) -> None:
    pictures = put_pictures(bucket, "in/deep", range(12))
    put(bucket, {"in/notes.txt": b"no image", "in/a/": b"", "inside.jpg": encoded(99)})
    (tmp_path / "in" / "deep").mkdir(parents=True)
    for name, data in pictures.items():
        (tmp_path / "in" / "deep" / name).write_bytes(data)
    same = ["path", "filename", "image", "format", "width", "height", "bytes", "sha256"]

    remote = ingest.from_images(bucket.url("in"), into=tmp_path / "remote.lance", storage=bucket.storage)
    local = ingest.from_images(tmp_path / "in", into=tmp_path / "local.lance")

    assert remote.table.to_table(same).equals(local.table.to_table(same))
    assert remote.table.to_table(["uri"])["uri"][0].as_py() == bucket.url("in/deep/00000.jpg")
    assert "1 .txt" in str(remote)


def test_a_listing_goes_on_over_many_pages(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clipdata.objects.listing.PAGE_OBJECTS", 7)
    put_pictures(bucket, "in", range(20))

    with bucket.proxy.counting() as counts:
        items = list(ImageFiles(bucket.url("in"), storage=bucket.storage).items())

    assert [item.key for item in items] == [f"{number:05d}.jpg" for number in range(20)]
    assert counts.requests == {"list": 3}


def test_a_table_on_a_bucket_is_made_filled_and_closed_in_seventeen_requests(bucket: Bucket) -> None:
    put_pictures(bucket, "in", range(4))

    with bucket.proxy.counting() as counts:
        ingest.from_images(bucket.url("in"), into=bucket.url("t.lance"), storage=bucket.storage)

    asked = [one for one in counts.log if ".jpg" not in one.target]
    assert len(asked) <= 17
    made = next(place for place, one in enumerate(asked) if one.method == "PUT" and ".manifest" in one.target)
    follows = "in turn: a data file, a look whether anybody wrote meanwhile, and two commits of three"
    assert len(asked) - made - 1 == 8, follows


def test_unchanged_images_cost_a_listing_and_nothing_else(bucket: Bucket) -> None:
    put_pictures(bucket, "in", range(10))
    table = bucket.url("t.lance")
    ingest.from_images(bucket.url("in"), into=table, storage=bucket.storage)

    with bucket.proxy.counting() as counts:
        again = ingest.from_images(bucket.url("in"), into=table, storage=bucket.storage)

    assert of_folder(counts, "in") == {"list": 1}
    assert (again.unchanged, again.read) == (10, 0)
    assert "put" not in counts.requests


def test_nothing_is_lost_or_doubled_when_one_request_in_ten_fails(bucket: Bucket) -> None:
    pictures = put_pictures(bucket, "in", range(150))

    with bucket.proxy.injecting(*TEN_PERCENT):
        done = ingest.from_images(bucket.url("in"), into=bucket.url("t.lance"), storage=bucket.storage)

    assert sum(bucket.proxy.counts().faults.values()) > 10
    assert done.num_refused == 0
    assert rows_of(bucket.url("t.lance"), bucket.direct) == pictures


def test_a_killed_ingest_downloads_only_what_was_not_committed(bucket: Bucket, tmp_path: Path) -> None:
    pictures, table = put_pictures(bucket, "in", range(400)), tmp_path / "t.lance"
    script = (
        "import ingest, ingest.pictures.image_files, ingest.updating.batches as batches, sys\n"
        "from clipdata.storage import Storage\n"
        "batches.BATCH_ROWS = batches.UNIT_ROWS = 40\n"
        f"ingest.from_images({bucket.url('in')!r}, into={str(table)!r},"
        f" storage=Storage({bucket.storage.anonymous}, {dict(bucket.storage.options)!r}))"
    )
    with bucket.proxy.injecting(Fault("latency", requests=["get"], delay_s=(0.6, 0.8))):
        child = subprocess.Popen([sys.executable, "-c", script], cwd=REPOSITORY)
        while child.poll() is None and not (exists(table) and cd.open_table(table).num_rows):
            time.sleep(0.05)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    committed = set(rows_of(table))
    assert 0 < len(committed) < 400

    with bucket.proxy.counting() as counts:
        done = ingest.from_images(bucket.url("in"), into=table, storage=bucket.storage)

    # By name: requests that the killed process had in flight may end only now.
    asked_for = {re.findall(r"\d{5}\.jpg", request.target)[-1] for request in counts.of("get").log}
    assert asked_for == pictures.keys() - committed
    assert (done.unchanged, done.read) == (len(committed), 400 - len(committed))
    assert rows_of(table) == pictures


@pytest.mark.slow
def test_a_store_that_goes_down_is_said_after_what_was_read_is_committed(
    bucket: Bucket, tmp_path: Path, impatient: None
) -> None:
    pictures = put_pictures(bucket, "in", range(300))
    down = Fault("503", requests=["get"], skip=200)

    with bucket.proxy.injecting(down), pytest.raises(TransientError, match="nothing else can be read either"):
        ingest.from_images(bucket.url("in"), into=tmp_path / "t.lance", storage=bucket.storage)
    committed = cd.open_table(tmp_path / "t.lance").num_rows
    assert 150 <= committed <= 200

    done = ingest.from_images(bucket.url("in"), into=tmp_path / "t.lance", storage=bucket.storage)
    assert done.read == 300 - committed
    assert rows_of(tmp_path / "t.lance") == pictures


@pytest.mark.slow
def test_one_object_that_always_fails_is_refused_and_tried_again_by_the_next_run(
    bucket: Bucket, tmp_path: Path, impatient: None
) -> None:
    put_pictures(bucket, "in", range(30))
    with bucket.proxy.injecting(Fault("503", requests=["get"], match=r"00003\.jpg")):
        done = ingest.from_images(bucket.url("in"), into=tmp_path / "t.lance", storage=bucket.storage)
    assert (done.table.num_rows, dict(done.refused)) == (29, {"unreadable": 1})

    again = ingest.from_images(bucket.url("in"), into=tmp_path / "t.lance", storage=bucket.storage)
    assert (again.read, again.written.inserted) == (1, 1)
    assert cd.open_table(rejects_uri(again.table.uri)).num_rows == 0


@pytest.mark.parametrize("same_length", [False, True])
def test_an_image_that_changes_after_the_listing_is_stored_with_its_new_etag(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, same_length: bool
) -> None:
    old, new = encoded(1), encoded(2)
    longer = max(len(old), len(new)) + 10
    old, new = (old + bytes(longer - len(old)), new + bytes(longer - len(new))) if same_length else (old, new)
    put(bucket, {"in/a.jpg": old, "in/b.jpg": encoded(3)})
    read = ImageFiles.read

    def read_late(self, items, refuse):
        put(bucket, {"in/a.jpg": new})
        return read(self, items, refuse)

    with monkeypatch.context() as patched:
        patched.setattr(ImageFiles, "read", read_late)
        ingest.from_images(bucket.url("in"), into=tmp_path / "t.lance", storage=bucket.storage)

    assert rows_of(tmp_path / "t.lance")["a.jpg"] == new
    again = ingest.from_images(bucket.url("in"), into=tmp_path / "t.lance", storage=bucket.storage)
    assert again.unchanged == 2


def test_an_image_that_goes_after_the_listing_is_refused_as_missing(bucket: Bucket, tmp_path: Path) -> None:
    put_pictures(bucket, "in", range(3))
    source = ImageFiles(bucket.url("in"), storage=bucket.storage)
    items = list(source.items())
    remove(bucket, "in/00001.jpg")
    refused: list = []

    (batch,) = source.read(items, refused.append)

    assert batch.column("path").to_pylist() == ["00000.jpg", "00002.jpg"]
    assert [(reject.key, reject.reason) for reject in refused] == [("00001.jpg", "missing")]


def test_a_bucket_or_prefix_that_is_not_there_is_said_and_leaves_no_table(bucket: Bucket, tmp_path: Path) -> None:
    put_pictures(bucket, "in", range(1))
    with pytest.raises(NotFoundError, match="no image under"):
        ingest.from_images(bucket.url("out"), into=tmp_path / "t.lance", storage=bucket.storage)
    with pytest.raises(NotFoundError, match="listing"):
        ingest.from_images(f"{bucket.scheme}://no-such-bucket/in", into=tmp_path / "t.lance", storage=bucket.storage)
    assert not (tmp_path / "t.lance").exists()


def test_six_writers_of_the_same_and_of_different_images_lose_and_double_nothing(bucket: Bucket) -> None:
    pictures = put_pictures(bucket, "in/same", range(60))
    expected = {f"same/{name}": data for name, data in pictures.items()}
    for writer in range(3):
        own = put_pictures(bucket, f"own{writer}/folder{writer}", range(100 * writer, 100 * writer + 30))
        expected |= {f"folder{writer}/{name}": data for name, data in own.items()}
    sources = ["in", "in", "in", "own0", "own1", "own2"]

    def write(source: str) -> int:
        done = ingest.from_images(bucket.url(source), into=bucket.url("t.lance"), storage=bucket.storage)
        return done.num_refused

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(write, sources)) == [0] * 6
    assert rows_of(bucket.url("t.lance"), bucket.direct) == expected


@pytest.mark.slow
def test_a_secret_is_in_no_table_log_error_or_reject(
    s3: Bucket,
    tmp_path: Path,
    impatient: None,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.INFO)
    secret = Storage(options={**s3.storage.options, "secret_access_key": SECRET, "session_token": f"{SECRET}-token"})
    put(s3, {"in/a.jpg": encoded(1), "in/bad.jpg": b"no picture"})
    put_pictures(s3, "in/more", range(5))
    said: list[str] = []

    gone = Fault("503", requests=["get"], match="more/00002")
    with s3.proxy.injecting(gone):
        done = ingest.from_images(s3.url("in"), into=tmp_path / "t.lance", storage=secret)
    said += [str(done), str(done.to_dict()), repr(done)]
    said += [str(cd.open_table(rejects_uri(done.table.uri)).to_table().to_pylist())]
    ingest.from_images(s3.url("in"), into=s3.url("t.lance"), storage=secret)
    for failing in (f"s3://no-such-bucket-{SECRET[:3]}/x", s3.url("nothing")):
        with pytest.raises(ClipdataError) as caught:
            ingest.from_images(failing, into=tmp_path / "u.lance", storage=secret)
        said.append(f"{caught.value} {caught.value!r}")

    stored = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    fs, _ = s3.direct.filesystem(s3.url())
    stored += b"".join(fs.cat(fs.find(s3.url("t.lance"))).values())
    out, err = capfd.readouterr()
    assert SECRET.encode() not in stored
    assert SECRET not in "".join([*said, caplog.text, out, err])


def test_a_bucket_that_refuses_access_ends_the_job_and_names_the_remedy(s3: Bucket, tmp_path: Path) -> None:
    put_pictures(s3, "in", range(2))
    source = ImageFiles(s3.url("in"), storage=s3.storage)
    items = list(source.items())
    fs, _ = s3.direct.filesystem(s3.url())
    policy = '{"Statement": [{"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": "*"}]}'
    fs.call_s3("put_bucket_policy", Bucket=s3.name, Policy=policy)
    with pytest.raises(CredentialsError, match="refused access") as caught:
        list(source.read(items, lambda reject: None))
    assert "--anonymous" in str(caught.value)


def test_references_are_taken_in_from_the_first_bytes(bucket: Bucket, tmp_path: Path) -> None:
    large = encoded(7, ".png", 600, 800) + bytes(400_000)
    put(bucket, {"in/large.png": large, "in/small.jpg": encoded(1), "in/bad.jpg": b"no picture at all"})

    with bucket.proxy.counting() as counts:
        done = ingest.from_images(bucket.url("in"), into=tmp_path / "t.lance", storage=bucket.storage, reference=True)

    assert counts.down_bytes < 80_000 < len(large)
    (first, second) = done.table.to_table().to_pylist()
    assert (first["image"], first["sha256"], first["bytes"]) == (None, None, len(large))
    assert (first["format"], first["width"], first["height"]) == ("png", 800, 600)
    assert (second["path"], second["uri"]) == ("small.jpg", bucket.url("in/small.jpg"))
    assert dict(done.refused) == {"not_an_image": 1}


def test_a_reference_whose_header_is_long_is_read_whole(bucket: Bucket, tmp_path: Path) -> None:
    plain = encoded(5)
    comments = b"".join(b"\xff\xfe" + (60_002).to_bytes(2, "big") + bytes(60_000) for _ in range(2))
    put(bucket, {"in/a.jpg": plain[:2] + comments + plain[2:], "in/cut.jpg": plain[:2] + comments})
    done = ingest.from_images(bucket.url("in"), into=tmp_path / "t.lance", storage=bucket.storage, reference=True)
    assert done.table.to_table(["path", "width", "image"]).to_pylist() == [
        {"path": "a.jpg", "width": 64, "image": None}
    ]
    assert dict(done.refused) == {"truncated": 1}


@pytest.mark.slow
def test_objects_of_several_pages_become_rows(gcs_disk: Bucket, tmp_path: Path) -> None:
    tiny = encoded(1, ".png", 4, 4)
    put(gcs_disk, {f"in/{number // 1000}/{number:05d}.png": tiny for number in range(2_050)})

    with gcs_disk.proxy.counting() as counts:
        done = ingest.from_images(gcs_disk.url("in"), into=tmp_path / "t.lance", storage=gcs_disk.storage)

    assert counts.of("list").requests == {"list": 3}
    assert done.table.num_rows == done.listed == 2_050
    paths = done.table.to_table(["path"]).column("path")
    assert len(paths.unique()) == 2_050
