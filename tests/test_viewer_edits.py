"""What the viewer writes: who may, by which verbs, under which names, and when it is said to be written."""

from __future__ import annotations

import json
import time
from pathlib import Path

import lance
import pyarrow as pa

import clipdata as cd
from tests.viewer_client import browser_of, settled, told, written
from tests.viewing import NUM_ROWS, viewed_table


def test_a_viewer_that_only_reads_refuses_to_write(tmp_path: Path) -> None:
    table = viewed_table(tmp_path)
    bodies = {
        "tag": {"name": "mine"},
        "decide": {"all": True},
        "keep": {"all": True, "name": "x"},
        "delete": {"rows": [0]},
    }
    with cd.view(table.uri) as viewer, browser_of(viewer) as client:
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
