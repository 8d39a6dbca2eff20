"""The viewer's server: who is answered, what about tables, parquet files and folders, and what is written."""

from __future__ import annotations

import json
import shlex
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import cv2
import httpx
import lance
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import clipdata as cd
from clipdata.errors import NotFoundError, SchemaError, UsageError
from clipdata.viewer import Viewer
from tests.tiny_models import tiny_encoder
from tests.viewing import MARKUP, NUM_ROWS, picture, viewed_rows, viewed_table


@contextmanager
def browser_of(viewer: Viewer) -> Iterator[httpx.Client]:
    """A client that was let in, as a browser is."""
    place = viewer.url.partition("/?")[0]
    with httpx.Client(base_url=place, follow_redirects=True, trust_env=False, timeout=30) as client:
        assert client.get(viewer.url).status_code == 200
        yield client


def told(client: httpx.Client, what: str, **query: Any) -> Any:
    """What the viewer says to a question that it answers."""
    answer = client.get(f"/api/{what}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def written(client: httpx.Client, what: str, body: Any, **headers: str) -> httpx.Response:
    """What it says to an edit from its own page."""
    origin = str(client.base_url).rstrip("/")
    return client.post(f"/api/edit/{what}", content=json.dumps(body), headers={"origin": origin, **headers})


def settled(client: httpx.Client, ticket: int) -> dict[str, Any]:
    """What is told of decisions once one of them is in the table."""
    give_up = time.monotonic() + 60
    while (now := told(client, "decisions"))["written"] < ticket:
        assert now["error"] is None
        assert time.monotonic() < give_up
        time.sleep(0.05)
    return now


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> cd.Table:
    return viewed_table(tmp_path_factory.mktemp("view"))


@pytest.fixture(scope="module")
def viewer(table: cd.Table) -> Iterator[Viewer]:
    with cd.view(table.uri) as serving:
        yield serving


@pytest.fixture(scope="module")
def client(viewer: Viewer) -> Iterator[httpx.Client]:
    with browser_of(viewer) as let_in:
        yield let_in


def test_nothing_is_answered_without_the_token(viewer: Viewer) -> None:
    place = viewer.url.partition("/?")[0]
    with httpx.Client(base_url=place, trust_env=False) as stranger:
        for path in ("/", "/?token=wrong", "/?token=%C3%A9", "/api/table", "/picture?row=0", "/static/main.js"):
            answer = stranger.get(path)
            assert answer.status_code == 403
            assert "token" in answer.text
        assert not stranger.cookies


def test_the_token_is_exchanged_for_a_cookie_that_only_this_page_sends(viewer: Viewer) -> None:
    answer = httpx.get(viewer.url, trust_env=False)

    assert answer.status_code == 303
    assert "token" not in answer.headers["location"]
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert viewer.url.partition("token=")[2].lower() not in cookie


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1:1", "", "127.0.0.1.evil.example:{port}"]
)
def test_another_host_is_told_nothing(viewer: Viewer, client: httpx.Client, host: str) -> None:
    port = httpx.URL(viewer.url).port
    answer = client.get("/api/table", headers={"host": host.format(port=port)})

    assert answer.status_code in (400, 421)
    assert "columns" not in answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "http://evil.example"},
        {"origin": "http://127.0.0.1:1"},
        {"origin": "null"},
    ],
)
def test_a_page_of_another_origin_gets_nothing(client: httpx.Client, headers: dict[str, str]) -> None:
    answer = client.get("/api/table", headers=headers)

    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers


