"""Tables from lists of URLs, downloaded from a server on the loopback."""

from __future__ import annotations

import csv
import gzip
import json
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clipdata.errors import NotFoundError, SchemaError, UsageError
from clipdata.images import ImageLimits, decode
from clipdata.lance_io.history import log
from clipdata.lance_io.table import open_table
from ingest import from_urls
from ingest.updating.job import Ingested, ingest
from ingest.updating.source import Item, Refuse, Reject
from ingest.web.download_rules import DownloadRules
from ingest.web.listed_urls import fault_of_name
from ingest.web.url_list import UrlList
from tests.hostile_server import JPEG, PUBLIC, Server, serve

RULES = DownloadRules(allow_private=(PUBLIC,), deadline_s=2.0, num_retries=0)


@pytest.fixture
def server() -> Iterator[Server]:
    with serve() as running:
        yield running


def write_csv(where: Path, rows: list[tuple[str, ...]], header: tuple[str, ...] = ("text", "url", "filename")) -> Path:
    with where.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return where


def bring_in(where: Path, into: Path, **options: Any) -> Ingested:
    return ingest(UrlList(where, rules=RULES, **options), into)


def rows_of(done: Ingested) -> list[dict[str, Any]]:
    return sorted(done.table.to_table().to_pylist(), key=lambda row: row["path"])


def rejects_of(folder: Path) -> list[dict[str, Any]]:
    return open_table(folder / "t.rejects.lance").to_table().to_pylist()


def test_a_list_of_captions_and_urls_becomes_rows_with_images(server, tmp_path):
    url = server.url("image/1.jpg")
    captions = ["女童黄色连衣裙", 'with "quotes", and commas', "two\nlines"]
    where = write_csv(tmp_path / "train.csv", [(text, url, f"test-{n}.jpg") for n, text in enumerate(captions)])
    rows = rows_of(bring_in(where, tmp_path / "t.lance"))
    assert [row["text"] for row in rows] == captions
    assert [row["path"] for row in rows] == ["test-0.jpg", "test-1.jpg", "test-2.jpg"]
    first = rows[0]
    assert first["image"] == JPEG
    assert (first["uri"], first["format"], first["bytes"]) == (url, "jpeg", len(JPEG))
    assert decode(first["image"]).shape == (first["height"], first["width"], 3)
    assert first["mtime"].isoformat() == "2024-03-01T10:00:00+00:00"


def test_only_new_and_changed_rows_are_downloaded_again(server, tmp_path):
    rows = [(f"caption {n}", server.url(f"image/{n}.jpg"), f"{n}.jpg") for n in range(6)]
    first = bring_in(write_csv(tmp_path / "a.csv", rows), tmp_path / "t.lance")
    again = bring_in(tmp_path / "a.csv", tmp_path / "t.lance")
    server.requests.clear()
    rows[1] = ("caption 1", server.url("image/other.jpg"), "1.jpg")
    rows[2] = ("another caption", rows[2][1], "2.jpg")
    rows.append(("new", server.url("image/new.jpg"), "new.jpg"))
    third = bring_in(write_csv(tmp_path / "a.csv", rows), tmp_path / "t.lance")
    assert (first.written.inserted, again.written.inserted, again.unchanged) == (6, 0, 6)
    assert (third.written.inserted, third.written.updated, third.unchanged) == (1, 2, 4)
    assert sorted(server.requests) == ["/image/2.jpg", "/image/new.jpg", "/image/other.jpg"]
    assert {row["path"]: row["text"] for row in rows_of(third)}["2.jpg"] == "another caption"


