"""A proxy between a storage client and a storage server that counts requests and, when told to, breaks them.

    with FaultProxy(server_url) as proxy:          # clients use proxy.url
        proxy.inject(Fault("latency", delay_s=(0.02, 0.05)), Fault("503", rate=0.1))
        with proxy.counting() as counts:
            ...
        assert counts.requests == {"list": 3}

It runs in a process of its own: a client that holds Python's interpreter lock while it waits would otherwise wait for
ever, and the proxy's work would be charged to the code under test. This module holds the client's side, the kinds of
requests and the records both sides exchange; `fault_relay.py` is the process.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

REPOSITORY = Path(__file__).resolve().parents[2]
RequestKind = Literal["list", "get", "head", "put", "copy", "delete", "bucket", "other"]
FaultKind = Literal[
    "latency",  # waits delay_s before the request goes on; combines with the others
    "503",  # answers 503; the request was not carried out
    "429",  # answers 429; the request was not carried out
    "403",  # answers 403; the request was not carried out
    "404",  # answers 404; the request was not carried out
    "503_after",  # carried out, then answers 503
    "reset_before",  # resets the connection; the request was not carried out
    "reset_after",  # carried out, then resets the connection
    "truncate",  # carried out; half of the body arrives, then the connection resets
    "late",  # resets the connection at once, and carries the request out delay_s later
]


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong.

    Args:
        kind: what happens (see `FaultKind`).
        rate: chance that a matching request is hit.
        requests: kinds of requests that can be hit; all when empty.
        match: regular expression, searched in the decoded path and query.
        skip: how many matching requests pass before the first can be hit.
        times: how many are hit at most; no limit when None.
        delay_s: shortest and longest delay of "latency" and "late".
    """

    kind: FaultKind
    rate: float = 1.0
    requests: Sequence[RequestKind] = ()
    match: str = ""
    skip: int = 0
    times: int | None = None
    delay_s: tuple[float, float] = (0.02, 0.05)

    def __post_init__(self) -> None:
        assert self.kind in get_args(FaultKind), f"{self.kind!r} is none of {get_args(FaultKind)}"
        assert set(self.requests) <= set(get_args(RequestKind)), f"{self.requests} not in {get_args(RequestKind)}"
        assert 0 <= self.rate <= 1, f"rate {self.rate} is no probability"
        re.compile(self.match)


@dataclass(frozen=True)
class Request:
    """One request as the proxy saw it; status 0 means that no answer was sent."""

    kind: RequestKind
    method: str
    target: str
    status: int
    fault: str | None
    up_bytes: int
    down_bytes: int
    latency_s: float


@dataclass
class Counts:
    """What went through: requests, faults and body bytes."""

    log: list[Request] = field(default_factory=list)

    @property
    def requests(self) -> dict[str, int]:
        """Number of requests by kind; kinds that did not occur are absent."""
        return dict(Counter(request.kind for request in self.log))

    @property
    def faults(self) -> dict[str, int]:
        """Number of injected faults by kind, latency left out."""
        return dict(Counter(request.fault for request in self.log if request.fault))

    @property
    def up_bytes(self) -> int:
        """Bytes of request bodies."""
        return sum(request.up_bytes for request in self.log)

    @property
    def down_bytes(self) -> int:
        """Bytes of answer bodies that were sent."""
        return sum(request.down_bytes for request in self.log)

    def of(self, *kinds: RequestKind) -> Counts:
        """The part made of some kinds of requests."""
        return Counts([request for request in self.log if request.kind in kinds])


class FaultProxy:
    """The proxy in front of one server.

    Args:
        server_url: `http://127.0.0.1:port`.
        seed: of every random choice; the same sequence of requests meets the same faults.
    """

    def __init__(self, server_url: str, *, seed: int = 0) -> None:
        self._command = [sys.executable, "-m", "tests.cloud.fault_relay", server_url, str(seed)]
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()
        self.url = ""

    def __enter__(self) -> FaultProxy:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(self._command, cwd=REPOSITORY, stdin=pipe, stdout=pipe, text=True)
        assert self._process.stdout is not None
        self.url = json.loads(self._process.stdout.readline())["url"]
        return self

    def __exit__(self, *error: object) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=10)

    def inject(self, *faults: Fault) -> None:
        """Let these things go wrong from now on, instead of those injected before."""
        self._ask({"do": "inject", "faults": [asdict(fault) for fault in faults]})

    def clear(self) -> None:
        """Let nothing go wrong any more."""
        self.inject()

    @contextmanager
    def injecting(self, *faults: Fault) -> Iterator[FaultProxy]:
        """Let these things go wrong inside the block."""
        self.inject(*faults)
        try:
            yield self
        finally:
            self.clear()

    def reset(self, *, passing: str = "") -> None:
        """Clear faults and counts, and start the random sequence again.

        Args:
            passing: regular expression, searched in the decoded path and query; such requests are no more than carried
                out, neither hit nor counted. None when empty.
        """
        self._ask({"do": "reset", "passing": passing})

    def counts(self) -> Counts:
        """What went through since the last reset."""
        return Counts([Request(**entry) for entry in self._ask({"do": "log", "since": 0})["log"]])

    @contextmanager
    def counting(self) -> Iterator[Counts]:
        """Yield an empty `Counts` that holds what went through inside the block once the block is left."""
        before, counted = self._ask({"do": "length"})["length"], Counts()
        try:
            yield counted
        finally:
            reply = self._ask({"do": "log", "since": before})
            counted.log.extend(Request(**entry) for entry in reply["log"])

    def _ask(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        assert line, "the proxy's process has ended; its error is above"
        return dict(json.loads(line))


def classify(method: str, path: str, query: dict[str, str]) -> RequestKind:
    """Tell what a request of S3, or of Google's XML or JSON API, does.

    Args:
        method: the HTTP method.
        path: still percent-encoded.
        query: decoded.
    """
    if path.startswith(("/storage/v1/b", "/upload/", "/download/", "/batch/", "/resumable/")):
        return _classify_json(method, path, query)
    in_object = "/" in path.strip("/") or (path.count("/") > 1 and not path.endswith("/"))
    if method == "DELETE" or (method == "POST" and "delete" in query):
        return "delete" if in_object or method == "POST" else "bucket"
    if not in_object:
        return "list" if method == "GET" and not {"location", "versioning"} & query.keys() else "bucket"
    return {"GET": "get", "HEAD": "head", "PUT": "put", "POST": "put"}.get(method, "other")  # type: ignore[return-value]


def _classify_json(method: str, path: str, query: dict[str, str]) -> RequestKind:
    if "/rewriteTo/" in path or "/copyTo/" in path or path.endswith("/compose"):
        return "copy"
    if path.startswith("/batch/") or (method == "DELETE" and "/o/" in path):
        return "delete"
    if path.startswith(("/upload/", "/resumable/")):
        return "put"
    if path.startswith("/download/"):
        return "get" if method == "GET" else "head"
    if path.endswith("/o"):
        return "list"
    if "/o/" in path:
        return "put" if method in ("PATCH", "PUT") else "get" if query.get("alt") == "media" else "head"
    return "bucket"