def test_every_answer_holds_the_browser_to_this_origin(client: httpx.Client) -> None:
    for path in ("/", "/api/table", "/picture?row=0", "/picture?row=9999", "/static/page.css", "/static/none", "/none"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'")
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in headers


def test_the_page_names_no_other_origin_and_holds_no_script_of_its_own(client: httpx.Client) -> None:
    html = client.get("/").text
    files = Path(cd.viewer.__file__).parent / "static"

    assert "://" not in html
    assert "<script>" not in html
    assert " style=" not in html
    for file in [*files.glob("*.js"), *files.glob("*.css")]:
        text = file.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "://" not in text, file
        assert "innerHTML" not in text, file
        assert "@import" not in text, file


def test_a_table_is_told_with_its_columns_and_what_made_them(client: httpx.Client) -> None:
    found = told(client, "table")

    assert (found["num_rows"], found["num_found"], found["picture"], found["key"]) == (
        NUM_ROWS,
        NUM_ROWS,
        "image",
        "path",
    )
    columns = {column["name"]: column for column in found["columns"]}
    assert columns["caption_length"]["made_by"] == "caption_length(caption)"
    assert columns["score"]["made_by"] is None
    assert found["texts"][0] == "caption"
    assert ["score", "score_tuned"] in found["pairs"]
    assert found["axes"] == [["x", "y"], ["embedding", None]]


def test_rows_are_paged_by_their_place_in_the_order(client: httpx.Client) -> None:
    first = told(client, "rows", at=0, num=20, column=["path", "score"])
    last = told(client, "rows", at=50, num=20, column="path")

    stored = [row["cells"]["path"] for row in first["rows"]]
    assert len(stored) == 20
    assert len(last["rows"]) == NUM_ROWS - 50
    assert not set(stored) & {row["cells"]["path"] for row in last["rows"]}


@pytest.mark.parametrize("descending", ["", "1"])
def test_rows_are_sorted_by_a_column_and_by_a_change(client: httpx.Client, descending: str) -> None:
    by_score = told(client, "rows", at=0, num=60, column="score", sort="score", descending=descending)
    pair = {"before": "score", "after": "score_tuned", "column": ["score", "score_tuned"]}
    by_change = told(client, "rows", at=0, num=60, sort="~change", descending=descending, **pair)

    scores = [row["cells"]["score"] for row in by_score["rows"]]
    changes = [np.float32(row["cells"]["score_tuned"]) - np.float32(row["cells"]["score"]) for row in by_change["rows"]]
    assert scores == sorted(scores, reverse=bool(descending))
    assert changes == sorted(changes, reverse=bool(descending))


def test_rows_without_a_value_come_last_whichever_way(client: httpx.Client) -> None:
    for descending in ("", "1"):
        found = told(
            client, "rows", at=0, num=60, column="caption_length", sort="caption_length", descending=descending
        )
        lengths = [row["cells"]["caption_length"] for row in found["rows"]]
        assert lengths[-12:] == [None] * 12
        assert None not in lengths[:-12]


def test_a_filter_keeps_its_rows_and_a_false_one_is_explained(client: httpx.Client) -> None:
    assert told(client, "table", where="split = 'test' AND score > 0.5")["num_found"] == 6

    for where, words in (("nope > 3", "nope"), ("score >", "expression"), ("score", "boolean"), ("(1 = 1", "brackets")):
        answer = client.get("/api/table", params={"where": where})
        assert answer.status_code == 400
        assert words in answer.json()["error"]
        assert "/view" not in answer.json()["error"]


def test_a_filter_is_bounded_in_length(client: httpx.Client) -> None:
    answer = client.get("/api/table", params={"where": "score > 0 OR " * 400 + "score > 0"})

    assert answer.status_code == 400
    assert "at most 4,000" in answer.json()["error"]


@pytest.mark.parametrize(
    "where", ["1 = 1; DROP TABLE dataset", "SELECT * FROM dataset", "path IN (SELECT path FROM dataset)"]
)
def test_a_filter_is_no_statement(client: httpx.Client, where: str) -> None:
    answer = client.get("/api/table", params={"where": where})

    assert answer.status_code == 400
    assert told(client, "table")["num_rows"] == NUM_ROWS


def test_each_part_of_a_facet_stands_for_its_filter(client: httpx.Client) -> None:
    for column in ("score", "caption_length", "split", "caption"):
        facet = told(client, "facet", column=column)
        parts = [*facet["parts"], *([facet["missing"]] if facet["missing"] else [])]
        assert sum(part["count"] for part in parts) + facet["num_others"] == NUM_ROWS
        for part in parts:
            assert told(client, "table", where=part["where"])["num_found"] == part["count"], part


def test_facets_of_numbers_that_float_does_not_hold_and_of_texts_too_long_to_ask_for(tmp_path: Path) -> None:
    odd = [float("nan"), float("inf"), 1.0, 2.0, None, 3.0]
    rows = {
        "big": pa.array([2**60 + 7 * number for number in range(6)], pa.int64()),
        "bigger": pa.array([2**64 - 1 - number for number in range(6)], pa.uint64()),
        "odd": pa.array(odd, pa.float32()),
        "long": pa.array(["word " * 1000] * 6),
    }
    pq.write_table(pa.table(rows), tmp_path / "rows.parquet")

    with cd.view(tmp_path / "rows.parquet") as viewer, browser_of(viewer) as client:
        for column in ("big", "odd"):
            facet = told(client, "facet", column=column)
            parts = [*facet["parts"], *facet["unordered"], *([facet["missing"]] if facet["missing"] else [])]
            assert sum(part["count"] for part in parts) == 6
            for part in parts:
                assert told(client, "table", where=part["where"])["num_found"] == part["count"], part
        assert sum(part["count"] for part in told(client, "facet", column="bigger")["parts"]) == 6
        assert told(client, "facet", column="long")["parts"][0]["where"] is None


def test_a_broken_picture_among_good_ones_hides_none(tmp_path: Path) -> None:
    pictures = [picture(1), b"junk", None, picture(2), picture(3)]
    pq.write_table(pa.table({"thumb": pa.array(pictures, pa.binary())}), tmp_path / "rows.parquet")

    with cd.view(tmp_path / "rows.parquet") as viewer, browser_of(viewer) as client:
        assert client.get("/picture", params={"row": 3}).headers["content-type"] == "image/webp"
        assert client.get("/picture", params={"row": 1}).status_code == 404


def test_facets_count_the_rows_of_the_filter_alone(client: httpx.Client) -> None:
    facet = told(client, "facet", column="split", where="score > 0.5")

    assert sum(part["count"] for part in facet["parts"]) == told(client, "table", where="score > 0.5")["num_found"]


def test_pictures_are_encoded_anew_without_what_else_their_file_held(tmp_path: Path) -> None:
    marked = picture(3, suffix=".jpg", size=(400, 900))
    marked = marked[:2] + b"\xff\xe1\x00\x12Exif\x00\x00SECRETPLAC" + marked[2:]
    (tmp_path / "marked.jpg").write_bytes(marked)
    with cd.view(tmp_path) as viewer, browser_of(viewer) as client:
        answer = client.get("/picture", params={"row": 0, "size": 320})

    assert answer.headers["content-type"] == "image/webp"
    assert answer.content[8:12] == b"WEBP"
    assert b"SECRET" not in answer.content
    assert cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR).shape == (142, 320, 3)


