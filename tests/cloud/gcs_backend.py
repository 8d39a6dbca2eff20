"""The real fake-gcs-server as a process, and what it lacks: preconditions checked in one action with the write.

fake-gcs-server ignores `ifGenerationMatch` on media uploads and copies; concurrent commits to a Lance table then
overwrite each other in silence. Every write therefore holds a lock on its object's name while the condition is
checked. This module speaks the JSON API to the server, and knows nothing of XML or of sockets that clients connect
to.
"""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import quote, urlsplit


@dataclass(frozen=True)
class Request:
    """What a client asked; header names in lower case."""

    method: str
    target: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


class Answer(Exception):
    """An HTTP answer; raised where a request cannot go on."""

    def __init__(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status)
        self.status, self.body, self.headers = status, body, dict(headers or {})


def object_path(bucket: str, name: str) -> str:
    """The JSON API's path of an object."""
    return f"/storage/v1/b/{quote(bucket, safe='')}/o/{quote(name, safe='')}"


class Backend:
    """A client of the real server: one connection a thread, and the locks."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._local = threading.local()
        self._locks = [threading.Lock() for _ in range(256)]

    def call(self, method: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
        """Send one request to the real server."""
        link = getattr(self._local, "link", None)
        if link is None:
            link = self._local.link = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            link.request(method, target, body, dict(headers or {}))
            reply = link.getresponse()
            return Answer(reply.status, reply.read(), {k.lower(): v for k, v in reply.getheaders()})
        except BaseException:
            link.close()
            self._local.link = None
            raise

    @contextmanager
    def writing(self, bucket: str, name: str, conditions: Mapping[str, str]) -> Iterator[None]:
        """Hold the object's lock, with its conditions checked.

        Raises:
            Answer: 412 when a condition does not hold, 501 when it is of a kind that is not checked here.
        """
        with self._locks[hash((bucket, name)) % len(self._locks)]:
            if conditions:
                self._check(bucket, name, conditions)
            yield

    def _check(self, bucket: str, name: str, conditions: Mapping[str, str]) -> None:
        found = self.call("GET", object_path(bucket, name))
        record = json.loads(found.body) if found.status == 200 else {}
        generation, etag = record.get("generation", "0"), record.get("etag")
        for condition, value in conditions.items():
            word = condition.lower().replace("x-goog-", "").replace("-", "")
            if word == "ifgenerationmatch":
                holds = generation == value
            elif word == "ifgenerationnotmatch":
                holds = generation != value
            elif word == "ifnonematch":
                holds = not record if value == "*" else value.strip('"') != etag
            elif word == "ifmatch":
                holds = bool(record) and value.strip('"') in (etag, "*")
            else:
                raise Answer(501, f"condition {condition} is not supported here".encode())
            if not holds:
                raise Answer(412, f"condition not met: {condition}: {value}; generation is {generation}".encode())


def start(binary: str, public_url: str, root: str | None) -> tuple[subprocess.Popen[bytes], Backend]:
    """Start fake-gcs-server on a free port and wait until it answers.

    Args:
        binary: path of the program.
        public_url: address that clients use, which the server puts into its links.
        root: folder to keep objects in, or None for memory. Memory keeps names as they are but slows with the number
            of objects in a bucket; a folder does not slow, but cannot hold both "a" and "a/b", and resolves "..".
    """
    kept = ["-backend", "filesystem", "-filesystem-root", root] if root else ["-backend", "memory"]
    for _ in range(5):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        host = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-log-level", "error"]
        named = ["-external-url", public_url, "-public-host", urlsplit(public_url).netloc]
        process = subprocess.Popen([binary, *host, *named, *kept], stdin=subprocess.DEVNULL, stdout=sys.stderr)
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            try:
                if Backend(port).call("GET", "/storage/v1/b?project=test").status == 200:
                    return process, Backend(port)
            except OSError:
                time.sleep(0.02)
        process.kill()  # another process took the port meanwhile, or the server hangs: try another port
        process.wait()
    raise SystemExit("fake-gcs-server did not answer on five ports in turn")
