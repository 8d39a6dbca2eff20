"""The state of tables in buckets: stale columns, cells, failures, figures, rows, and whether commits there are safe."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pyarrow as pa
import pytest

import clipdata as cd
from clipdata.errors import CredentialsError, NotFoundError, StorageError
from clipdata.lance_io import rows
from clipdata.schema import key_field
from clipdata.storage import Storage
from tests.cloud.fixtures import Bucket


def test_the_verbs_tell_of_a_table_in_a_bucket_what_they_tell_of_one_on_disk(bucket: Bucket) -> None:
    uri, storage = bucket.url("t.lance"), bucket.storage
    schema = pa.schema([key_field("path"), pa.field("label", pa.string())])
    table = rows.create_table(uri, schema, storage=storage)
    rows.upsert(table, pa.table({"path": ["a", "b"], "label": ["A", "?"]}))
    cd.map_column(table, cd.steps.LabelIndex("label"), "place")
    cd.map_column(table, cd.steps.Prompt("place {place}"), "said")
    rows.upsert(table, pa.table({"path": ["c"], "label": ["B"]}))

    assert [state.column for state in cd.refresh(uri, dry_run=True, storage=storage).stale] == ["place", "said"]
    assert [done.computed for done in cd.refresh(uri, storage=storage).made] == [1, 1]
    assert cd.why(uri, "c", "said", storage=storage).verdict == "equal"
    assert cd.list_errors(uri, storage=storage).num_failed == 1
    assert cd.stats(uri, storage=storage).column("said").common == (("place 0", 1), ("place 1", 1))
    assert {row["path"] for row in cd.show(uri, sample=3, storage=storage).rows} == {"a", "b", "c"}


def test_a_bucket_that_honours_conditional_writes_is_found_sound_and_left_as_it_was(bucket: Bucket) -> None:
    place = bucket.url("tables")

    found = cd.doctor(place, storage=bucket.storage)

    assert found.sound, found
    assert found.finding("conditional writes").value.startswith("honoured")
    fs, path = bucket.direct.filesystem(bucket.url())
    assert fs.find(path) == []
    assert "testing" not in str(found)


def test_a_bucket_that_is_not_there_is_told(bucket: Bucket) -> None:
    with pytest.raises((NotFoundError, CredentialsError)):
        cd.doctor(f"{bucket.scheme}://no-such-bucket-here/x", storage=bucket.storage).hold()


class _Careless(BaseHTTPRequestHandler):
    """An S3 of a few objects that takes no notice of If-None-Match."""

    held: ClassVar[dict[str, bytes]] = {}

    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        self.held[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(200, b"", {"ETag": '"1"'})

    def do_GET(self) -> None:
        if "list-type" in self.path:
            body = b"<ListBucketResult><Name>b</Name><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated>"
            self._answer(200, body + b"</ListBucketResult>", {"Content-Type": "application/xml"})
        elif self.path in self.held:
            self._answer(200, self.held[self.path], {"ETag": '"1"'})
        else:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>", {})

    do_HEAD = do_GET

    def do_DELETE(self) -> None:
        self.held.pop(self.path, None)
        self._answer(204, b"", {})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.held.clear()
        self._answer(200, b"<DeleteResult></DeleteResult>", {"Content-Type": "application/xml"})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def careless() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Careless)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_store_that_takes_no_notice_of_conditions_is_not_safe_to_commit_to(careless: str) -> None:
    keys = {"access_key_id": "testing", "secret_access_key": "testing", "region": "us-east-1"}

    found = cd.doctor("s3://b/tables", storage=Storage(options={"endpoint": careless, **keys}))

    assert found.finding("conditional writes").verdict == "bad", found
    with pytest.raises(StorageError, match="not safe"):
        found.hold()
    assert not _Careless.held
