"""What real servers, and the libraries in front of them, make of the words of `Storage`."""

from __future__ import annotations

import json
from pathlib import Path

import lance
import pyarrow as pa
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from clipdata.storage import Storage, absolute
from tests.cloud.fault_proxy import Fault
from tests.cloud.fixtures import Bucket

SECRET = "hunter2-do-not-show"


def use_table(storage: Storage, uri: str) -> list[int]:
    """Write a table, and read its rows back: 1 and 2."""
    lance.write_dataset(pa.table({"a": [1, 2]}), uri, storage_options=storage.lance_options(uri))
    return lance.dataset(uri, storage_options=storage.lance_options(uri)).to_table()["a"].to_pylist()


def use_object(storage: Storage, uri: str) -> bytes:
    """Write an object, and read it back: "content"."""
    fs, path = storage.filesystem(uri)
    fs.pipe_file(path, b"content")
    return fs.cat_file(path)


def changed(bucket: Bucket, **words: str | None) -> Storage:
    """The bucket's settings with some words changed, or left out where None."""
    options = {**bucket.storage.options, **words}
    return Storage(options={word: value for word, value in options.items() if value is not None})


def test_bearer_token_reaches_gcs_without_asking_google_about_it(gcs: Bucket) -> None:
    storage = changed(gcs, token=SECRET)

    assert use_table(storage, gcs.url("t.lance")) == [1, 2]
    assert use_object(storage, gcs.url("object")) == b"content"


def test_service_account_key_reaches_gcs(gcs: Bucket, tmp_path: Path) -> None:
    private = rsa.generate_private_key(65537, 2048)
    unlocked = serialization.NoEncryption()
    pem = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, unlocked)
    key = {"type": "service_account", "client_email": "a@b", "private_key": pem.decode(), "private_key_id": "1"}
    path = tmp_path / "key.json"
    path.write_text(json.dumps(key))

    assert use_table(changed(gcs, token=str(path)), gcs.url("t.lance")) == [1, 2]


def test_keys_of_users_are_understood_by_lance_too(gcs: Bucket, tmp_path: Path) -> None:
    key = {"type": "authorized_user", "client_id": "c", "client_secret": SECRET, "refresh_token": SECRET}
    path = tmp_path / "key.json"
    path.write_text(json.dumps(key))
    quick = {"lance.client_max_retries": "0", "timeout": "2s"}

    with pytest.raises(OSError, match="token") as caught:  # it goes on to ask for a token, where nobody listens
        use_table(changed(gcs, token=str(path), **quick), gcs.url("t.lance"))

    assert "missing field" not in str(caught.value)
    assert SECRET not in str(caught.value)


def test_s3_needs_no_region_where_an_endpoint_is_given(s3: Bucket) -> None:
    storage = changed(s3, region=None)

    assert use_table(storage, s3.url("t.lance")) == [1, 2]
    assert use_object(storage, s3.url("object")) == b"content"


def test_buckets_are_addressed_by_path_at_an_endpoint_with_a_name(s3: Bucket, datachain_root: Path) -> None:
    import datachain

    storage = changed(s3, endpoint=s3.proxy.url.replace("127.0.0.1", "localhost"))

    assert use_table(storage, s3.url("t.lance")) == [1, 2]
    assert use_object(storage, s3.url("folder", "object")) == b"content"
    chain = datachain.read_storage(s3.url("folder/"), **storage.datachain_config(s3.url("folder/")))
    assert chain.to_values("file.path") == ["folder/object"]


