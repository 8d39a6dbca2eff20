"""What the viewer writes: who may, by which verbs, under which names, and when it is said to be written."""

from __future__ import annotations

import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import lance
import numpy as np
import pyarrow as pa

import clipdata as cd
from clipdata.viewer.deciding import Decider
from clipdata.viewer.decisions import Decisions
from clipdata.viewer.sources import LanceTable
from tests.viewer_client import browser_of, settled, told, written
from tests.viewing import NUM_ROWS, viewed_table


def decided(table: cd.Table) -> dict[str, str]:
    """What stands in the table, by path."""
    rows = table.latest().to_table(["path", "decision"], where="decision <> ''")
    return dict(zip(*(column.to_pylist() for column in rows.columns), strict=True))


def decide_on(client: httpx.Client, value: str, *rows: int, page: str, version: int) -> dict[str, Any]:
    """A decision from a page that shows a version."""
    body = {"rows": list(rows), "column": "decision", "value": value, "page": page}
    answer = written(client, "decide", body, at=version)
    assert answer.status_code == 200, answer.text
    taken: dict[str, Any] = answer.json()
    return taken


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
        give_up = time.monotonic() + 180
        while (now := told(client, "decisions"))["error"] is None:
            assert time.monotonic() < give_up
            time.sleep(0.05)
        assert (now["written"], now["waiting"]) == (0, 1)
        aside.rename(table.uri)
        taken = written(client, "decide", {"rows": [4], "column": "decision", "value": "drop"}).json()
        settled(client, taken["ticket"])
    assert sorted(filter(None, table.latest().to_table(["decision"]).column(0).to_pylist())) == ["drop", "keep"]


def test_a_decision_on_what_another_page_decided_meanwhile_is_told_and_waits_for_an_answer(tmp_path: Path) -> None:
    table = viewed_table(tmp_path)
    with cd.view(table.uri, edit=True) as viewer, browser_of(viewer) as client:
        version = told(client, "table")["version"]
        paths = [told(client, "row", row=row)["cells"]["path"] for row in (1, 2)]

        decide = partial(decide_on, client, version=version)
        assert decide("keep", 1, page="one")["disputes"] is None
        pending = decide("drop", 1, page="two")  # theirs is on its way yet
        assert (pending["rows"], pending["disputes"]["num"]) == (0, 1)
        settled(client, decide("maybe", 1, page="one")["ticket"])  # a page may change its own mind
        later = decide("drop", 1, 2, page="two")
        assert (later["rows"], later["disputes"]["num"], later["disputes"]["num_over"]) == (1, 1, 1)
        line = later["disputes"]["lines"][0]
        assert f"{paths[0]} is “maybe” (another page of this viewer, version {version + 2}, 20" in line
        assert line.endswith("not “drop”")
        settled(client, later["ticket"])
        assert decided(table) == {paths[0]: "maybe", paths[1]: "drop"}
        answer = {"column": "decision", "over": True, "page": "two"}
        over = written(client, "settle", answer).json()
        settled(client, over["ticket"])
        assert told(client, "decisions", page="two")["disputes"] == []
        assert decided(table) == dict.fromkeys(paths, "drop")
        assert written(client, "settle", answer).status_code == 400
    assert viewer.held_back == []


def test_a_decision_on_what_another_viewer_or_a_command_wrote_is_told_by_version_and_kept_apart(tmp_path: Path) -> None:
    table = viewed_table(tmp_path)
    with (
        cd.view(table.uri, edit=True) as mine, browser_of(mine) as client,
        cd.view(table.uri, edit=True) as other, browser_of(other) as stranger,
    ):  # fmt: skip
        rows = told(client, "rows", at=0, num=3, column="path", sort="path")["rows"]
        first, second, third = [row["row"] for row in rows]
        settled(stranger, decide_on(stranger, "keep", first, page="x", version=table.version)["ticket"])
        cd.delete(table.uri, "path = '002.png'")
        taken = decide_on(client, "drop", first, second, third, page="y", version=table.version)
        assert (taken["rows"], taken["disputes"]["num"], taken["disputes"]["num_over"]) == (1, 2, 1)
        kept, gone = taken["disputes"]["lines"]
        assert kept.startswith("000.png is “keep” (another viewer, or a command, version ")
        assert gone.startswith("002.png is gone since version ")
        settled(client, taken["ticket"])
        assert decided(table) == {"000.png": "keep", "001.png": "drop"}
    assert [line.split(" is ")[0] for line in mine.held_back] == ["decision: 000.png", "decision: 002.png"]