def test_what_is_no_picture_never_reaches_the_browser(tmp_path: Path) -> None:
    bomb = bytearray(picture(1))
    bomb[16:24] = struct.pack(">II", 60_000, 60_000)
    files = {"a.png": b"<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>", "b.png": bytes(bomb)}
    for name, data in {**files, "c.png": b""}.items():
        (tmp_path / name).write_bytes(data)
    with cd.view(tmp_path) as viewer, browser_of(viewer) as client:
        answers = [client.get("/picture", params={"row": row}) for row in range(3)]

    for answer in answers:
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/json"
        assert answer.json()["reason"]
        assert b"<svg" not in answer.content


def test_a_picture_that_a_row_names_in_the_web_is_not_fetched(tmp_path: Path) -> None:
    rows = viewed_rows(2).append_column("uri", pa.array(["http://127.0.0.1:9/x.png", "https://example.org/y.png"]))
    place = rows.schema.get_field_index("image")
    rows = rows.set_column(place, rows.schema.field("image"), pa.nulls(2, pa.large_binary()))
    pa_table = rows.select(["path", "image", "uri"])
    import lance

    lance.write_dataset(pa_table, tmp_path / "web.lance")
    with cd.view(tmp_path / "web.lance") as viewer, browser_of(viewer) as client:
        answer = client.get("/picture", params={"row": 0})

    assert answer.status_code == 404
    assert "sends no request" in answer.json()["error"]


def test_a_row_is_told_whole_but_for_its_bytes(client: httpx.Client) -> None:
    found = told(client, "rows", at=0, num=60, column="caption", where="caption LIKE '%script%'")["rows"][0]
    whole = told(client, "row", row=found["row"])["cells"]

    assert whole["caption"] == MARKUP
    assert "image" not in whole
    assert client.get("/api/row", params={"row": NUM_ROWS}).status_code == 400


def test_versions_and_tags_can_be_looked_at(client: httpx.Client, table: cd.Table) -> None:
    found = told(client, "versions")
    earlier = [one["version"] for one in found["versions"] if one["rows"] == 50]

    assert found["tags"] == {"scored": table.version}
    assert told(client, "table", version=earlier[0])["num_rows"] == 50
    assert told(client, "table", version="scored")["version"] == table.version
    assert client.get("/api/table", params={"version": 999}).status_code == 400


def test_two_versions_are_held_against_each_other(client: httpx.Client, table: cd.Table) -> None:
    earlier = next(one["version"] for one in told(client, "versions")["versions"] if one["rows"] == 50)
    found = told(client, "diff", **{"from": earlier, "to": table.version})

    assert found["counts"] == {"added": 10, "removed": 0, "changed": 0}
    added = told(client, "row", row=found["added"][0]["row"], version=table.version)["cells"]
    assert added["path"] == found["added"][0]["key"]


def test_failures_and_refusals_are_told_by_reason(client: httpx.Client) -> None:
    found = told(client, "failures")

    assert [(one["column"], one["reason"], one["count"]) for one in found["failures"]] == [
        ("caption_length", "ValueError", 12)
    ]
    assert found["rejects"] == []