def test_every_refusal_has_its_reason_and_good_rows_are_kept(server, tmp_path):
    wanted = {
        "good.jpg": ("image/a.jpg", None),
        "gone.jpg": ("nowhere", "http_404"),
        "page.jpg": ("page", "not_an_image"),
        "short.jpg": ("short", "truncated"),
        "huge.jpg": ("huge", "too_large"),
        "asked-not-to.jpg": ("robots/noai", "opt_out"),
        "turned-away.jpg": ("to?where=http%3A%2F%2F127.0.0.1%3A1%2F", "private_address"),
    }
    rows = [("text", server.url(path), name) for name, (path, _) in wanted.items()]
    rows += [("text", "ftp://x/y.jpg", "ftp.jpg"), ("text", "", "none.jpg"), ("text", server.url("image"), "../up.jpg")]
    done = bring_in(write_csv(tmp_path / "a.csv", rows), tmp_path / "t.lance")
    assert [row["path"] for row in rows_of(done)] == ["good.jpg"]
    reasons = [reason for _, reason in wanted.values() if reason] + ["bad_scheme", "bad_url", "bad_filename"]
    assert done.refused == Counter(reasons)
    rejects = {row["path"]: row for row in open_table(tmp_path / "t.rejects.lance").to_table().to_pylist()}
    assert rejects["gone.jpg"]["reason"] == "http_404"
    assert rejects["row 11: ../up.jpg"]["reason"] == "bad_filename"
    assert all(row["detail"] for name, row in rejects.items() if name != "none.jpg")


def test_what_a_server_refuses_for_good_is_asked_for_again_only_on_request(server, tmp_path):
    rows = [("x", server.url(path), f"{path[:4]}.jpg") for path in ("nowhere", "page", "status/410", "status/403")]
    where = write_csv(tmp_path / "a.csv", rows)
    first = bring_in(where, tmp_path / "t.lance")
    server.requests.clear()
    second = bring_in(where, tmp_path / "t.lance")
    assert (first.num_refused, second.num_refused, second.refused_before) == (4, 0, 4)
    assert not server.requests
    ingest(UrlList(where, rules=RULES), tmp_path / "t.lance", retry_rejects=True)
    assert server.requests["/nowhere"] == 1


@pytest.mark.parametrize("path", ["busy-then-image/503/1", "busy-then-image/429/1", "busy-then-image/500/1"])
def test_what_may_have_passed_is_asked_for_again_by_the_next_run(server, tmp_path, path):
    where = write_csv(tmp_path / "a.csv", [("x", server.url(path), "a.jpg")])
    first, second = (bring_in(where, tmp_path / "t.lance") for _ in range(2))
    assert (first.num_refused, second.written.inserted) == (1, 1)


def test_a_run_without_a_network_is_not_remembered(tmp_path):
    rows = [("x", "http://nowhere.invalid/a.jpg", "a.jpg"), ("x", f"http://{PUBLIC}:1/b.jpg", "b.jpg")]
    bring_in(write_csv(tmp_path / "a.csv", rows), tmp_path / "t.lance")
    rejects = rejects_of(tmp_path)
    assert {row["reason"]: row["etag"] for row in rejects} == {"dns": "", "connection": ""}


def test_a_signed_url_that_was_refused_is_asked_for_again_under_its_next_signature(server, tmp_path):
    for signature in ("one", "two"):
        url = server.url(f"status/403?X-Amz-Signature={signature}")
        bring_in(write_csv(tmp_path / "a.csv", [("x", url, "a.jpg")]), tmp_path / "t.lance")
    assert server.requests["/status/403"] == 2


@pytest.mark.parametrize(
    "other",
    [
        {"max_bytes": 1 << 10},
        {"max_redirects": 1},
        {"allow_private": (PUBLIC, "10.0.0.0/8")},
        {"ignore_opt_out": True},
        {"user_agent": "museum/1.0"},
        {"images": ImageLimits(max_pixels=100)},
    ],
)
def test_the_rules_that_refuse_for_good_are_among_the_options(tmp_path, other):
    where = write_csv(tmp_path / "a.csv", [])
    before, after = (UrlList(where, rules=rules).options for rules in (RULES, replace(RULES, **other)))
    assert json.loads(json.dumps(before)) != json.loads(json.dumps(after))
    patient = replace(RULES, deadline_s=60, num_retries=5, num_in_flight=3, delay_s=1.0)
    assert UrlList(where, rules=patient).options == before
    assert UrlList(where, rules=RULES, encoding="gb18030").options != before


