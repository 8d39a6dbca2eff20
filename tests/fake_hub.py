"""A hub on the loopback: as much of Hugging Face's API as making, filling and tagging a data set takes.

All files are sent inside the commit (`uploadMode` "regular"). It keeps what it was sent and who sent it.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

OID = "0" * 39 + "1"


@dataclass
class Hub:
    """What it was sent."""

    url: str = ""
    repos: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    commits: list[str] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    denies: bool = False


@contextmanager
def hub_server() -> Iterator[Hub]:
    """Serve one until the end of the block."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            name = path.rpartition("/resolve/main/")[2] if "/resolve/" in path else None
            if path.endswith("/whoami-v2"):
                self._answer({"name": "org", "type": "user", "orgs": []})
            elif name is not None and name in hub.files:
                self._answer(hub.files[name], {"ETag": '"1"', "X-Repo-Commit": OID})
            elif name is not None:
                code = "EntryNotFound" if hub.repos else "RepoNotFound"
                self._answer({"error": "no"}, {"X-Error-Code": code}, 404)
            elif path.endswith("/refs"):
                tags = [{"name": tag, "ref": f"refs/tags/{tag}", "targetCommit": oid} for tag, oid in hub.tags.items()]
                self._answer({"branches": [], "converts": [], "tags": tags})
            elif "/tree/" in path:
                self._answer(
                    [{"type": "file", "path": name, "size": len(data), "oid": OID} for name, data in hub.files.items()]
                )
            else:
                siblings = [{"rfilename": name} for name in hub.files]
                self._answer(
                    {"_id": "1", "id": "org/name", "sha": OID, "siblings": siblings, "private": False, "tags": []}
                )

        do_HEAD = do_GET

        def do_DELETE(self) -> None:
            hub.tags.pop(self.path.rpartition("/")[2], None)
            self._answer({})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            hub.tokens.add(self.headers.get("authorization", ""))
            if hub.denies:
                self._answer({"error": f"no such right for {self.headers.get('authorization')}"}, {}, 403)
            elif self.path == "/api/repos/create":
                asked = json.loads(body)
                hub.repos[asked["name"]] = asked
                self._answer({"url": f"{hub.url}/datasets/org/name", "id": "1", "name": "org/name"})
            elif "/preupload/" in self.path:
                told = [
                    {"path": one["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None}
                    for one in json.loads(body)["files"]
                ]
                self._answer({"files": told})
            elif "/commit/" in self.path:
                self._commit(body)
            elif "/tag/" in self.path:
                hub.tags[json.loads(body)["tag"]] = self.path.rpartition("/")[2]
                self._answer({})
            else:
                self._answer({"errors": [], "warnings": []})

        def _commit(self, body: bytes) -> None:
            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "header":
                    hub.commits.append(entry["value"]["summary"])
                elif entry["key"] == "file":
                    hub.files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
                elif entry["key"] == "deletedFile":
                    hub.files.pop(entry["value"]["path"])
            self._answer({"commitUrl": f"{hub.url}/datasets/org/name/commit/{OID}", "commitOid": OID, "hookOutput": ""})

        def _answer(self, found: Any, headers: dict[str, str] | None = None, status: int = 200) -> None:
            data = found if isinstance(found, bytes) else json.dumps(found).encode()
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