def test_words_are_searched_and_rows_come_by_their_score(client: httpx.Client) -> None:
    found = told(client, "rows", at=0, num=60, column="caption", words="red house")

    assert found["num_found"] == 12
    assert {row["cells"]["caption"] for row in found["rows"]} == {"a red house by the sea"}


def test_rows_are_searched_by_text_and_by_a_row_with_the_model_that_lineage_names(tmp_path: Path) -> None:
    table = viewed_table(tmp_path)
    cd.map_column(table.uri, cd.steps.ImageEmbedding(tiny_encoder(tmp_path)), "features")
    with cd.view(table.uri) as viewer, browser_of(viewer) as client:
        can = told(client, "table")["can"]
        by_text = told(client, "rows", at=0, num=60, column="path", text="a red square", where="split = 'test'")
        alike = told(client, "rows", at=0, num=60, column="path", like=by_text["rows"][0]["row"])

    hits = cd.search(table.uri, text="a red square", where="split = 'test'", top=60).answers[0].hits
    shown = [row["cells"]["path"] for row in by_text["rows"]]
    assert can["text"]["column"] == can["like"] == "features"
    assert shown == [hit.row for hit in hits]
    assert alike["num_found"] == NUM_ROWS - 1
    assert shown[0] not in {row["cells"]["path"] for row in alike["rows"]}


def test_a_lasso_keeps_the_rows_inside_and_goes_with_a_filter(client: httpx.Client) -> None:
    lasso = "1.5,1.5,4.5,1.5,4.5,3.5,1.5,3.5"
    found = told(client, "rows", at=0, num=60, column=["x", "y"], x="x", y="y", lasso=lasso)

    places = {(row["cells"]["x"], row["cells"]["y"]) for row in found["rows"]}
    assert places == {(x, y) for x in (2, 3, 4) for y in (2, 3)}
    assert told(client, "table", x="x", y="y", lasso=lasso, where="split = 'test'")["num_found"] == 2
    assert client.get("/api/table", params={"x": "x", "y": "y", "lasso": "1,2"}).status_code == 400


def test_a_map_of_embeddings_lies_on_their_two_main_axes(client: httpx.Client) -> None:
    data = client.get("/api/points", params={"x": "embedding"}).content
    points = np.frombuffer(data, "<f4", offset=4 * NUM_ROWS).reshape(2, NUM_ROWS)
    rows = np.frombuffer(data, "<u4", NUM_ROWS)

    vectors = np.array([told(client, "row", row=int(row))["cells"]["path"][:3] for row in rows], float)
    assert len(set(rows.tolist())) == NUM_ROWS
    assert abs(np.corrcoef(points[0], vectors)[0, 1]) > 0.99


def test_groups_are_told_with_all_rows_but_the_first_to_spare(client: httpx.Client) -> None:
    found = told(client, "groups", column="cluster")
    fewer = told(client, "groups", column="cluster", score="score", least=0.5)

    assert (found["num_groups"], found["num_rows"], found["num_spare"]) == (20, 60, 40)
    assert all(len(group["rows"]) == 3 for group in found["groups"])
    assert fewer["num_rows"] < found["num_rows"]


def test_a_view_can_be_typed_as_a_command_and_as_python(client: httpx.Client, table: cd.Table) -> None:
    view = {"where": "split = 'test'", "sort": "score", "descending": "1", "column": ["path", "score"]}
    found = told(client, "commands", **view)
    scope: dict[str, Any] = {}
    exec(found["python"].replace("print(", "answer = ("), scope)

    assert found["command"].startswith(f"clipdata query {table.uri} ")
    assert found["command"].endswith(" --limit 100")
    shown = told(client, "rows", at=0, num=60, **view)["rows"]
    assert scope["answer"].to_pylist() == [
        {"path": row["cells"]["path"], "score": pytest.approx(row["cells"]["score"])} for row in shown
    ]


def test_a_search_is_typed_with_its_number_of_rows_and_gives_them_in_the_same_order(
    client: httpx.Client, table: cd.Table
) -> None:
    view = {"words": "red house", "where": "score > 0.5", "column": "path"}
    found = told(client, "commands", **view)
    scope: dict[str, Any] = {}
    exec(found["python"].replace("print(", "answer = ("), scope)

    assert "--words-column caption" in found["command"]
    assert found["command"].endswith("--top 500")
    shown = [row["cells"]["path"] for row in told(client, "rows", at=0, num=60, **view)["rows"]]
    assert [hit.row for hit in scope["answer"].answers[0].hits] == shown