def test_further_rows_of_one_file_name_are_refused_by_their_numbers_and_runs_again_write_nothing(server, tmp_path):
    rows = [("first", server.url("image/1.jpg"), "a.jpg"), ("second", server.url("image/2.jpg"), "a.jpg")]
    rows += [("gone", server.url("nowhere"), "b.jpg"), ("third", server.url("image/3.jpg"), "b.jpg"), rows[0]]
    where = write_csv(tmp_path / "a.csv", rows)
    first = bring_in(where, tmp_path / "t.lance")
    assert [row["text"] for row in rows_of(first)] == ["first"]
    assert first.refused == {"duplicate_key": 3, "http_404": 1}
    assert not {"/image/2.jpg", "/image/3.jpg"} & set(server.requests)
    assert {row["path"]: row["reason"] for row in rejects_of(tmp_path)} == {
        "b.jpg": "http_404",
        "row 3: a.jpg": "duplicate_key",
        "row 5: b.jpg": "duplicate_key",
        "row 6: a.jpg": "duplicate_key",
    }
    server.requests.clear()
    versions = [open_table(tmp_path / name).version for name in ("t.lance", "t.rejects.lance")]
    for _ in range(2):
        again = bring_in(where, tmp_path / "t.lance")
        assert (again.unchanged, again.num_refused, again.refused_before) == (1, 0, 4)
    assert [open_table(tmp_path / name).version for name in ("t.lance", "t.rejects.lance")] == versions
    assert not server.requests


def test_a_url_that_is_listed_twice_counts_once(server, tmp_path):
    rows = [("x", server.url("image/1.jpg")), ("x", server.url("image/1.jpg")), ("y", ""), ("z", "")]
    where = write_csv(tmp_path / "a.csv", rows, ("text", "url"))
    done = [bring_in(where, tmp_path / "t.lance") for _ in range(3)]
    assert done[0].refused == {"duplicate_key": 1, "bad_url": 2}
    assert server.requests["/image/1.jpg"] == 1
    assert [(one.unchanged, one.num_refused) for one in done[1:]] == [(1, 0), (1, 0)]
    assert len({row["path"] for row in rejects_of(tmp_path)}) == 3


def test_a_refusal_shows_the_url_and_what_is_wrong_and_no_secret(server, tmp_path):
    rows = [("x", server.url("nowhere?w=3&token=5ecre7"), "a.jpg"), ("x", "ftp://h/b.jpg?pwd=5ecre7", "b.jpg")]
    rows += [("x", f"http://h/{'c' * 9000}?sig=5ecre7", "c.jpg"), ("x", "http://h/\x1b]0;x\x07", "d.jpg")]
    rows += [("x", server.url("to?where=http%3A%2F%2F10.0.0.1%2F%3Fsid%3D5ecre7"), "e.jpg"), ("x", "http://h/", "../f")]
    bring_in(write_csv(tmp_path / "a.csv", rows), tmp_path / "t.lance")
    details = {row["path"]: row["detail"] for row in rejects_of(tmp_path)}
    assert details["a.jpg"] == f"{server.url('nowhere?w=3&token=***')}: Not Found"
    assert details["b.jpg"] == "ftp://h/b.jpg?pwd=***: ftp://; expected http:// or https://"
    assert details["c.jpg"].startswith("http://h/ccc")
    assert len(details["c.jpg"]) < 400
    assert details["d.jpg"].startswith("http://h/\\x1b]0;x\\x07: ")
    assert "10.0.0.1 is inside a private network; --allow-private HOST" in details["e.jpg"]
    assert details["row 7: ../f"].startswith("http://h/: it leads out of its folder")
    assert "5ecre7" not in str(details)


