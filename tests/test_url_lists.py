from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clipdata.errors import NotFoundError, SchemaError, UsageError
from clipdata.images import decode
from clipdata.lance_io.history import log
from clipdata.lance_io.table import open_table
from ingest import from_urls
from ingest.updating.job import Ingested, ingest
from ingest.updating.rejects import FLUSH_ROWS
from ingest.updating.source import Reject
from ingest.web.download_rules import DownloadRules
from ingest.web.url_list import UrlList, fault_of_name
from tests.hostile_server import JPEG, PUBLIC, Server, serve

RULES = DownloadRules(private_networks=(f"{PUBLIC}/32",), deadline_s=2.0, num_retries=0)


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


def test_what_was_refused_is_asked_for_again_only_on_request(server, tmp_path):
    where = write_csv(tmp_path / "a.csv", [("x", server.url("busy-then-image/503/1"), "a.jpg")])
    first, second = (bring_in(where, tmp_path / "t.lance") for _ in range(2))
    third = ingest(UrlList(where, rules=RULES), tmp_path / "t.lance", retry_rejects=True)
    assert (first.refused, second.refused_before, third.written.inserted) == ({"http_503": 1}, 1, 1)


def test_the_second_row_of_one_file_name_is_refused(server, tmp_path):
    rows = [("first", server.url("image/1.jpg"), "a.jpg"), ("second", server.url("image/2.jpg"), "a.jpg")]
    done = bring_in(write_csv(tmp_path / "a.csv", rows), tmp_path / "t.lance")
    assert [row["text"] for row in rows_of(done)] == ["first"]
    assert done.refused == {"duplicate_key": 1}
    assert "/image/2.jpg" not in server.requests


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
    assert (row["original_width"], row["width"]) == ("640", 64)


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
    assert refused.num_rows == 5
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


def test_refusals_are_written_on_the_way_when_every_url_fails(tmp_path):
    num_rows = FLUSH_ROWS + 50
    where = write_csv(tmp_path / "a.csv", [("x", "ftp://h/x.jpg", f"{n}.jpg") for n in range(num_rows)])
    done = bring_in(where, tmp_path / "t.lance")
    written = [version.num_rows for version in log(tmp_path / "t.rejects.lance")]
    assert done.num_refused == num_rows
    assert written[-1] == num_rows
    assert len([rows for rows in written if rows]) < 10