def test_a_tab_is_typed_as_a_view_that_begins_with_it(client: httpx.Client, table: cd.Table) -> None:
    link = "view=groups&column=cluster&where=split+%3D+%27test%27"
    words = shlex.split(told(client, "commands", where="split = 'test'", link=link)["command"])

    assert words == ["clipdata", "view", table.uri, "--link", link]
    with cd.view(table, link=f"http://127.0.0.1:1/?{link}&token=old") as viewer:
        answer = httpx.get(viewer.url, follow_redirects=False)
    assert dict(parse_qsl(urlsplit(answer.headers["location"]).query)) == dict(parse_qsl(link))


@pytest.mark.parametrize(
    "view",
    [
        {"words": "red house", "sort": "score", "descending": "1"},
        {"x": "x", "y": "y", "lasso": "1.5,1.5,4.5,1.5,4.5,3.5,1.5,3.5", "sort": "score", "version": "scored"},
    ],
)
def test_what_no_query_says_is_typed_as_a_view_of_the_same_link(
    client: httpx.Client, table: cd.Table, view: dict[str, str]
) -> None:
    found = told(client, "commands", **view)
    typed = shlex.split(found["command"])
    shown = [row["row"] for row in told(client, "rows", at=0, num=60, **view)["rows"]]

    assert typed[:4] == ["clipdata", "view", table.uri, "--link"]
    assert f"link={typed[4]!r}" in found["python"]
    with cd.view(table.uri, link=typed[4]) as again:
        start = httpx.get(again.url, trust_env=False).headers["location"]
    state = dict(parse_qsl(start.partition("?")[2]))
    assert state == view
    assert [row["row"] for row in told(client, "rows", at=0, num=60, **state)["rows"]] == shown
    with pytest.raises(UsageError, match="by itself"):
        cd.view(table.uri, link=typed[4], where="score > 0.5")


def test_a_viewer_that_only_reads_refuses_to_write(client: httpx.Client, table: cd.Table) -> None:
    bodies = {
        "tag": {"name": "mine"},
        "decide": {"all": True},
        "keep": {"all": True, "name": "x"},
        "delete": {"rows": [0]},
    }
    for what, body in bodies.items():
        answer = written(client, what, body)
        assert answer.status_code == 400
        assert "only reads" in answer.json()["error"]
    assert table.latest().version == table.version


def test_edits_come_from_the_pages_own_origin_alone(tmp_path: Path) -> None:
    table = viewed_table(tmp_path)
    with cd.view(table.uri, edit=True) as viewer, browser_of(viewer) as client:
        for headers in ({"origin": "http://evil.example"}, {"origin": ""}, {"sec-fetch-site": "same-site"}):
            assert written(client, "delete", {"rows": [0], "confirmed": 1}, **headers).status_code == 403
        assert client.post("/api/edit/delete", content="{}").status_code == 403
        assert client.get("/api/edit/delete").status_code == 405
        assert written(client, "delete", [1]).status_code == 400
        assert written(client, "delete", {"rows": [0], "confirmed": 2}).status_code == 400

    assert table.latest().num_rows == NUM_ROWS


def test_edits_are_the_librarys_own_verbs(tmp_path: Path) -> None:
    table = viewed_table(tmp_path)
    with cd.view(table.uri, edit=True) as viewer, browser_of(viewer) as client:
        assert written(client, "tag", {"name": "reviewed"}).json()["version"] == table.version
        chosen = [row["row"] for row in told(client, "rows", at=0, num=2, column="path", sort="path")["rows"]]
        assert written(client, "decide", {"rows": chosen, "column": "decision", "value": "keep"}).json()["rows"] == 2
        groups = {"groups": {"column": "cluster"}, "column": "decision", "value": "duplicate"}
        taken = written(client, "decide", groups).json()
        assert taken["rows"] == 40
        settled(client, taken["ticket"])
        assert written(client, "decide", {"rows": chosen, "column": "score", "value": "x"}).status_code == 400
        gone = written(client, "delete", {"rows": chosen, "confirmed": 2}).json()
        origin = str(client.base_url).rstrip("/")
        body = json.dumps({"rows": [0, *range(10, 15)], "to": str(gone["version"])})
        moved = client.post(
            "/api/edit/places", params={"version": table.version}, content=body, headers={"origin": origin}
        ).json()["rows"]
        before = [told(client, "row", row=row, version=table.version)["cells"]["path"] for row in range(10, 15)]
        assert [told(client, "row", row=row)["cells"]["path"] for row in moved] == before

    newest = table.latest()
    assert cd.tag(table.uri).tags[-1].name in ("reviewed", "scored")
    assert gone["num_rows"] == 2
    assert newest.num_rows == NUM_ROWS - 2
    assert newest.count_rows("decision = 'duplicate'") == 40 - len({1})
    assert newest.count_rows("path = '000.png' OR path = '001.png'") == 0
    assert newest.count_nulls("image") is None
    assert [entry.properties.verb for entry in cd.log(table) if entry.properties][-1] == "delete"