def test_details_of_refusals_are_masked_whichever_source_wrote_them(tmp_path):
    class Telling(UrlList):
        def read(self, items: Iterable[Item], refuse: Refuse) -> Iterator[pa.RecordBatch]:
            for item in items:
                refuse(Reject(item.key, item.etag, "unreadable", "GET https://h/a.jpg?sig=5ecre7 failed"))
            yield from ()

    ingest(Telling(write_csv(tmp_path / "a.csv", [("x", "http://h/", "a.jpg")])), tmp_path / "t.lance")
    assert [row["detail"] for row in rejects_of(tmp_path)] == ["GET https://h/a.jpg?sig=*** failed"]


def test_urls_in_other_columns_are_stored_without_their_secrets_and_it_is_said(server, tmp_path):
    def listed(secret: str) -> Path:
        original = f"http://h/a?w=3&sig={secret}"
        row = {"url": server.url("image/1.jpg"), "original_url": original, "more": {"all": [original]}, "text": "a=1"}
        where = tmp_path / "a.jsonl"
        where.write_text(json.dumps(row | {"name": f"a.jpg?token={secret}"}))
        return where

    source = UrlList(listed("5ecre7"), filename="name", rules=RULES)
    row = rows_of(ingest(source, tmp_path / "t.lance"))[0]
    assert (row["path"], row["original_url"], row["text"]) == ("a.jpg?token=***", "http://h/a?w=3&sig=***", "a=1")
    assert source.notes()["rows with a secret masked in column 'original_url'"] == 1
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "a.jsonl"]
    assert not [path for path in files if b"5ecre7" in path.read_bytes()]
    again = ingest(UrlList(listed("an0ther"), filename="name", rules=RULES), tmp_path / "t.lance")
    assert (again.unchanged, again.num_refused) == (1, 0)


def test_columns_whose_names_the_row_keeps_for_itself_are_carried_under_others_and_it_is_said(tmp_path):
    source = UrlList(write_csv(tmp_path / "a.csv", [], ("url", "text", "width", "meta_width", "source")))
    assert source.schema().names[-4:] == ["text", "meta_width_2", "meta_width", "meta_source"]
    assert source.notes() == {
        "column 'width' of the list is called": "meta_width_2",
        "column 'source' of the list is called": "meta_source",
    }
    assert source.schema() is source.schema()


@pytest.mark.parametrize(
    ("first", "columns"),
    [
        ("a bus station\thttp://h/1.jpg", "caption,url"),
        ("https://h/1.jpg\ta bus station", "url,caption"),
        ("a bus\tHTTP://h/1.jpg\t0.3", "caption,url,column_2"),
        ("http://h/1.jpg?sig=5ecre7", "url"),
    ],
)
def test_a_list_without_a_header_is_told_with_the_option_that_reads_it(tmp_path, first, columns):
    where = tmp_path / "cc3m.tsv"
    where.write_text(f"{first}\n{first}\n")
    with pytest.raises(SchemaError, match="has no header: its first line is a row") as error:
        UrlList(where)
    assert f"--columns {columns} (columns=" in str(error.value.hint)
    assert "5ecre7" not in str(error.value)


def test_a_list_without_a_header_is_read_when_its_columns_are_named(server, tmp_path):
    where = tmp_path / "cc3m.tsv"
    where.write_text(f"a bus station\t{server.url('image/1.jpg')}\na man\t{server.url('image/2.jpg')}\n")
    done = from_urls(where, into=tmp_path / "t.lance", rules=RULES, columns=("caption", "url"))
    assert sorted(row["text"] for row in rows_of(done)) == ["a bus station", "a man"]


def test_a_rule_that_changes_tries_again_what_was_refused_and_nothing_else(server, tmp_path):
    paths = {"image/1.jpg": "good.jpg", "robots/noai": "asked.jpg", "nowhere": "gone.jpg"}
    where = write_csv(tmp_path / "a.csv", [("x", server.url(path), name) for path, name in paths.items()])
    bring_in(where, tmp_path / "t.lance")
    server.requests.clear()
    unasked = ingest(UrlList(where, rules=replace(RULES, deadline_s=9.0)), tmp_path / "t.lance")
    assert (unasked.refused_before, dict(server.requests)) == (2, {})
    done = ingest(UrlList(where, rules=replace(RULES, ignore_opt_out=True)), tmp_path / "t.lance")
    assert [row["path"] for row in rows_of(done)] == ["asked.jpg", "good.jpg"]
    assert set(server.requests) == {"/robots/noai", "/nowhere"}
    assert [row["path"] for row in rejects_of(tmp_path)] == ["gone.jpg"]