def test_public_s3_bucket_is_read_without_keys(s3: Bucket, datachain_root: Path) -> None:
    import datachain

    assert use_table(s3.storage, s3.url("t.lance")) == [1, 2]
    assert use_object(s3.storage, s3.url("folder", "object")) == b"content"
    public = Storage(anonymous=True, options={"endpoint": s3.proxy.url, "region": "us-east-1"})
    fs, path = public.filesystem(s3.url("folder", "object"))
    with pytest.raises(PermissionError):
        fs.cat_file(path)
    owner, _ = s3.storage.filesystem(s3.url())
    for shared in [s3.name, *owner.find(s3.name)]:
        owner.chmod(shared, acl="public-read")

    chain = datachain.read_storage(s3.url("folder/"), **public.datachain_config(s3.url("folder/")))
    table = lance.dataset(s3.url("t.lance"), storage_options=public.lance_options(s3.url("t.lance")))

    assert fs.cat_file(path) == b"content"
    assert chain.to_values("file.path") == ["folder/object"]
    assert table.to_table()["a"].to_pylist() == [1, 2]


def test_other_spellings_of_a_scheme_reach_lance(gcs: Bucket, s3: Bucket) -> None:
    assert use_table(gcs.storage, absolute(gcs.url("t.lance").replace("gs://", "gcs://"))) == [1, 2]
    assert use_table(s3.storage, absolute(s3.url("t.lance").replace("s3://", "s3a://"))) == [1, 2]


def test_changes_by_others_are_seen_by_the_next_look(bucket: Bucket) -> None:
    fs, folder = bucket.storage.filesystem(bucket.url("folder"))
    fs.pipe_file(f"{folder}/1", b"1")
    assert (len(fs.ls(folder)), fs.exists(f"{folder}/2"), fs.info(f"{folder}/1")["size"]) == (1, False, 1)
    other, _ = bucket.direct.filesystem(bucket.url("folder"))
    other.pipe({f"{folder}/1": b"longer", f"{folder}/2": b"new"})

    fs, folder = bucket.storage.filesystem(bucket.url("folder"))

    assert (len(fs.ls(folder)), fs.exists(f"{folder}/2"), fs.info(f"{folder}/1")["size"]) == (2, True, 6)
    assert len(fs.find(folder)) == 2


@pytest.mark.parametrize("name", ["a#1.jpg", "a::b.jpg", "a?b.jpg", "a%20b.jpg", "a b+c&d.jpg", "汉字.jpg"])
def test_names_in_urls_are_taken_literally(bucket: Bucket, name: str) -> None:
    fs, path = bucket.storage.filesystem(bucket.url("folder", name))
    fs.pipe_file(path, b"content")

    other, folder = bucket.direct.filesystem(bucket.url("folder"))
    assert other.find(folder) == [f"{folder}/{name}"]
    assert other.cat_file(f"{folder}/{name}") == b"content"


def test_timeout_ends_a_request_that_hangs(bucket: Bucket) -> None:
    assert use_object(bucket.storage, bucket.url("object")) == b"content"
    hasty = Storage(anonymous=bucket.storage.anonymous, options={**bucket.storage.options, "timeout": "400ms"})
    fs, path = hasty.filesystem(bucket.url("object"))
    assert fs.cat_file(path) == b"content"

    with bucket.proxy.injecting(Fault("latency", delay_s=(20, 20), times=1)):
        if bucket.scheme == "gs":  # gcsfs gives up, s3fs tries again
            with pytest.raises(TimeoutError):
                fs.cat_file(path)
        else:
            with bucket.proxy.counting() as counts:
                assert fs.cat_file(path) == b"content"
            assert {request.latency_s for request in counts.log} == {0}  # the one that hangs is not among them


def test_no_secret_is_left_in_datachains_database(s3: Bucket, datachain_root: Path) -> None:
    import datachain

    storage = changed(s3, secret_access_key=SECRET, session_token=SECRET)
    assert use_object(s3.storage, s3.url("folder", "object")) == b"content"

    config = storage.datachain_config(s3.url("folder/"))
    datachain.read_storage(s3.url("folder/"), **config).save("listed")

    written = [path for path in datachain_root.rglob("*") if path.is_file()]
    assert written
    assert not [path for path in written if SECRET.encode() in path.read_bytes()]