def test_a_page_is_told_of_its_own_disputes_and_settles_no_other_pages(tmp_path: Path) -> None:
    table = viewed_table(tmp_path)
    cd.map_column(table.uri, Decisions("path", {f"00{row}.png": "theirs" for row in (1, 2, 3)}), "decision")
    with cd.view(table.uri, edit=True) as viewer, browser_of(viewer) as client:
        for row, page in ((1, "one"), (2, "two"), (1, "two"), (3, "")):
            held = decide_on(client, f"of {page}", row, page=page, version=table.version)
            assert held["disputes"]["num_over"] == 1
        assert [one["num"] for one in told(client, "decisions", page="one")["disputes"]] == [1]
        assert [one["num"] for one in told(client, "decisions", page="two")["disputes"]] == [2]
        assert told(client, "decisions", page="another")["disputes"] == []
        assert [one["num"] for one in told(client, "decisions")["disputes"]] == [1]

        over = written(client, "settle", {"column": "decision", "over": True, "page": "one"}).json()
        assert over["rows"] == 1
        settled(client, over["ticket"])
        assert decided(table) == {"001.png": "of one", "002.png": "theirs", "003.png": "theirs"}
        kept = written(client, "settle", {"column": "decision", "over": False, "page": "two"})
        assert (kept.status_code, kept.json()["rows"]) == (200, 0)
        refused = written(client, "settle", {"column": "decision", "over": True, "page": "two"})
        assert (refused.status_code, "that this page made" in refused.json()["error"]) == (400, True)
    assert decided(table) == {"001.png": "of one", "002.png": "theirs", "003.png": "theirs"}
    assert [line.split(" (")[0] for line in viewer.held_back] == ["decision: 003.png is “theirs”"]


def test_a_later_decision_takes_the_place_of_one_that_is_held_back(tmp_path: Path) -> None:
    table = viewed_table(tmp_path)
    cd.map_column(table.uri, Decisions("path", {"001.png": "theirs"}), "decision")
    with cd.view(table.uri, edit=True) as viewer, browser_of(viewer) as client:
        assert decide_on(client, "mine", 1, page="one", version=table.version)["rows"] == 0
        taken = decide_on(client, "mine after all", 1, page="one", version=table.latest().version)
        settled(client, taken["ticket"])
        assert told(client, "decisions", page="one")["disputes"] == []
    assert decided(table) == {"001.png": "mine after all"}
    assert viewer.held_back == []


def test_an_answer_writes_over_what_was_asked_about_and_nothing_later(tmp_path: Path) -> None:
    table = viewed_table(tmp_path)
    cd.map_column(table.uri, Decisions("path", {"001.png": "theirs"}), "decision")
    source, decider, row_1 = (
        LanceTable(cd.open_table(table.uri)),
        Decider(quiet_s=60, most_s=60),
        np.array([1], np.uint32),
    )
    asked = decider.take(LanceTable(table), row_1, "decision", "mine", "one")["disputes"]
    assert "“theirs”" in asked["lines"][0]
    assert decider.take(source, row_1, "decision", "later", "two")["rows"] == 1
    again = decider.settle("decision", "one", over=True)
    assert (again["rows"], "“later”" in again["disputes"]["lines"][0]) == (0, True)
    assert decider.settle("decision", "one", over=True)["rows"] == 1
    assert decider.close() == []
    assert decided(table) == {"001.png": "mine"}


def test_viewers_that_write_at_once_lose_no_decision_without_a_word(tmp_path: Path) -> None:
    table = viewed_table(tmp_path)
    sources = [LanceTable(cd.open_table(table.uri)) for _ in range(2)]
    deciders = [Decider(quiet_s=0.02, most_s=0.1) for _ in sources]
    paths = sources[0].table.to_table(["path"]).column(0).to_pylist()
    for row in range(0, 24, 2):
        for place, (decider, source) in enumerate(zip(deciders, sources, strict=True)):
            decider.take(source, np.array([row + place], np.uint32), "decision", f"by {place}", f"page {place}")
            decider.take(source, np.array([40], np.uint32), "decision", f"by {place}", f"page {place}")
    held_back = [line for decider in deciders for line in decider.close()]

    found = decided(table)
    for row in range(24):
        assert found[paths[row]] == f"by {row % 2}"
    assert found[paths[40]] in ("by 0", "by 1")
    assert any(paths[40] in line for line in held_back)