def test_a_list_that_breaks_off_gives_the_rows_before(tmp_path):
    noise = random.Random(1)
    lines = "".join(f"x,http://h/{n}.jpg,{n}.jpg,{noise.randbytes(2000).hex()}\n" for n in range(1000))
    whole = gzip.compress(f"text,url,filename,noise\n{lines}".encode())
    (tmp_path / "a.csv.gz").write_bytes(whole[:-2000])
    items = list(UrlList(tmp_path / "a.csv.gz", rules=RULES).items())
    assert len(items) > 100
    assert [item.fault for item in items[:-1]] == [""] * (len(items) - 1)
    assert items[-1].key == f"after row {len(items)}"  # the first row is on the second line
    assert items[-1].etag == ""
    assert "cannot be read further" in items[-1].detail


def test_a_list_is_gone_through_without_being_held(tmp_path):
    caption = "a picture of a bus station " * 150
    rows = [(f"{n} {caption}", f"http://h/{n}.jpg", f"{n}.jpg") for n in range(6_000)]
    source = UrlList(write_csv(tmp_path / "a.csv", rows))
    list(islice(source.items(), 10))  # what is loaded once
    process, before_bytes = psutil.Process(), psutil.Process().memory_info().rss
    held = [process.memory_info().rss - before_bytes for n, _ in enumerate(source.items()) if n % 500 == 499]
    assert len(held) == 12
    assert max(held) < 10 << 20 < (tmp_path / "a.csv").stat().st_size


def test_a_list_without_names_gets_names_that_depend_on_the_url_alone(server, tmp_path):
    url, other = server.url("image/1.jpg"), server.url("image/2.png?size=3")
    write_csv(tmp_path / "a.csv", [("x", url), ("y", other)], ("text", "url"))
    write_csv(tmp_path / "b.csv", [("z", other), ("x", url)], ("text", "url"))
    paths = [[item.key for item in UrlList(tmp_path / name).items()] for name in ("a.csv", "b.csv")]
    assert paths[0] == paths[1][::-1]
    assert [Path(path).suffix for path in paths[0]] == [".jpg", ".png"]


def test_columns_may_have_other_names_and_the_others_are_kept(server, tmp_path):
    header = ("URL", "TEXT", "width", "similarity", "name")
    where = write_csv(tmp_path / "a.csv", [(server.url("image/1.jpg"), "a cat", "640", "0.31", "c.jpg")], header)
    done = bring_in(where, tmp_path / "t.lance", caption="TEXT", filename="name")
    row = rows_of(done)[0]
    assert (row["path"], row["text"], row["similarity"]) == ("c.jpg", "a cat", "0.31")
    assert (row["meta_width"], row["width"]) == ("640", 64)


@pytest.mark.parametrize("suffix", ["tsv", "jsonl", "parquet"])
def test_lists_of_every_format_give_the_same_rows(server, tmp_path, suffix):
    columns = {
        "text": ["a, b", "c"],
        "url": [server.url("image/1.jpg"), server.url("image/2.jpg")],
        "filename": ["1", "2"],
    }
    where = tmp_path / f"a.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.table(columns), where)
    else:
        rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        lines = (
            [json.dumps(row) for row in rows]
            if suffix == "jsonl"
            else ["\t".join(columns), *("\t".join(row.values()) for row in rows)]
        )
        where.write_text("\n".join(lines))
    rows = rows_of(bring_in(where, tmp_path / "t.lance"))
    assert [(row["path"], row["text"], row["image"]) for row in rows] == [("1", "a, b", JPEG), ("2", "c", JPEG)]