def test_a_parquet_file_is_looked_at_as_it_lies(tmp_path: Path) -> None:
    rows = viewed_rows(40)
    images = pa.array([{"bytes": data, "path": "x.png"} for data in rows.column("image").to_pylist()])
    table = rows.drop_columns(["image"]).append_column("picture", images)
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=16)
    with cd.view(tmp_path / "rows.parquet") as viewer, browser_of(viewer) as client:
        found = told(client, "table", where="split = 'test'")
        sorted_rows = told(client, "rows", at=0, num=40, column="score", sort="score")["rows"]
        picture_type = client.get("/picture", params={"row": 39}).headers["content-type"]
        facet = told(client, "facet", column="split")
        for where, words in (("picture IS NOT NULL", "'picture' holds pictures"), ("@kept", "beside a Lance table")):
            refused = client.get("/api/table", params={"where": where})
            assert refused.status_code == 400
            assert words in refused.json()["error"]

    assert (found["kind"], found["num_found"], found["picture"]) == ("parquet", 8, "picture")
    assert found["can"] == {"versions": False, "edit": False}
    assert [row["row"] for row in sorted_rows] == list(range(39, -1, -1))
    assert picture_type == "image/webp"
    assert {part["label"]: part["count"] for part in facet["parts"]} == {"train": 32, "test": 8}
    with pytest.raises(UsageError, match="no Lance table"):
        cd.view(tmp_path / "rows.parquet", edit=True)


def test_bytes_of_whatever_name_are_taken_for_pictures_when_they_begin_as_such(tmp_path: Path) -> None:
    pq.write_table(pa.table({"blob": [b"no", b"pictures"], "thing": [picture(1), picture(2)]}), tmp_path / "t.parquet")
    with cd.view(tmp_path / "t.parquet") as viewer, browser_of(viewer) as client:
        assert told(client, "table")["picture"] == "thing"


def test_a_folder_of_pictures_is_looked_at_as_it_lies(tmp_path: Path) -> None:
    (tmp_path / "cats").mkdir()
    for number in range(3):
        (tmp_path / "cats" / f"{number}.jpg").write_bytes(picture(number, suffix=".jpg"))
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "link.png").symlink_to("/etc/hostname")
    with cd.view(tmp_path) as viewer, browser_of(viewer) as client:
        found = told(client, "table", where="folder = 'cats'")
        assert client.get("/picture", params={"row": 2}).headers["content-type"] == "image/webp"

    assert (found["kind"], found["num_rows"], found["num_found"]) == ("folder", 3, 3)


def test_a_table_of_another_tool_is_looked_at_without_a_key(tmp_path: Path) -> None:
    import lance

    lance.write_dataset(
        viewed_rows(10)
        .replace_schema_metadata(None)
        .rename_columns({"path": "name", "image": "payload"})
        .cast(
            pa.schema(
                [
                    pa.field("name", pa.string()),
                    pa.field("payload", pa.large_binary()),
                    *list(viewed_rows(1).schema)[2:],
                ]
            )
        ),
        tmp_path / "t.lance",
    )
    with cd.view(tmp_path / "t.lance") as viewer, browser_of(viewer) as client:
        found = told(client, "table")
        assert client.get("/picture", params={"row": 9}).status_code == 200

    assert (found["picture"], found["key"], found["num_rows"]) == ("payload", None, 10)


def test_a_run_is_told_line_by_line_as_it_is_written(tmp_path: Path, table: cd.Table) -> None:
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text('{"step": 1, "loss": 2.5, "note": "x"}\n{"step": 2, "lo')
    with cd.view(table.uri, run=tmp_path) as viewer, browser_of(viewer) as client:
        first = told(client, "live")
        with metrics.open("a") as file:
            file.write('ss": 2.0}\n')
        second = told(client, "live", since=first["run"]["until"])

    assert first["version"] == table.version
    assert first["run"]["lines"] == [{"step": 1, "loss": 2.5}]
    assert second["run"]["lines"] == [{"step": 2, "loss": 2.0}]


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.2", "example.org", ""])
def test_only_the_loopback_is_listened_on(table: cd.Table, host: str) -> None:
    with pytest.raises(UsageError, match="loopback"):
        cd.view(table.uri, host=host)


