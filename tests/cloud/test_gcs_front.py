"""The front before fake-gcs-server, asked in raw HTTP: what every client relies on."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode, urlsplit

import pytest

from tests.cloud.fixtures import Bucket

CREATE_XML = {"x-goog-if-generation-match": "0"}
ODD_NAMES = ["a", "a/b", "汉字 é.jpg", "x%2Fy z+?#&=.jpg", "d//e", "d/../e", "_versions/1.manifest", "quote'\"<&>"]


@dataclass
class Reply:
    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


def ask(bucket: Bucket, method: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Reply:
    """Send one request to the front, beside the proxy."""
    link = http.client.HTTPConnection(urlsplit(bucket.server.url).netloc, timeout=120)
    try:
        link.request(method, target, body, dict(headers or {}))
        got = link.getresponse()
        return Reply(got.status, got.read(), {key.lower(): value for key, value in got.getheaders()})
    finally:
        link.close()


def xml(bucket: Bucket, name: str = "", **query: str) -> str:
    return f"/{bucket.name}/{quote(name, safe='')}" + (f"?{urlencode(query)}" if query else "")


def test_object_is_created_only_once_by_an_xml_put(gcs: Bucket) -> None:
    first = ask(gcs, "PUT", xml(gcs, "m"), b"one", CREATE_XML)
    second = ask(gcs, "PUT", xml(gcs, "m"), b"two", CREATE_XML)
    third = ask(gcs, "PUT", xml(gcs, "m"), b"two", {"If-None-Match": "*"})

    assert (first.status, second.status, third.status) == (200, 412, 412)
    assert ask(gcs, "GET", xml(gcs, "m")).body == b"one"


def test_one_of_many_simultaneous_creates_wins(gcs: Bucket) -> None:
    with ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(lambda n: ask(gcs, "PUT", xml(gcs, "m"), b"%d" % n, CREATE_XML).status, range(32)))

    assert sorted(replies) == [200] + [412] * 31


def test_put_replaces_only_the_generation_it_names(gcs: Bucket) -> None:
    generation = ask(gcs, "PUT", xml(gcs, "m"), b"one").headers["x-goog-generation"]

    matching = ask(gcs, "PUT", xml(gcs, "m"), b"two", {"x-goog-if-generation-match": generation})
    stale = ask(gcs, "PUT", xml(gcs, "m"), b"three", {"x-goog-if-generation-match": generation})

    assert (matching.status, stale.status) == (200, 412)
    assert ask(gcs, "GET", xml(gcs, "m")).body == b"two"


def test_copy_if_absent_refuses_an_existing_target(gcs: Bucket) -> None:
    ask(gcs, "PUT", xml(gcs, "from a"), b"one")
    source = {"x-goog-copy-source": f"{gcs.name}/{quote('from a', safe='')}"}

    first = ask(gcs, "PUT", xml(gcs, "to"), b"", source | CREATE_XML)
    second = ask(gcs, "PUT", xml(gcs, "to"), b"", source | CREATE_XML)

    assert (first.status, second.status) == (200, 412)
    assert ask(gcs, "GET", xml(gcs, "to")).body == b"one"


def test_multipart_upload_joins_parts_in_order_and_keeps_its_precondition(gcs: Bucket) -> None:
    def upload() -> Reply:
        begun = ask(gcs, "POST", xml(gcs, "big", uploads="")).body.decode()
        number = re.findall("<UploadId>(.*?)</UploadId>", begun)[0]
        for part in (2, 1):
            ask(gcs, "PUT", xml(gcs, "big", partNumber=str(part), uploadId=number), b"%d" % part * 4)
        parts = "".join(f"<Part><PartNumber>{part}</PartNumber></Part>" for part in (1, 2))
        whole = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
        return ask(gcs, "POST", xml(gcs, "big", uploadId=number), whole, CREATE_XML)

    assert [upload().status, upload().status] == [200, 412]
    assert ask(gcs, "GET", xml(gcs, "big")).body == b"11112222"


@pytest.mark.parametrize("way", ["media", "multipart", "resumable"])
def test_json_upload_keeps_its_precondition(gcs: Bucket, way: str) -> None:
    def upload() -> int:
        target = f"/upload/storage/v1/b/{gcs.name}/o?uploadType={way}&ifGenerationMatch=0"
        if way == "multipart":
            body = b'--B\r\nContent-Type: application/json\r\n\r\n{"name": "n"}\r\n--B\r\n\r\nhi\r\n--B--\r\n'
            return ask(gcs, "POST", target, body, {"Content-Type": "multipart/related; boundary=B"}).status
        if way == "media":
            return ask(gcs, "POST", target + "&name=n", b"hi").status
        begun = ask(gcs, "POST", target + "&name=n", b"{}", {"Content-Type": "application/json"})
        if begun.status != 200:
            return begun.status
        url = urlsplit(begun.headers["location"])
        assert url.netloc == urlsplit(gcs.server.url).netloc
        return ask(gcs, "PUT", f"{url.path}?{url.query}", b"hi", {"Content-Range": "bytes 0-1/2"}).status

    assert [upload(), upload()] == [200, 412]
    assert ask(gcs, "GET", xml(gcs, "n")).body == b"hi"


def test_a_resumable_upload_that_lost_the_race_is_refused_at_its_end(gcs: Bucket) -> None:
    target = f"/upload/storage/v1/b/{gcs.name}/o?uploadType=resumable&name=n&ifGenerationMatch=0"
    url = urlsplit(ask(gcs, "POST", target, b"{}", {"Content-Type": "application/json"}).headers["location"])
    ask(gcs, "PUT", xml(gcs, "n"), b"other", CREATE_XML)

    late = ask(gcs, "PUT", f"{url.path}?{url.query}", b"hi", {"Content-Range": "bytes 0-1/2"})

    assert late.status == 412
    assert ask(gcs, "GET", xml(gcs, "n")).body == b"other"


def test_json_copy_keeps_its_precondition(gcs: Bucket) -> None:
    ask(gcs, "PUT", xml(gcs, "a"), b"one")
    target = f"/storage/v1/b/{gcs.name}/o/a/rewriteTo/b/{gcs.name}/o/b?ifGenerationMatch=0"

    assert [ask(gcs, "POST", target).status for _ in range(2)] == [200, 412]


def test_unknown_conditions_are_refused_instead_of_ignored(gcs: Bucket) -> None:
    assert ask(gcs, "PUT", xml(gcs, "a"), b"", {"x-goog-if-metageneration-match": "1"}).status == 501


@pytest.mark.parametrize("name", ODD_NAMES)
def test_names_come_back_as_they_were(gcs: Bucket, name: str) -> None:
    body = name.encode()
    assert ask(gcs, "PUT", xml(gcs, name), body).status == 200

    head = ask(gcs, "HEAD", xml(gcs, name))
    listed = json.loads(ask(gcs, "GET", f"/storage/v1/b/{gcs.name}/o").body)["items"]
    in_xml = ask(gcs, "GET", xml(gcs) + "?list-type=2").body.decode()

    assert ask(gcs, "GET", xml(gcs, name)).body == body
    assert (head.status, int(head.headers["content-length"])) == (200, len(body))
    assert [item["name"] for item in listed] == [name]
    assert name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") in in_xml
    assert ask(gcs, "DELETE", xml(gcs, name)).status == 204
    assert ask(gcs, "GET", xml(gcs, name)).status == 404


def test_ranges_are_read_as_asked(gcs: Bucket) -> None:
    ask(gcs, "PUT", xml(gcs, "r"), bytes(range(100)))

    def part(span: str) -> Reply:
        return ask(gcs, "GET", xml(gcs, "r"), headers={"Range": f"bytes={span}"})

    assert (part("10-19").status, part("10-19").body) == (206, bytes(range(10, 20)))
    assert part("90-").body == bytes(range(90, 100))
    assert part("-5").body == bytes(range(95, 100))
    assert part("50-900").body == bytes(range(50, 100))
    assert part("100-").status == 416


def test_list_pages_hold_every_name_once_and_in_order(gcs: Bucket) -> None:
    names = [f"p/{n:03d}" for n in range(25)]
    for name in [*names, "q/1"]:
        ask(gcs, "PUT", xml(gcs, name), b"")

    seen: list[list[str]] = []
    following = [""]
    while following:
        query = {"list-type": "2", "prefix": "p/", "max-keys": "10", "continuation-token": following[0]}
        page = ask(gcs, "GET", f"{xml(gcs)}?{urlencode(query)}").body.decode()
        seen.append(re.findall("<Key>(.*?)</Key>", page))
        following = re.findall("<NextContinuationToken>(.*?)</NextContinuationToken>", page)

    assert [len(page) for page in seen] == [10, 10, 5]
    assert [name for page in seen for name in page] == names


def test_list_groups_by_delimiter_and_starts_after_a_name(gcs: Bucket) -> None:
    for name in ("a/1", "a/2", "b/1", "c", "d"):
        ask(gcs, "PUT", xml(gcs, name), b"")

    grouped = ask(gcs, "GET", xml(gcs) + "?list-type=2&delimiter=%2F").body.decode()
    after = ask(gcs, "GET", xml(gcs) + "?list-type=2&start-after=b%2F1").body.decode()

    assert re.findall("<CommonPrefixes><Prefix>(.*?)<", grouped) == ["a/", "b/"]
    assert re.findall("<Key>(.*?)</Key>", grouped) == ["c", "d"]
    assert re.findall("<Key>(.*?)</Key>", after) == ["c", "d"]


def test_links_lead_back_through_the_proxy(gcs: Bucket) -> None:
    fs, path = gcs.storage.filesystem(gcs.url("big.bin"))

    with gcs.proxy.counting() as counts, fs.open(path, "wb", block_size=1 << 18) as file:
        file.write(b"x" * (1 << 20))

    assert sum(request.up_bytes for request in counts.log) >= 1 << 20
    assert ask(gcs, "HEAD", xml(gcs, "big.bin")).headers["content-length"] == str(1 << 20)
