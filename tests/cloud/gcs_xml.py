"""Google's XML API (`PUT /bucket/key`), which Lance's object store speaks, in terms of the JSON API.

Object reads and writes, copies, multipart uploads, deletion, and listing by `list-type=2`. Parts of multipart uploads
are held in memory. What it does not know it refuses with 501 instead of ignoring it.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from urllib.parse import quote, unquote, urlencode
from xml.sax.saxutils import escape

from tests.cloud.gcs_backend import Answer, Backend, Request, object_path

_READ_HEADERS = ("range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since")
_CONDITIONS = ("if-match", "if-none-match")


class XmlApi:
    """Answers the requests of the XML API."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._parts: dict[str, dict[int, bytes]] = {}  # upload id → part number → bytes

    def answer(self, request: Request) -> Answer:
        """Carry out one request."""
        bucket, _, name = request.path.lstrip("/").partition("/")
        bucket, name = unquote(bucket), unquote(name)
        upload = request.query.get("uploadId")
        if not name:
            if request.method == "GET" and request.query.get("list-type") == "2":
                return self._list(bucket, request.query)
            raise _error(501, "NotImplemented", f"{request.method} on a bucket")
        if request.method in ("GET", "HEAD"):
            return self._read(bucket, name, request)
        if request.method == "POST":
            return self._begin(bucket, name) if upload is None else self._complete(bucket, name, upload, request)
        if request.method == "PUT":
            return self._put(bucket, name, request) if upload is None else self._put_part(upload, request)
        if request.method == "DELETE":
            return self._delete(bucket, name, request) if upload is None else self._abort(upload)
        raise _error(501, "NotImplemented", request.method)

    def _read(self, bucket: str, name: str, request: Request) -> Answer:
        headers = {key: value for key, value in request.headers.items() if key in _READ_HEADERS}
        target = f"/download{object_path(bucket, name)}?alt=media"
        found = self._backend.call(request.method, target, b"", headers)
        return _error(404, "NoSuchKey", name) if found.status == 404 else found

    def _put(self, bucket: str, name: str, request: Request) -> Answer:
        with self._backend.writing(bucket, name, _conditions(request)):
            source = request.headers.get("x-goog-copy-source")
            if source is None:
                return self._store(bucket, name, request.body, request.headers.get("content-type"))
            from_bucket, _, from_name = unquote(source).lstrip("/").partition("/")
            there = object_path(bucket, name).removeprefix("/storage/v1")
            done = self._backend.call("POST", f"{object_path(from_bucket, from_name)}/rewriteTo{there}")
            if done.status != 200:
                raise _error(done.status, "NoSuchKey", source)
            record = json.loads(done.body)["resource"]
            return Answer(200, _document("CopyObjectResult", {"ETag": _etag(record)}), _stamps(record))

    def _store(self, bucket: str, name: str, body: bytes, kind: str | None) -> Answer:
        query = urlencode({"uploadType": "media", "name": name})
        target = f"/upload/storage/v1/b/{quote(bucket, safe='')}/o?{query}"
        done = self._backend.call("POST", target, body, {"content-type": kind or "application/octet-stream"})
        if done.status != 200:
            raise _error(done.status, "NoSuchBucket", bucket)
        return Answer(200, b"", _stamps(json.loads(done.body)))

    def _delete(self, bucket: str, name: str, request: Request) -> Answer:
        with self._backend.writing(bucket, name, _conditions(request)):
            done = self._backend.call("DELETE", object_path(bucket, name))
        return Answer(204) if done.status in (200, 204) else _error(done.status, "NoSuchKey", name)

    def _begin(self, bucket: str, name: str) -> Answer:
        upload = uuid.uuid4().hex
        self._parts[upload] = {}
        fields = {"Bucket": bucket, "Key": name, "UploadId": upload}
        return Answer(200, _document("InitiateMultipartUploadResult", fields))

    def _put_part(self, upload: str, request: Request) -> Answer:
        number = int(request.query["partNumber"])
        self._parts_of(upload)[number] = request.body
        return Answer(200, b"", {"etag": f'"part-{number}"'})

    def _complete(self, bucket: str, name: str, upload: str, request: Request) -> Answer:
        parts = self._parts_of(upload)
        numbers = [int(number) for number in re.findall(rb"<PartNumber>\s*(\d+)\s*</PartNumber>", request.body)]
        if not numbers or not parts.keys() >= set(numbers):
            raise _error(400, "InvalidPart", f"asked for {numbers}, have {sorted(parts)}")
        with self._backend.writing(bucket, name, _conditions(request)):
            stored = self._store(bucket, name, b"".join(parts[number] for number in numbers), None)
        self._parts.pop(upload, None)
        fields = {"Bucket": bucket, "Key": name, "ETag": stored.headers["etag"]}
        return Answer(200, _document("CompleteMultipartUploadResult", fields), stored.headers)

    def _abort(self, upload: str) -> Answer:
        self._parts.pop(upload, None)
        return Answer(204)

    def _parts_of(self, upload: str) -> dict[int, bytes]:
        if upload not in self._parts:
            raise _error(404, "NoSuchUpload", upload)
        return self._parts[upload]

    def _list(self, bucket: str, query: Mapping[str, str]) -> Answer:
        after = query.get("start-after", "")
        words = {
            "prefix": query.get("prefix"),
            "delimiter": query.get("delimiter"),
            "maxResults": query.get("max-keys", "1000"),
            "pageToken": query.get("continuation-token"),
            "startOffset": after,  # this includes the name itself, which start-after leaves out
        }
        asked = urlencode({key: value for key, value in words.items() if value})
        found = self._backend.call("GET", f"/storage/v1/b/{quote(bucket, safe='')}/o?{asked}")
        if found.status != 200:
            raise _error(found.status, "NoSuchBucket", bucket)
        page = json.loads(found.body)
        items = [item for item in page.get("items", []) if item["name"] != after]
        prefixes = page.get("prefixes", [])
        following = page.get("nextPageToken", "")
        head: dict[str, object] = {"Name": bucket, "KeyCount": len(items) + len(prefixes)}
        head["IsTruncated"] = "true" if following else "false"
        if following:
            head["NextContinuationToken"] = following
        rows = [f"<Contents>{_elements(_listed(item))}</Contents>" for item in items]
        rows += [f"<CommonPrefixes>{_elements({'Prefix': prefix})}</CommonPrefixes>" for prefix in prefixes]
        return Answer(200, _document("ListBucketResult", head, "".join(rows)))