def test_numbers_of_a_parquet_list_stay_numbers(server, tmp_path):
    pq.write_table(pa.table({"url": [server.url("image/1.jpg")], "score": [0.5]}), tmp_path / "a.parquet")
    done = bring_in(tmp_path / "a.parquet", tmp_path / "t.lance")
    assert done.table.schema.field("score").type == pa.float64()


def test_a_row_that_cannot_be_read_is_refused_and_the_rest_goes_on(server, tmp_path):
    where = tmp_path / "a.csv"
    where.write_text(f'text,url,filename\n"never closed,x,y\nfine,{server.url("image/1.jpg")},a.jpg\ntoo,few\n')
    done = bring_in(where, tmp_path / "t.lance")
    assert [row["path"] for row in rows_of(done)] == ["a.jpg"]
    assert done.refused == {"bad_row": 2}


def test_a_list_without_urls_names_its_columns_and_a_likely_cause(tmp_path):
    where = tmp_path / "a.csv"
    where.write_text("text:url:filename\nx:http://x:a\n")
    with pytest.raises(SchemaError, match=r"no column of URLs[\s\S]*another delimiter"):
        UrlList(where)
    write_csv(where, [], ("caption", "link"))
    with pytest.raises(SchemaError, match=r"'lnk'.*did you mean link"):
        UrlList(where, url="lnk")
    pq.write_table(pa.table({"url": [1, 2]}), tmp_path / "a.parquet")
    with pytest.raises(SchemaError, match="holds int64; expected text"):
        UrlList(tmp_path / "a.parquet")


def test_columns_that_would_share_a_name_are_an_error(tmp_path):
    with pytest.raises(SchemaError, match="two columns would be called text"):
        UrlList(write_csv(tmp_path / "a.csv", [], ("url", "text", "title")), caption="title")


def test_a_missing_list_leaves_no_table_behind(tmp_path):
    with pytest.raises(NotFoundError):
        bring_in(tmp_path / "none.csv", tmp_path / "t.lance")
    assert not (tmp_path / "t.lance").exists()


@pytest.mark.parametrize("name", ["a.jpg", "folder/a.jpg", "图 片.jpg", "a..b.jpg", "...", ".hidden", "a" * 255])
def test_usable_file_names_are_kept_as_they_are(name):
    assert fault_of_name(name) == ""


@pytest.mark.parametrize(
    "name",
    [
        "",
        "  ",
        "/etc/passwd",
        "../a.jpg",
        "a/../../b",
        "a/..",
        ".",
        "a//b",
        "a\\..\\b",
        "\\\\host\\a",
        "C:\\a",
        "c:a",
        "a\x00.jpg",
        "a\n.jpg",
        "a" * 256,
        "/".join(["a" * 200] * 6),
        "\ud800",
    ],
)
def test_file_names_that_lead_elsewhere_are_refused(name):
    assert fault_of_name(name)


def test_rows_of_a_batch_come_in_the_order_of_the_list(server, tmp_path):
    rows = [("x", server.url(f"slow/{0.2 if n == 0 else 0}/{n}.jpg"), f"{n:03d}.jpg") for n in range(40)]
    source = UrlList(write_csv(tmp_path / "a.csv", rows), rules=RULES)
    refused: list[Reject] = []
    batches = list(source.read(list(source.items()), refused.append))
    assert not refused
    assert sum(batch.num_rows for batch in batches) == 40
    assert all(batch.column("path").to_pylist() == sorted(batch.column("path").to_pylist()) for batch in batches)
    assert all(batch.schema.equals(source.schema()) for batch in batches)


def test_limits_of_the_image_are_those_of_the_rules(server, tmp_path):
    where = write_csv(tmp_path / "a.csv", [("x", server.url("image/1.jpg"), "a.jpg")])
    tight = replace(RULES, images=replace(RULES.images, max_pixels=100))
    done = ingest(UrlList(where, rules=tight), tmp_path / "t.lance")
    assert done.refused == {"too_many_pixels": 1}


