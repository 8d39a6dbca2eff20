"""A real HTTP server on the loopback that behaves as badly as servers do."""

from __future__ import annotations

import gzip
import socket
import struct
import threading
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

from tests.hostile_images import encode, smooth_picture

PUBLIC = "127.0.0.2"
"""Stands for an address on the internet: tests let URLs lead to it, and to no other."""

JPEG = encode(smooth_picture(), "JPEG")
BOMB = gzip.compress(bytes(64 << 20))


class Server(ThreadingHTTPServer):
    """Counts what is asked of it.

    Attributes:
        requests: path → number of requests.
        starts: path → monotonic times, in seconds.
        most_at_once: largest number of requests under way.
    """

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, host: str) -> None:
        super().__init__((host, 0), _Handler)
        self.requests: Counter[str] = Counter()
        self.starts: dict[str, list[float]] = {}
        self.headers: dict[str, dict[str, str]] = {}
        self.under_way = self.most_at_once = 0
        self.lock = threading.Lock()
        self.stopped = threading.Event()

    def handle_error(self, request: object, client_address: object) -> None:
        """Broken connections are what these tests are about."""

    def url(self, path: str) -> str:
        return f"http://{self.server_address[0]}:{self.server_address[1]}/{path.lstrip('/')}"


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        with self.server.lock:
            self.server.requests[path] += 1
            self.server.starts.setdefault(path, []).append(time.monotonic())
            self.server.headers[path] = dict(self.headers.items())
            self.server.under_way += 1
            self.server.most_at_once = max(self.server.most_at_once, self.server.under_way)
        try:
            name, *arguments = path.strip("/").split("/")
            getattr(self, f"answer_{name.split('.')[0].replace('-', '_')}", self.answer_missing)(*arguments)
        finally:
            with self.server.lock:
                self.server.under_way -= 1

    def send(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        for name, value in ({"Content-Length": str(len(body))} | named).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def times_asked(self) -> int:
        return self.server.requests[urlsplit(self.path).path]

    def answer_missing(self, *_: str) -> None:
        self.send(404, b"<!DOCTYPE html><html>no such page</html>")

    def answer_image(self, *_: str) -> None:
        self.send(200, JPEG, Last_Modified="Fri, 01 Mar 2024 10:00:00 GMT", Content_Type="image/jpeg")

    def answer_status(self, code: str) -> None:
        self.send(int(code))

    def answer_page(self) -> None:
        self.send(200, b"<!DOCTYPE html><html>not a picture</html>", Content_Type="image/jpeg")

    def answer_slow(self, seconds: str, *_: str) -> None:
        time.sleep(float(seconds))
        self.answer_image()

    def answer_endless(self) -> None:
        """A body without end, a few bytes at a time."""
        self.send_response(200)
        self.end_headers()
        while not self.server.stopped.wait(0.05):
            self.wfile.write(b"\xff" * 16)

    def answer_slow_header(self) -> None:
        """A header that comes a letter at a time: no single read is ever late."""
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
        while not self.server.stopped.wait(0.05):
            self.wfile.write(b"a")
            self.wfile.flush()

    def answer_silent(self) -> None:
        self.server.stopped.wait(60)

    def answer_huge(self) -> None:
        self.send(200, JPEG, Content_Length=str(10 * 10**9))

    def answer_flood(self, start: bytes = b"", encoding: str = "identity", more: bytes = bytes(1 << 20)) -> None:
        """More than the limit, without having said so."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Content-Encoding", encoding)
        self.end_headers()
        if start:
            self.wfile.write(b"%x\r\n" % len(start) + start + b"\r\n")
        while not self.server.stopped.is_set():
            self.wfile.write(b"%x\r\n" % len(more) + more + b"\r\n")

    def answer_bomb(self) -> None:
        self.send(200, BOMB, Content_Encoding="gzip")

    def answer_bombs(self) -> None:
        """Bombs one behind the other, each of which is unpacked to its end."""
        self.send(200, BOMB * 4, Content_Encoding="gzip")

    def answer_padded(self) -> None:
        """A packed image, and behind its end what never ends."""
        self.answer_flood(gzip.compress(JPEG), "gzip")

    def answer_hollow(self) -> None:
        """A packed body of empty blocks: it comes and comes, and nothing is in it."""
        empty = zlib.compressobj(wbits=-15)
        self.answer_flood(b"\x1f\x8b\x08" + bytes(7), "gzip", empty.flush(zlib.Z_FULL_FLUSH) * (1 << 17))

    def answer_packed(self) -> None:
        self.send(200, gzip.compress(JPEG), Content_Encoding="gzip")

    def answer_short(self) -> None:
        self.send(200, JPEG[: len(JPEG) // 2], Content_Length=str(len(JPEG)))
        self.close_connection = True

    def answer_reset(self, *_: str) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def answer_nonsense(self) -> None:
        self.wfile.write(b"SSH-2.0-OpenSSH_9.6\r\n" * 4)
        self.close_connection = True

    def answer_busy_then_image(self, status: str, times: str, retry_after: str = "") -> None:
        if self.times_asked() <= int(times):
            self.send(int(status), **({"Retry_After": retry_after} if retry_after else {}))
        else:
            self.answer_image()

    def answer_reset_then_image(self) -> None:
        if self.times_asked() == 1:
            self.answer_reset()
        else:
            self.answer_image()

    def answer_redirect(self, times: str) -> None:
        target = "/image/arrived.jpg" if times == "1" else f"/redirect/{int(times) - 1}"
        self.send(302, Location=target)

    def answer_to(self) -> None:
        self.send(302, Location=unquote(parse_qs(urlsplit(self.path).query)["where"][0]))

    def answer_robots(self, tag: str) -> None:
        self.send(200, JPEG, X_Robots_Tag=unquote(tag))


@contextmanager
def serve(host: str = PUBLIC) -> Iterator[Server]:
    """Run a server until the block ends."""
    server = Server(host)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stopped.set()
        server.shutdown()
        server.server_close()
        thread.join()
