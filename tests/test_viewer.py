"""The viewer's server: who is answered, and what about tables, parquet files and folders."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import lance
import numpy as np
import pyarrow as pa
import pytest

import clipdata as cd
from clipdata.errors import NotFoundError, SchemaError, UsageError
from clipdata.viewer import Viewer
from tests.tiny_models import tiny_encoder
from tests.viewer_client import browser_of, told
from tests.viewing import MARKUP, NUM_ROWS, picture, viewed_table


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

    for where, words in (
        ("nope > 3", "no column nope"),
        ("score >", "missing at its end"),
        ("score", "true or false"),
        ("(1 = 1", "brackets"),
    ):
        answer = client.get("/api/table", params={"where": where})
        assert answer.status_code == 400
        assert words in answer.json()["error"]
        for hidden in ("/view", "_rowid", "FROM t"):
            assert hidden not in answer.json()["error"]


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


def test_facets_count_the_rows_of_the_filter_alone(client: httpx.Client) -> None:
    facet = told(client, "facet", column="split", where="score > 0.5")

    assert sum(part["count"] for part in facet["parts"]) == told(client, "table", where="score > 0.5")["num_found"]


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
    fewer = told(client, "diff", **{"from": earlier, "to": table.version}, where="split = 'test'")
    assert fewer["counts"] == {"added": 2, "removed": 0, "changed": 0}
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


def test_a_text_that_is_cut_says_how_long_it_is_and_is_read_whole_in_the_row(tmp_path: Path) -> None:
    texts = ["word " * 200, "字" * 60_000, "line\n" * 9, "short"]
    lance.write_dataset(pa.table({"caption": texts}), tmp_path / "t.lance")
    with cd.view(tmp_path / "t.lance") as viewer, browser_of(viewer) as client:
        shown = [row["cells"]["caption"] for row in told(client, "rows", at=0, num=4, column="caption")["rows"]]
        whole = [told(client, "row", row=row)["cells"]["caption"] for row in range(2)]
    cd.export_view(tmp_path / "t.lance", tmp_path / "v.html")
    html = (tmp_path / "v.html").read_text("utf-8")

    assert [text[-16:] for text in shown[:2]] == ["… (1,000 letters)"[-16:], "(60,000 letters)"]
    assert shown[2:] == texts[2:]
    assert whole[0] == texts[0]
    assert whole[1].endswith("字… (60,000 letters)")
    assert html.count("<details") == 3
    assert "word " * 160 in html.replace("</summary>", "")


def test_a_number_that_is_out_of_range_is_not_called_no_number(client: httpx.Client) -> None:
    for text, words in ((str(10**30), "of at most 15 digits"), ("-1", "from 0"), ("x", "'x'; expected a whole number")):
        for what, query in (("rows", {"at": text, "num": 5}), ("row", {"row": text})):
            answer = client.get(f"/api/{what}", params=query)
            assert answer.status_code == 400
            assert words in answer.text
