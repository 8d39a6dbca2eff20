"""One address for every client of Google Cloud Storage, in front of the real fake-gcs-server.

Lance speaks the XML API (`gcs_xml.py`); gcsfs and DataChain speak the JSON API, which passes through here behind the
same locks (`gcs_backend.py`). Run as a program it starts both servers, prints its URL, and ends when its standard
input closes, so that no server outlives the tests. A test fixture: bodies are held in memory.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import threading
import uuid
from http.client import responses
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.cloud.gcs_backend import Answer, Backend, Request, start
from tests.cloud.gcs_xml import XmlApi

JSON_ROOTS = ("/storage/v1", "/upload/", "/resumable/", "/download/", "/batch/")
_PASSED_HEADERS = ("host", "content-type", "content-range", "range", "if-match", "if-none-match")
_OBJECT = r"/storage/v1/b/([^/]+)/o/([^/]+)"
_WRITTEN = [
    re.compile(rf"^{_OBJECT}$"),
    re.compile(rf"^{_OBJECT}/compose$"),
    re.compile(r"^/storage/v1/b/[^/]+/o/[^/]+/(?:rewriteTo|copyTo)/b/([^/]+)/o/([^/]+)$"),
]
_UPLOAD = re.compile(r"^(?:/resumable)?/upload/storage/v1/b/([^/]+)/o$")
_BATCHED = re.compile(rb"Content-ID: *<?([^>\r\n]+)>?.*?\r?\n\r?\n([A-Z]+) (\S+) HTTP/1\.1", re.S | re.I)
_LAST_CHUNK = re.compile(r"^bytes (?:\d+-\d+|\*)/\d+$")

Target = tuple[str, str, dict[str, str]]  # bucket, object name, conditions of the write


class JsonApi:
    """Passes the requests of the JSON API on, behind the lock where they write."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._resumable: dict[str, Target] = {}  # upload id → what it will write, under the conditions it began with

    def answer(self, request: Request) -> Answer:
        """Carry out one request."""
        if request.path.startswith("/batch/"):
            return self._batch(request.body)
        headers = {key: value for key, value in request.headers.items() if key in _PASSED_HEADERS}
        target = None if request.method in ("GET", "HEAD") else self._written(request)
        if target is None:
            return self._backend.call(request.method, request.target, request.body, headers)
        with self._backend.writing(*target):
            answer = self._backend.call(request.method, request.target, request.body, headers)
        begun = dict(parse_qsl(urlsplit(answer.headers.get("location", "")).query)).get("upload_id")
        if begun:
            self._resumable[begun] = target
        return answer

    def _written(self, request: Request) -> Target | None:
        """Which object a request writes, and under which conditions."""
        conditions = {key: value for key, value in request.query.items() if key.startswith("if")}
        if known := self._resumable.get(request.query.get("upload_id", "")):
            span = request.headers.get("content-range")
            return known if span is None or _LAST_CHUNK.match(span) else (*known[:2], {})
        if found := _UPLOAD.match(request.path):
            return unquote(found[1]), request.query.get("name") or _name_in(request.body), conditions
        for pattern in _WRITTEN:
            if found := pattern.match(request.path):
                return unquote(found[1]), unquote(found[2]), conditions
        return None

    def _batch(self, body: bytes) -> Answer:
        """Carry out a batch of deletions one by one (the real server refuses the form in which gcsfs sends it)."""
        boundary, parts = uuid.uuid4().hex, []
        for number, method, target in _BATCHED.findall(body):
            if method != b"DELETE":
                raise Answer(501, b"a batch holds deletions only")
            done = self._backend.call("DELETE", target.decode())
            status = 204 if done.status == 200 else done.status
            parts.append(
                f"--{boundary}\r\nContent-Type: application/http\r\nContent-ID: <response-{number.decode()}>\r\n\r\n"
                f"HTTP/1.1 {status} {responses.get(status, '')}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(done.body)}\r\n\r\n{done.body.decode()}\r\n"
            )
        reply = "".join(parts) + f"--{boundary}--\r\n"
        return Answer(200, reply.encode(), {"content-type": f"multipart/mixed; boundary={boundary}"})


def _name_in(multipart: bytes) -> str:
    """The object's name out of the first part of a multipart upload."""
    start_of_json = multipart.find(b"{")
    if start_of_json < 0:
        return ""
    record, _ = json.JSONDecoder().raw_decode(multipart[start_of_json:].decode("utf-8", "replace"))
    return str(record.get("name", ""))


class Front(BaseHTTPRequestHandler):
    """Handles one client connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    server: FrontServer

    def do_any(self) -> None:
        """Answer a request of any method."""
        url = urlsplit(self.path)
        headers = {key.lower(): value for key, value in self.headers.items()}
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        request = Request(self.command, self.path, url.path, query, headers, self._body())
        api = self.server.json_api if url.path.startswith(JSON_ROOTS) else self.server.xml_api
        try:
            self._send(api.answer(request))
        except Answer as refusal:
            self._send(refusal)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = do_PATCH = do_any

    def log_message(self, *args: object) -> None:
        """Say nothing: the fault proxy keeps the log."""

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", "").lower():
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass  # trailers
        return b"".join(chunks)

    def _send(self, answer: Answer) -> None:
        # Links in answers lead back the way the request came: through a proxy, if it came through one.
        ours, theirs = self.server.url, f"http://{self.headers.get('Host', '')}"
        body = answer.body
        if "json" in answer.headers.get("content-type", ""):
            body = body.replace(ours.encode(), theirs.encode())
        self.send_response(answer.status)
        for key, value in answer.headers.items():
            if key not in ("content-length", "connection", "transfer-encoding", "date"):
                self.send_header(key, value.replace(ours, theirs))
        if self.command == "HEAD":
            self.send_header("Content-Length", answer.headers.get("content-length", "0"))
        elif answer.status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class FrontServer(ThreadingHTTPServer):
    """The listening socket, bound before the real server starts, which must know this address."""

    daemon_threads = True
    request_queue_size = 256
    json_api: JsonApi
    xml_api: XmlApi

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Front)
        self.url = f"http://127.0.0.1:{self.server_port}"


def main() -> None:
    """Serve until standard input closes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True, help="path of fake-gcs-server")
    parser.add_argument("--root", help="folder to keep objects in; memory by default")
    chosen = parser.parse_args()
    server = FrontServer()
    process, backend = start(chosen.binary, server.url, chosen.root)
    server.json_api, server.xml_api = JsonApi(backend), XmlApi(backend)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        sys.stdout.write(server.url + "\n")
        sys.stdout.flush()
        sys.stdin.read()
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    main()
