"""Fixtures of real object stores for every test of the project (loaded by `tests/conftest.py`).

`gcs` and `s3` are an empty bucket of their own for each test, behind a fault proxy; `bucket` is both in turn. The
servers start once a session. A server that cannot be had skips its tests and says why; with CLIPDATA_REQUIRE_CLOUD=1
they fail instead.
"""

from __future__ import annotations

import itertools
import json
import os
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NoReturn

import pytest

from clipdata.storage import Storage
from tests.cloud.fault_proxy import FaultProxy
from tests.cloud.loopback import only_loopback
from tests.cloud.servers import Unavailable, gcs_server, s3_server

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Server:
    """One running object store."""

    scheme: str
    url: str
    proxy: FaultProxy

    def storage(self, endpoint: str) -> Storage:
        """Settings that reach this server at an address."""
        if self.scheme == "gs":
            return Storage(anonymous=True, options={"endpoint": endpoint})
        keys = {"access_key_id": "testing", "secret_access_key": "testing", "region": "us-east-1"}
        return Storage(options={"endpoint": endpoint, **keys})


@dataclass(frozen=True)
class Bucket:
    """An empty bucket that belongs to one test.

    Args:
        name: of the bucket.
        storage: settings that reach it through the proxy.
        direct: settings that reach it beside the proxy, uncounted and unharmed.
        proxy: counts requests and injects faults; fresh for each test.
        server: where it lives.
    """

    name: str
    storage: Storage
    direct: Storage
    proxy: FaultProxy
    server: Server

    @property
    def scheme(self) -> str:
        """ "gs" or "s3"."""
        return self.server.scheme

    def url(self, *parts: str) -> str:
        """The URL of a folder or object in the bucket."""
        return "/".join([f"{self.scheme}://{self.name}", *parts])


@pytest.fixture
def loopback_only() -> Iterator[None]:
    """Forbid every address but the loopback, and hide all credentials of the machine."""
    with only_loopback() as tried:
        yield
    assert not tried, f"the test tried to leave the loopback: {tried}"


@pytest.fixture(scope="session")
def gcs_service() -> Iterator[Server]:
    """fake-gcs-server behind a front that speaks XML too and enforces preconditions."""
    yield from _serve("gs", gcs_server())


@pytest.fixture(scope="session")
def gcs_disk_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The same on a folder: less exact in odd names, but not slowed by tens of thousands of objects."""
    yield from _serve("gs", gcs_server(tmp_path_factory.mktemp("gcs")))


@pytest.fixture(scope="session")
def s3_service() -> Iterator[Server]:
    """moto's S3 server."""
    yield from _serve("s3", s3_server())


@pytest.fixture
def gcs(gcs_service: Server, loopback_only: None) -> Iterator[Bucket]:
    """An empty bucket on Google Cloud Storage."""
    yield from _lend(gcs_service)


@pytest.fixture
def gcs_disk(gcs_disk_service: Server, loopback_only: None) -> Iterator[Bucket]:
    """An empty bucket on Google Cloud Storage that can hold very many objects."""
    yield from _lend(gcs_disk_service)


@pytest.fixture
def s3(s3_service: Server, loopback_only: None) -> Iterator[Bucket]:
    """An empty bucket on S3."""
    yield from _lend(s3_service)


@pytest.fixture(scope="session", params=["gcs", "s3"])
def service(request: pytest.FixtureRequest) -> Server:
    """Each server in turn (of session scope, so that servers start before a test's guard hides the environment)."""
    server: Server = request.getfixturevalue(f"{request.param}_service")
    return server


@pytest.fixture
def bucket(service: Server, loopback_only: None) -> Iterator[Bucket]:
    """An empty bucket on each of the stores in turn."""
    yield from _lend(service)


def _serve(scheme: str, server: AbstractContextManager[str]) -> Iterator[Server]:
    try:
        url = server.__enter__()
    except Unavailable as error:
        _do_without(str(error))
    try:
        with FaultProxy(url) as proxy:
            yield Server(scheme, url, proxy)
    finally:
        server.__exit__(None, None, None)


def _do_without(reason: str) -> NoReturn:
    if os.environ.get("CLIPDATA_REQUIRE_CLOUD") == "1":
        pytest.fail(f"CLIPDATA_REQUIRE_CLOUD=1, but {reason}", pytrace=False)
    pytest.skip(reason)


def _lend(server: Server) -> Iterator[Bucket]:
    name = f"bucket-{os.getpid()}-{next(_numbers)}"
    _create(server, name)
    # What an earlier test gave up waiting for may still be asked of that test's bucket.
    server.proxy.reset(passing=rf"bucket-{os.getpid()}-(?!{name.rpartition('-')[2]}\b)\d+\b")
    yield Bucket(name, server.storage(server.proxy.url), server.storage(server.url), server.proxy, server)
    server.proxy.reset()


def _create(server: Server, name: str) -> None:
    if server.scheme == "gs":
        target, method, body = "/storage/v1/b?project=test", "POST", json.dumps({"name": name}).encode()
    else:
        target, method, body = f"/{name}", "PUT", b""
    ask = urllib.request.Request(server.url + target, body, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(ask, timeout=120) as reply:
        assert reply.status == 200