def _conditions(request: Request) -> dict[str, str]:
    unknown = [key for key in request.headers if key.startswith("x-goog-meta-")]
    if unknown:
        raise _error(501, "NotImplemented", f"header {unknown[0]}")
    return {k: v for k, v in request.headers.items() if k in _CONDITIONS or k.startswith("x-goog-if-")}


def _listed(item: Mapping[str, str]) -> dict[str, object]:
    stamp = {"Key": item["name"], "Generation": item["generation"], "LastModified": item["updated"]}
    return {**stamp, "ETag": _etag(item), "Size": item["size"]}


def _etag(record: Mapping[str, str]) -> str:
    return f'"{record["etag"]}"'


def _stamps(record: Mapping[str, str]) -> dict[str, str]:
    return {"etag": _etag(record), "x-goog-generation": record["generation"]}


def _elements(fields: Mapping[str, object]) -> str:
    return "".join(f"<{key}>{escape(str(value))}</{key}>" for key, value in fields.items())


def _document(root: str, fields: Mapping[str, object], rows: str = "") -> bytes:
    return f'<?xml version="1.0" encoding="UTF-8"?><{root}>{_elements(fields)}{rows}</{root}>'.encode()


def _error(status: int, code: str, message: str) -> Answer:
    return Answer(status, _document("Error", {"Code": code, "Message": message}), {"content-type": "application/xml"})