def test_what_cannot_be_looked_at_is_said_before_a_server_starts(table: cd.Table, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        cd.view(tmp_path / "nothing")
    with pytest.raises(NotFoundError, match="no picture"):
        cd.view(tmp_path)
    with pytest.raises(SchemaError):
        cd.view(table.uri, where="nope = 1")
    with pytest.raises(SchemaError, match="no column"):
        cd.view(table.uri, sort="nope")


def test_one_file_holds_a_view_with_its_pictures_and_asks_for_nothing(table: cd.Table, tmp_path: Path) -> None:
    done = cd.export_view(table.uri, tmp_path / "v.html", rows=15, sort="score", before="score", after="score_tuned")
    html = (tmp_path / "v.html").read_text("utf-8")

    assert (done.num_rows, done.num_found) == (15, NUM_ROWS)
    assert html.count("data:image/webp;base64,") == 15
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "default-src 'none'" in html
    assert "http" not in html.replace("http-equiv", "")
    with pytest.raises(UsageError, match="there already"):
        cd.export_view(table.uri, tmp_path / "v.html")


def test_rows_are_kept_under_a_name_that_every_filter_says(tmp_path: Path) -> None:
    table = viewed_table(tmp_path)
    with cd.view(table.uri, edit=True) as viewer, browser_of(viewer) as client:
        lasso = {"x": "x", "y": "y", "lasso": "1.5,1.5,4.5,1.5,4.5,3.5,1.5,3.5"}
        origin = str(client.base_url).rstrip("/")
        body = json.dumps({"all": True, "name": "middle"})
        kept = client.post("/api/edit/keep", params=lasso, content=body, headers={"origin": origin}).json()
        assert (kept["rows"], kept["done"]) == (6, "made")
        found = told(client, "table", where="@middle AND split = 'test'")
        earlier = told(client, "table", where="@middle", version=table.version)
        assert (found["num_found"], earlier["num_found"]) == (2, 6)
        assert found["selections"][0]["chosen_by"] == "inside a lasso on x, y"
        refused = written(client, "keep", {"rows": [0], "name": "middle"})
        assert refused.status_code == 400
        assert "6 other rows already" in refused.json()["error"]
        unknown = client.get("/api/table", params={"where": "@other"})
        assert "there are: @middle" in unknown.json()["error"]
        assert cd.stats(table.uri, where="@middle").num_rows == 6
        written(client, "forget", {"name": "middle"})
        assert told(client, "table")["selections"] == []
    assert table.latest().num_rows == NUM_ROWS


def test_a_table_of_another_writer_is_edited_by_the_column_that_tells_its_rows_apart(tmp_path: Path) -> None:
    uri = str(tmp_path / "plain.lance")
    lance.write_dataset(pa.table({"id": range(6), "caption": ["a", "b\u202egpj", "c", "d", "e", "f"]}), uri)
    with cd.view(uri, edit=True) as viewer, browser_of(viewer) as client:
        turned = told(client, "rows", at=1, num=1, column="caption")["rows"][0]["cells"]["caption"]
        taken = written(client, "decide", {"rows": [1, 2], "column": "decision", "value": "keep"}).json()
        settled(client, taken["ticket"])
        assert written(client, "delete", {"rows": [4], "confirmed": 1}).status_code == 200
        assert told(client, "diff", **{"from": 1, "to": 2})["key"] == "id"

    assert turned == "b\\u202egpj"
    newest = cd.open_table(uri)
    assert newest.to_table(["id"], where="decision = 'keep'")["id"].to_pylist() == [1, 2]
    assert newest.count_rows("id = 4") == 0

    lance.write_dataset(pa.table({"caption": ["a", "a"]}), str(tmp_path / "bare.lance"))
    with cd.view(tmp_path / "bare.lance", edit=True) as viewer, browser_of(viewer) as client:
        refused = written(client, "decide", {"rows": [0], "column": "decision", "value": "keep"})
    assert refused.status_code == 400
    assert "tells its rows apart" in refused.json()["error"]


def test_decisions_one_after_another_are_few_versions_and_none_is_lost_at_the_end(tmp_path: Path) -> None:
    table = viewed_table(tmp_path)
    with cd.view(table.uri, edit=True) as viewer, browser_of(viewer) as client:
        for row in range(NUM_ROWS):
            answer = written(client, "decide", {"rows": [row], "column": "decision", "value": f"v{row % 3}"})
            assert answer.status_code == 200
        taken = answer.json()["ticket"]
        before = told(client, "decisions")
        assert before["taken"] == taken == NUM_ROWS
        assert (before["written"] < taken) is (before["waiting"] > 0), "nothing is told as written before it is"
    newest = table.latest()
    assert newest.count_rows("decision <> ''") == NUM_ROWS
    said = [entry.properties.parameters for entry in cd.log(newest) if entry.properties]
    assert sum(one.get("column") == "decision" for one in said) <= 4


def test_a_decision_that_cannot_be_written_waits_and_says_so(tmp_path: Path) -> None:
    table = viewed_table(tmp_path)
    with cd.view(table.uri, edit=True) as viewer, browser_of(viewer) as client:
        aside = tmp_path / "aside"
        assert written(client, "decide", {"rows": [3], "column": "decision", "value": "keep"}).status_code == 200
        Path(table.uri).rename(aside)
        give_up = time.monotonic() + 60
        while (now := told(client, "decisions"))["error"] is None:
            assert time.monotonic() < give_up
            time.sleep(0.05)
        assert (now["written"], now["waiting"]) == (0, 1)
        aside.rename(table.uri)
        taken = written(client, "decide", {"rows": [4], "column": "decision", "value": "drop"}).json()
        settled(client, taken["ticket"])
    assert sorted(filter(None, table.latest().to_table(["decision"]).column(0).to_pylist())) == ["drop", "keep"]


def test_rows_are_searched_by_a_picture_that_is_no_part_of_the_table(tmp_path: Path) -> None:
    table = viewed_table(tmp_path)
    cd.map_column(table.uri, cd.steps.ImageEmbedding(tiny_encoder(tmp_path)), "features")
    file = picture(7, suffix=".jpg")
    with cd.view(table.uri) as viewer, browser_of(viewer) as client:
        origin = {"origin": str(client.base_url).rstrip("/")}
        version = told(client, "table")["version"]
        sent = client.post("/api/picture", params={"name": "a/cat.jpg"}, content=file, headers=origin).json()
        found = told(client, "rows", at=0, num=5, column="path", picture=sent["picture"])
        (tmp_path / "asked.webp").write_bytes(client.get(f"/asked/{sent['picture']}").content)
        hits = cd.search(table.uri, image=tmp_path / "asked.webp", top=5).answers[0].hits
        shown = told(client, "commands", picture=sent["picture"])["command"]
        assert [row["cells"]["path"] for row in found["rows"]] == [hit.row for hit in hits]
        assert "--image cat.jpg" in shown
        assert told(client, "table", picture=sent["picture"])["asked"] == "cat.jpg"
        assert client.post("/api/picture", content=file).status_code == 403
        assert client.post("/api/picture", content=file, headers={"origin": "http://evil.example"}).status_code == 403
        assert client.post("/api/picture", content=b"<svg/>", headers=origin).status_code == 404
        assert client.post("/api/picture", content=bytes(33 << 20), headers=origin).status_code == 413
        lost = client.get("/api/table", params={"picture": "0" * 32})
        assert "once more" in lost.json()["hint"]
        assert told(client, "table")["version"] == version


def test_times_decimals_and_lists_are_counted_and_structs_are_told(tmp_path: Path) -> None:
    import lance

    begin, num = datetime(2026, 1, 31, 12, tzinfo=UTC), 40
    moments = [None if n % 9 == 0 else begin + timedelta(hours=n * 7, milliseconds=n) for n in range(num)]
    plain = [one and one.replace(tzinfo=None) for one in moments]
    columns = {
        "at": pa.array(plain, pa.timestamp("us")),
        "there": pa.array(moments, pa.timestamp("ms", "America/New_York")),
        "day": pa.array([one and one.date() for one in moments]),
        "hour": pa.array([one and one.time() for one in plain], pa.time64("us")),
        "took": pa.array(range(num), pa.duration("s")),
        "price": pa.array([Decimal(n * 37 - 200).scaleb(-2) for n in range(num)], pa.decimal128(10, 2)),
        "numbers": pa.array([None if n % 7 == 0 else [1] * (n % 4) for n in range(num)]),
        "boxes": pa.array([[{"left": 1}] * (n % 3) for n in range(num)]),
        "about": pa.array([{"source": "web", "year": 2020 + n} for n in range(num)]),
    }
    lance.write_dataset(pa.table(columns), tmp_path / "t.lance")
    with cd.view(tmp_path / "t.lance") as viewer, browser_of(viewer) as client:
        for column in [*columns][:-1]:
            facet = told(client, "facet", column=column)
            parts = [*facet["parts"], *([facet["missing"]] if facet["missing"] else [])]
            assert sum(part["count"] for part in parts) == num, column
            for part in parts:
                assert told(client, "table", where=part["where"])["num_found"] == part["count"], part
        about = told(client, "facet", column="about")
        assert (about["kind"], about["parts"]) == ("told", [])
        assert "source (string), year (int64)" in about["told"]
        assert told(client, "table", where="about.year > 2050")["num_found"] == 9
