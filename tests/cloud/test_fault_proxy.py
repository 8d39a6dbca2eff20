"""The fault proxy: each fault does what it says, is hit as often as it says, and everything is counted."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import pytest

from tests.cloud.fault_proxy import Fault, FaultProxy, classify


class Echo(BaseHTTPRequestHandler):
    """Keeps what it was sent, and answers 100 bytes."""

    protocol_version = "HTTP/1.1"
    server: EchoServer

    def do_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.seen.append((self.command, self.path, body))
        self.send_response(200)
        self.send_header("Content-Length", "100")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(b"x" * 100)

    do_GET = do_PUT = do_HEAD = do_any

    def log_message(self, *args: object) -> None:
        pass


class EchoServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Echo)
        self.seen: list[tuple[str, str, bytes]] = []


@pytest.fixture
def echo() -> Iterator[EchoServer]:
    server = EchoServer()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def proxy(echo: EchoServer) -> Iterator[FaultProxy]:
    with FaultProxy(f"http://127.0.0.1:{echo.server_port}", seed=7) as proxy:
        yield proxy


def ask(proxy: FaultProxy, method: str = "GET", target: str = "/b/k", body: bytes = b"") -> int | str:
    """Status of a request, or the name of the error that it ended in."""
    link = http.client.HTTPConnection(urlsplit(proxy.url).netloc, timeout=60)
    try:
        link.request(method, target, body)
        reply = link.getresponse()
        reply.read()
        return reply.status
    except (ConnectionError, http.client.HTTPException) as error:
        return type(error).__name__
    finally:
        link.close()


def test_nothing_goes_wrong_until_told_so(proxy: FaultProxy, echo: EchoServer) -> None:
    assert [ask(proxy, "PUT", f"/b/{n}", b"%d" % n) for n in range(50)] == [200] * 50
    assert [body for _, _, body in echo.seen] == [b"%d" % n for n in range(50)]


def test_one_connection_serves_many_requests(proxy: FaultProxy) -> None:
    link = http.client.HTTPConnection(urlsplit(proxy.url).netloc, timeout=60)
    for method, size in (("HEAD", 0), ("GET", 100), ("PUT", 100), ("GET", 100)):
        link.request(method, "/b/k")
        assert len(link.getresponse().read()) == size
    link.close()


@pytest.mark.parametrize(
    ("kind", "outcome", "carried_out"),
    [
        ("503", 503, 0),
        ("429", 429, 0),
        ("503_after", 503, 1),
        ("reset_before", "ConnectionResetError", 0),
        ("reset_after", "ConnectionResetError", 1),
        ("truncate", ("IncompleteRead", "ConnectionResetError"), 1),
    ],
)
def test_fault_does_what_its_name_says(
    proxy: FaultProxy, echo: EchoServer, kind: str, outcome: object, carried_out: int
) -> None:
    with proxy.injecting(Fault(kind, times=1)):  # type: ignore[arg-type]
        hit, after = ask(proxy, "PUT"), ask(proxy, "PUT")

    assert hit in outcome if isinstance(outcome, tuple) else hit == outcome
    assert after == 200
    assert len(echo.seen) == carried_out + 1
    assert proxy.counts().faults == {kind: 1}


def test_truncated_body_arrives_by_half(proxy: FaultProxy) -> None:
    with proxy.injecting(Fault("truncate")):
        ask(proxy)

    assert proxy.counts().down_bytes == 50


def test_late_request_is_carried_out_after_the_client_gave_up(proxy: FaultProxy, echo: EchoServer) -> None:
    with proxy.injecting(Fault("late", delay_s=(0.3, 0.3), times=1)):
        assert ask(proxy, "PUT", "/b/k", b"late") == "ConnectionResetError"
    assert echo.seen == []

    deadline = time.monotonic() + 60
    while not echo.seen and time.monotonic() < deadline:
        time.sleep(0.02)
    assert echo.seen == [("PUT", "/b/k", b"late")]


def test_latency_delays_and_still_combines_with_other_faults(proxy: FaultProxy) -> None:
    started = time.monotonic()
    with proxy.injecting(Fault("latency", delay_s=(0.1, 0.1)), Fault("503")):
        assert ask(proxy) == 503

    assert time.monotonic() - started >= 0.1
    assert proxy.counts().faults == {"503": 1}


def test_rate_is_kept_and_the_seed_repeats_it(proxy: FaultProxy) -> None:
    def outcomes() -> list[int | str]:
        proxy.reset()
        proxy.inject(Fault("503", rate=0.3))
        return [ask(proxy) for _ in range(200)]

    first, second = outcomes(), outcomes()

    assert first == second
    assert 30 <= Counter(first)[503] <= 90


def test_fault_hits_only_the_requests_it_names(proxy: FaultProxy) -> None:
    with proxy.injecting(Fault("503", requests=("put",), match=r"_versions/\d+\.manifest$", skip=1, times=1)):
        asked = [("GET", "/b/_versions%2F1.manifest"), ("PUT", "/b/data%2F1.lance")]
        asked += [("PUT", "/b/%5Fversions%2F1.manifest")] * 3
        assert [ask(proxy, *request) for request in asked] == [200, 200, 200, 503, 200]


def test_counting_covers_what_happens_inside_the_block(proxy: FaultProxy) -> None:
    ask(proxy)
    with proxy.counting() as counts:
        ask(proxy, "PUT", "/b/k", b"12345")
        ask(proxy, "HEAD")
        ask(proxy, "GET", "/b?list-type=2&prefix=x")
    ask(proxy)

    assert counts.requests == {"put": 1, "head": 1, "list": 1}
    assert (counts.up_bytes, counts.of("list").down_bytes) == (5, 100)
    assert proxy.counts().requests == {"put": 1, "head": 1, "list": 1, "get": 2}


def test_what_passes_is_neither_hit_nor_counted_even_if_it_began_before(proxy: FaultProxy, echo: EchoServer) -> None:
    begun = threading.Thread(target=ask, args=(proxy, "GET", "/old/slow"))
    proxy.inject(Fault("latency", delay_s=(0.5, 0.5)))
    begun.start()
    time.sleep(0.1)

    proxy.reset(passing=r"/old/")
    with proxy.injecting(Fault("503")):
        found = [ask(proxy, "GET", target) for target in ("/old/k", "/new/k")]
    begun.join()

    assert found == [200, 503]
    assert [one.target for one in proxy.counts().log] == ["/new/k"]
    assert {target for _, target, _ in echo.seen} == {"/old/slow", "/old/k"}


@pytest.mark.parametrize(
    ("method", "target", "kind"),
    [
        ("GET", "/b?list-type=2&prefix=a%2F", "list"),
        ("GET", "/b/?list-type=2", "list"),
        ("GET", "/b?prefix=a", "list"),
        ("GET", "/b/a%2Fb", "get"),
        ("GET", "/b/a/b.jpg", "get"),
        ("HEAD", "/b/a", "head"),
        ("PUT", "/b/a?partNumber=1&uploadId=x", "put"),
        ("POST", "/b/a?uploads", "put"),
        ("POST", "/b?delete", "delete"),
        ("DELETE", "/b/a", "delete"),
        ("PUT", "/b", "bucket"),
        ("HEAD", "/b", "bucket"),
        ("GET", "/b?location", "bucket"),
        ("GET", "/storage/v1/b/b1/o?prefix=a", "list"),
        ("GET", "/storage/v1/b/b1/o/a%2Fb", "head"),
        ("GET", "/storage/v1/b/b1/o/a%2Fb?alt=media", "get"),
        ("GET", "/download/storage/v1/b/b1/o/a?alt=media", "get"),
        ("POST", "/upload/storage/v1/b/b1/o?uploadType=media&name=a", "put"),
        ("POST", "/storage/v1/b/b1/o/a/rewriteTo/b/b1/o/c", "copy"),
        ("POST", "/batch/storage/v1", "delete"),
        ("DELETE", "/storage/v1/b/b1/o/a", "delete"),
        ("GET", "/storage/v1/b/b1", "bucket"),
    ],
)
def test_requests_are_told_apart(method: str, target: str, kind: str) -> None:
    url = urlsplit(target)
    assert classify(method, url.path, dict(parse_qsl(url.query, keep_blank_values=True))) == kind


def test_a_fault_that_does_not_exist_is_refused() -> None:
    with pytest.raises(AssertionError, match="500"):
        Fault("500")  # type: ignore[arg-type]
