"""Exports to buckets: whole or not at all, whatever the network does, and the same files as on disk."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import clipdata as cd
import ingest
from clipdata.errors import ConcurrentChangeError, UsageError
from clipdata.exports import shards
from clipdata.exports.bucket_places import RemoteFolder
from clipdata.exports.folder_record import RECORD
from clipdata.exports.shard_manifest import load_manifest
from tests.cloud.fixtures import Bucket
from tests.cloud.objects import TEN_PERCENT, put_pictures


def names(bucket: Bucket, folder: str) -> list[str]:
    fs, path = bucket.direct.filesystem(bucket.url(folder))
    return sorted(name[len(path) + 1 :] for name in fs.find(path))


def test_every_format_goes_to_a_bucket_and_a_broken_one_leaves_nothing_whole(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = put_pictures(bucket, "in", range(6))
    into = bucket.url("t.lance")
    table = ingest.from_images(bucket.url("in"), into=into, reference=True, storage=bucket.storage).table
    fs, _ = bucket.direct.filesystem(bucket.url())
    bucket.proxy.inject(*TEN_PERCENT)

    cd.export(table, bucket.url("out", "t.parquet"))
    with fs.open(f"{bucket.name}/out/t.parquet") as stream:
        read = pq.read_table(stream)
    assert [one["bytes"] for one in read["image"].to_pylist()] == list(pictures.values())
    cd.export(table, bucket.url("out", "t.csv"), columns=["path"])
    assert fs.cat_file(f"{bucket.name}/out/t.csv").startswith(b'"path"\n"00000.jpg"\n')
    cd.export_query(table, "SELECT path FROM dataset", bucket.url("out", "q.jsonl"))
    assert fs.cat_file(f"{bucket.name}/out/q.jsonl").count(b"\n") == 6
    copy = cd.export(table, bucket.url("copy.lance"), where="path < '00003'")
    assert (copy.num_rows, cd.open_table(bucket.url("copy.lance"), storage=bucket.storage).num_rows) == (3, 3)

    folder = bucket.url("folder")
    done = cd.export(table, folder, format="folder")
    assert names(bucket, "folder") == sorted([*pictures, "metadata.jsonl", RECORD])
    assert done.num_files == 7
    with pytest.raises(UsageError, match="holds an export"):
        cd.export(table, folder, format="folder", limit=2)
    cd.export(table, folder, format="folder", limit=2, overwrite=True)
    assert names(bucket, "folder") == sorted(["00000.jpg", "00001.jpg", "metadata.jsonl", RECORD])
    assert json.loads(fs.cat_file(f"{bucket.name}/folder/{RECORD}"))["complete"] is True

    stale = {RECORD: b'{"complete": false}', "stale.jpg": b"of one who was killed"}
    for name, data in stale.items():
        fs.pipe_file(f"{bucket.name}/again/{name}", data)
    cd.export(table, bucket.url("again"), format="folder", limit=1)
    assert names(bucket, "again") == sorted(["00000.jpg", "metadata.jsonl", RECORD])
    assert cd.push(table, tmp_path / "set", where="path < '00002'").num_rows == 2

    batches = cd.exports.selection.Selection.batches

    def dying(self, offsets=None):
        yield from (batch.slice(0, 3) for batch in batches(self, offsets))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cd.exports.selection.Selection, "batches", dying)
        for place, kind in (("broken", "folder"), ("broken.parquet", "parquet"), ("broken.lance", "lance")):
            with pytest.raises(KeyboardInterrupt):
                cd.export(table, bucket.url(place), format=kind)
    assert names(bucket, "broken") == []
    assert not fs.exists(f"{bucket.name}/broken.parquet")
    assert not any("_versions" in name for name in names(bucket, "broken.lance"))


def record_of(bucket: Bucket, folder: str) -> dict:
    fs, path = bucket.direct.filesystem(bucket.url(folder))
    return json.loads(fs.cat_file(f"{path}/{RECORD}"))


def test_of_two_exports_to_one_folder_of_a_bucket_none_says_complete_of_what_the_other_one_changed(
    bucket: Bucket,
) -> None:
    """Nobody can be kept out of a bucket, so each looks whose the folder is, and counts what is there."""

    def begun(folder: str) -> RemoteFolder:
        place = RemoteFolder(bucket.url(folder), bucket.storage)
        place.put("a.jpg", b"first")
        return place

    first = begun("taken")
    second = begun("taken")
    second.publish({})
    assert record_of(bucket, "taken")["complete"] is True
    first.put("b.jpg", b"of the first")
    with pytest.raises(ConcurrentChangeError, match="another export writes to"):
        first.publish({})
    first.discard()
    assert record_of(bucket, "taken") == {"complete": False}

    first = begun("strays")
    second = begun("strays")
    first.put("c.jpg", b"of the first")
    with pytest.raises(ConcurrentChangeError, match="another export writes to"), first.open("metadata.jsonl"):
        pass
    first.discard()
    assert names(bucket, "strays") == sorted(["a.jpg", "c.jpg", RECORD])
    with pytest.raises(
        ConcurrentChangeError, match=r"holds 2 files with 17 bytes, and this export wrote 1 file with 5 bytes"
    ):
        second.publish({})
    second.discard()
    assert names(bucket, "strays") == []


def test_of_two_exports_of_shards_to_one_folder_of_a_bucket_the_one_that_was_replaced_is_no_complete_one(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_pictures(bucket, "in", range(6))
    table = ingest.from_images(bucket.url("in"), into=bucket.url("t.lance"), storage=bucket.storage).table
    out, write = bucket.url("shards"), shards._Export._write_shard
    written: list[str] = []

    def meanwhile(self, name, *rest):
        written.append(name)
        if len(written) == 2:  # the second export runs from its beginning to its end
            cd.export(table, out, format="shards", rows_per_shard=3, overwrite=True)
        return write(self, name, *rest)

    monkeypatch.setattr(shards._Export, "_write_shard", meanwhile)
    with pytest.raises(ConcurrentChangeError, match="another export writes to"):
        cd.export(table, out, format="shards", rows_per_shard=2)

    monkeypatch.undo()
    manifest = load_manifest(out, bucket.storage)
    assert manifest is not None
    assert not manifest.complete
    done = cd.export(table, out, format="shards", rows_per_shard=3)
    assert (done.num_rows, done.num_files, done.num_new_files) == (6, 2, 1)
    fs, path = bucket.direct.filesystem(out)
    sizes = {name: counts["bytes"] for name, counts in load_manifest(out, bucket.storage).shards.items()}
    assert sizes == {name: fs.info(f"{path}/{name}")["size"] for name in sizes}