def test_a_list_in_another_encoding_is_read_when_it_is_named(server, tmp_path):
    where = tmp_path / "a.txt"
    where.write_bytes(f"text,url,filename\n女童黄色连衣裙,{server.url('image/1.jpg')},黄.jpg\n".encode("gb18030"))
    options = {"into": tmp_path / "t.lance", "rules": RULES, "file_format": "csv"}
    with pytest.raises(UsageError, match=r"not utf-8[\s\S]*--encoding[\s\S]*gb18030"):
        from_urls(where, **options)
    done = from_urls(where, encoding="gb18030", **options)
    assert [(row["path"], row["text"]) for row in rows_of(done)] == [("黄.jpg", "女童黄色连衣裙")]


def test_a_signature_downloads_and_is_stored_nowhere(server, tmp_path):
    secret = "5ecre7"
    signed = f"?w=3&X-Amz-Expires=60&X-Amz-Signature={secret}"
    rows = [("x", server.url(f"image/1.jpg{signed}"), "a.jpg"), ("x", server.url(f"nowhere{signed}"), "b.jpg")]
    rows += [("x", server.url(f"nowhere{signed}"), "b.jpg"), ("x", f"ftp://h/c.jpg?token={secret}", "c.jpg")]
    rows += [("x", f"http://127.0.0.1:bad{signed}", "d.jpg"), ("x", "http://h/", f"/e.jpg?sig={secret}")]
    rows += [("x", server.url(f"to?where=http%3A%2F%2F127.0.0.1%3A1%2F%3Fsig%3D{secret}"), "f.jpg")]
    where = write_csv(tmp_path / "a.csv", rows)
    done = bring_in(where, tmp_path / "t.lance")
    refused = open_table(tmp_path / "t.rejects.lance").to_table()
    assert [row["uri"] for row in rows_of(done)] == [
        server.url("image/1.jpg?w=3&X-Amz-Expires=***&X-Amz-Signature=***")
    ]
    assert refused.num_rows == 6
    assert secret not in str(refused.to_pylist()) + repr(done)
    where.unlink()
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]


def test_the_same_list_with_new_signatures_downloads_nothing_again(server, tmp_path):
    def listed(signature: str) -> Path:
        url = server.url(f"image/1.jpg?id=7&X-Amz-Date={signature}&X-Amz-Signature={signature}")
        return write_csv(tmp_path / "a.csv", [("x", url)], ("text", "url"))

    bring_in(listed("one"), tmp_path / "t.lance")
    again = bring_in(listed("two"), tmp_path / "t.lance")
    assert (again.unchanged, again.num_refused, len(again.vanished)) == (1, 0, 0)


def test_rows_that_left_a_list_are_told_and_those_of_other_lists_are_not(server, tmp_path):
    rows = [("x", server.url(f"image/{n}.jpg"), f"{n}.jpg") for n in range(4)]
    bring_in(write_csv(tmp_path / "other.csv", rows[3:]), tmp_path / "t.lance")
    bring_in(write_csv(tmp_path / "a.csv", rows[:3]), tmp_path / "t.lance")
    again = bring_in(write_csv(tmp_path / "a.csv", rows[1:3]), tmp_path / "t.lance")
    assert again.vanished == ["0.jpg"]
    assert {row["path"]: Path(row["source"]).name for row in rows_of(again)}["3.jpg"] == "other.csv"


def test_refusals_are_written_on_the_way_when_every_url_fails(tmp_path, monkeypatch):
    monkeypatch.setattr("ingest.updating.rejects.FLUSH_ROWS", 4096)
    num_rows = 4096 + 50
    where = write_csv(tmp_path / "a.csv", [("x", "ftp://h/x.jpg", f"{n}.jpg") for n in range(num_rows)])
    done = bring_in(where, tmp_path / "t.lance")
    written = [version.num_rows for version in log(tmp_path / "t.rejects.lance")]
    assert done.num_refused == num_rows
    assert written[-1] == num_rows
    assert len([rows for rows in written if rows]) < 10
