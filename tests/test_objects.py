"""Objects: stamps, verdicts on faults, reading within bounds, and rows that refer to images (stores: tests/cloud)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest
from botocore.exceptions import ClientError
from fsspec.exceptions import FSTimeoutError
from gcsfs.retry import HttpError

from clipdata.errors import TransientError
from clipdata.objects.faults import PATIENCE, verdict_on, words_of
from clipdata.objects.reading import Body, ObjectReader, Unread, Wanted
from clipdata.objects.references import References, columns_needed
from clipdata.objects.stamps import Stamp, stamp_of
from clipdata.schema import image_schema
from clipdata.storage import Storage

MIB = 1 << 20
QUICK = replace(PATIENCE, attempts=2, base_delay_s=0.01)


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def amazon(status: int, code: str) -> ClientError:
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "GetObject")


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (FileNotFoundError("gone"), "missing"),
        (HttpError({"code": 404, "message": "gone"}), "missing"),
        (PermissionError("no"), "denied"),
        (OSError("Forbidden: https://storage/b/o\nno"), "denied"),
        (HttpError({"code": 401, "message": "who are you"}), "denied"),
        (HttpError({"code": 503, "message": "busy"}), "again"),
        (HttpError({"code": 429, "message": "slow down"}), "again"),
        (HttpError({"code": 400, "message": "what"}), "hopeless"),
        (FSTimeoutError(), "again"),
        (ConnectionResetError("reset by peer"), "again"),
        (caused(OSError(16, "busy"), amazon(503, "SlowDown")), "again"),
        (caused(OSError(5, "internal"), amazon(500, "InternalError")), "again"),
        (caused(OSError(22, "argument"), amazon(400, "InvalidArgument")), "hopeless"),
        (json.JSONDecodeError("a list that ends early", "{", 1), "again"),
        (IsADirectoryError(21, "a folder"), "hopeless"),
        (ValueError("a mistake of ours"), "hopeless"),
    ],
)
def test_errors_of_stores_are_told_apart(error: Exception, verdict: str) -> None:
    assert verdict_on(error) == verdict


def test_words_of_an_error_hold_no_secret_and_one_line() -> None:
    storage = Storage(options={"secret_access_key": "s3cr3t-words", "region": "eu"})
    said = words_of(OSError("signing with s3cr3t-words\nfor https://h/x?X-Amz-Signature=abc&y=1 failed"), storage)
    assert said == "signing with *** for https://h/x?X-Amz-Signature=***&y=1 failed"


def test_each_store_words_its_listing_differently_and_the_stamps_are_alike() -> None:
    digest = hashlib.md5(b"x").digest()
    google = stamp_of(
        {"size": 1, "etag": "CJ=", "md5Hash": "nd1LoRM4PyUe5lHCf6FkAQ==", "updated": "2026-01-02T03:04:05Z"}
    )
    amazons = stamp_of({"Size": 1, "ETag": f'"{digest.hex()}"'})
    parts = stamp_of({"Size": 1, "ETag": f'"{digest.hex()}-2"'})
    assert (google.etag, google.size, google.mtime and google.mtime.year) == ("CJ=", 1, 2026)
    assert (google.md5_is_sure, amazons.md5_is_sure) == (True, False)
    assert (amazons.md5, amazons.etag) == (digest, digest.hex())
    assert parts.md5 is None
    compressed = stamp_of({"size": 1, "etag": "C", "contentEncoding": "gzip", "md5Hash": "nd1LoRM4PyUe5lHCf6FkAQ=="})
    assert (compressed.size, compressed.md5) == (None, None)


def numbered(folder: Path, num: int, num_bytes: int) -> list[Wanted[int]]:
    for number in range(num):
        (folder / str(number)).write_bytes(bytes([number]) * num_bytes)
    return [Wanted(number, str(folder / str(number)), Stamp(size=num_bytes)) for number in range(num)]


def test_objects_come_in_order_and_no_more_than_fits_is_read_ahead(tmp_path: Path) -> None:
    begun = 0

    def wanted() -> Iterator[Wanted[int]]:
        nonlocal begun
        for one in numbered(tmp_path, 30, MIB):
            begun += 1
            yield one

    taken = 0
    for one, body in ObjectReader(Storage(), held_bytes=4 * MIB).read(wanted()):
        assert isinstance(body, Body)
        assert (one.name, body.data[:1]) == (taken, bytes([taken]))
        taken += 1
        assert begun <= taken + 5
    assert taken == 30


def test_an_object_that_is_not_there_does_not_stop_the_others(tmp_path: Path) -> None:
    wanted = numbered(tmp_path, 3, 10)
    (tmp_path / "1").unlink()
    found = [body for _, body in ObjectReader(Storage()).read(wanted)]
    assert [type(body) for body in found] == [Body, Unread, Body]
    assert found[1].reason == "missing"


def test_only_the_first_bytes_are_read_on_request(tmp_path: Path) -> None:
    wanted = [replace(one, stop=stop) for one, stop in zip(numbered(tmp_path, 2, 10), (4, 99), strict=True)]
    assert [len(body.data) for _, body in ObjectReader(Storage()).read(wanted)] == [4, 10]


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    fs = fsspec.filesystem("memory")
    yield fs
    fs.store.clear()


def stored(fs: fsspec.AbstractFileSystem, data: bytes) -> Wanted[str]:
    fs.pipe_file("/a", data)
    return Wanted("a", "memory://a", stamp_of(fs.info("/a")))


def test_an_object_that_changed_is_given_with_its_new_stamp_or_refused(memory: fsspec.AbstractFileSystem) -> None:
    old = stored(memory, b"old")
    new = stored(memory, b"newer")
    reader = ObjectReader(Storage(), patience=QUICK)
    assert reader.get(old) == Body(b"newer", new.stamp)
    refused = reader.get(replace(old, newer=False))
    assert isinstance(refused, Unread)
    assert (refused.reason, refused.detail) == ("changed", "5 bytes, 3 when it was listed; ingest it again")


def test_a_digest_that_is_none_after_all_is_not_held_against_the_object(memory: fsspec.AbstractFileSystem) -> None:
    one = stored(memory, b"encrypted")
    doubtful = replace(one.stamp, md5=bytes(16), md5_is_sure=False)
    assert ObjectReader(Storage(), patience=QUICK).get(replace(one, stamp=doubtful)) == Body(b"encrypted", doubtful)


def test_other_bytes_than_the_stores_own_digest_says_are_not_taken(memory: fsspec.AbstractFileSystem) -> None:
    one = stored(memory, b"damaged on the way")
    sure = replace(one, stamp=replace(one.stamp, md5=bytes(16)))
    unread = ObjectReader(Storage(), patience=QUICK).get(sure)
    assert isinstance(unread, Unread)
    assert unread.again
    assert "other bytes came" in unread.detail


def test_a_store_that_answers_nothing_is_a_transient_error() -> None:
    nobody = Storage(options={"endpoint": "http://127.0.0.1:9", "access_key_id": "k", "secret_access_key": "s"})
    reader = ObjectReader(nobody, patience=replace(PATIENCE, attempts=1), request_s=2)
    with pytest.raises(TransientError, match="nothing else can be read either"):
        reader.get(Wanted(0, "s3://bucket/a.jpg"))


def test_rows_that_hold_their_image_pass_as_they_are_and_at_once(tmp_path: Path) -> None:
    rows = pa.record_batch({"uri": ["/nowhere"], "bytes": [1], "image": pa.array([b"x"], pa.large_binary())})
    begun = 0

    def batches() -> Iterator[tuple[int, pa.RecordBatch]]:
        nonlocal begun
        for number in range(5):
            begun += 1
            yield number, rows

    for number, found in References(Storage()).filled(batches()):
        assert found is rows
        assert begun == number + 1


def test_null_images_are_filled_from_where_they_are_and_the_rest_is_told(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_bytes(name.encode())
    uris = [str(tmp_path / name) for name in ("a", "a", "b", "gone")]
    rows = pa.record_batch(
        {"uri": uris, "bytes": [1, 1, 1, 1], "image": pa.array([None, None, b"own", None], pa.large_binary())}
    )
    references = References(Storage())
    ((name, found),) = references.filled([("rows", rows)])
    assert name == "rows"
    assert found.column("image").to_pylist() == [b"a", b"a", b"own", None]
    assert {uri: unread.reason for uri, unread in references.unread.items()} == {uris[3]: "missing"}


def test_where_images_are_is_read_with_them_only() -> None:
    schema = image_schema()
    assert columns_needed(schema, ["image", "path"]) == ["uri", "bytes"]
    assert columns_needed(schema, ["image", "bytes"]) == ["uri"]
    assert columns_needed(schema, ["path"]) == []
