"""What is sent to the viewer is held to its shape: whatever else it is, the answer is one line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

import clipdata as cd
from clipdata.viewer.bodies import BODIES
from tests.viewer_client import browser_of, told, written
from tests.viewing import NUM_ROWS, viewed_table

RIGHT: dict[str, dict[str, Any]] = {
    "tag": {"name": "mine"},
    "decide": {"rows": [0], "column": "decision", "value": "keep", "page": "one"},
    "settle": {"column": "decision", "over": True, "page": "one"},
    "keep": {"rows": [0], "name": "mine", "overwrite": False},
    "forget": {"name": "mine"},
    "delete": {"rows": [0], "confirmed": 1},
    "places": {"rows": [0], "to": "1"},
}
GROUPS: dict[str, Any] = {"column": "cluster", "score": "score", "least": 0.5}
KINDS: tuple[Any, ...] = (
    None, True, 5, -1, 0.5, float("nan"), float("inf"), 10**400, "", "\ud800", "x" * 5000, "a\x00b", [], [5], ["x"],
    [None], [[0]], [True], [10**400], [float("nan")], {}, {"x": []}, {"column": 5}, {"column": {"x": []}}, "9" * 30,
)  # fmt: skip
RAW = (
    b"",
    b"{",
    b"\xff\xfe",
    b"NaN",
    b"-Infinity",
    b"9" * 9000,
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b"\x00",
    b"1e999999",
)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> cd.Table:
    return viewed_table(tmp_path_factory.mktemp("bodies"))


@pytest.fixture(scope="module")
def client(table: cd.Table) -> Iterator[httpx.Client]:
    with cd.view(table.uri, edit=True) as viewer, browser_of(viewer) as client:
        yield client


def refused(answer: httpx.Response) -> str:
    """The line that says why, which is one, and no fault of the viewer."""
    error: str = answer.json()["error"]
    assert answer.status_code == 400, (answer.request.content[:200], error)
    assert error
    assert "\n" not in error
    assert "Traceback" not in error
    assert len(error) < 500
    return error


def test_every_edit_has_its_shape() -> None:
    assert RIGHT.keys() == BODIES.keys()
    for edit, body in RIGHT.items():
        assert body.keys() <= BODIES[edit].keys()


@pytest.mark.parametrize("edit", BODIES)
def test_what_is_no_object_is_refused_in_words(client: httpx.Client, edit: str) -> None:
    for kind in KINDS:
        if kind != {} or not isinstance(kind, dict):
            refused(written(client, edit, kind))
    refused(written(client, edit, {}))
    origin = str(client.base_url).rstrip("/")
    for raw in RAW:
        refused(client.post(f"/api/edit/{edit}", content=raw, headers={"origin": origin}))
    assert told(client, "table")["num_rows"] == NUM_ROWS


@pytest.mark.parametrize("edit", BODIES)
def test_each_field_is_held_to_its_kind_and_to_be_there(client: httpx.Client, table: cd.Table, edit: str) -> None:
    for name, field in BODIES[edit].items():
        if field.needed:
            less = {other: value for other, value in RIGHT[edit].items() if other != name}
            assert refused(written(client, edit, less)).startswith(f"{edit}: {name} is missing; expected {field.words}")
        others = {"rows": None} if name in ("groups", "all") else {}
        for kind in KINDS:
            if kind is not None and not field.fits(kind):
                line = refused(written(client, edit, {**RIGHT[edit], **others, name: kind}))
                assert line.startswith(f"{edit}: {name} is ")
                assert f"; expected {field.words}" in line
    assert f"{edit} has no field 'x'" in refused(written(client, edit, {**RIGHT[edit], "x": []}))
    assert table.latest().version == table.version, "nothing was written"


def test_groups_are_held_to_their_kinds(client: httpx.Client, table: cd.Table) -> None:
    body = {"column": "decision", "value": "duplicate"}
    assert refused(written(client, "decide", {"groups": 5, **body})) == (
        "decide: groups is 5; expected an object with column, score, least"
    )
    assert "decide: groups: column is missing" in refused(written(client, "decide", {"groups": {}, **body}))
    for name in GROUPS:
        for kind in (True, [], {}, {"x": []}, float("nan"), 10**400, "\ud800"):
            line = refused(written(client, "decide", {"groups": {**GROUPS, name: kind}, **body}))
            assert line.startswith(f"decide: groups: {name} is ")
    assert "no row is chosen; expected one of rows, groups, all" in refused(written(client, "decide", body))
    both = {"rows": [0], "all": True, "confirmed": NUM_ROWS}
    assert "rows and all are given" in refused(written(client, "delete", both))
    assert table.latest().version == table.version, "nothing was written"


def test_what_fits_its_kind_and_is_not_there_is_refused_as_well(client: httpx.Client, table: cd.Table) -> None:
    wrong = {
        "tag": [{"name": name} for name in ("", "a/b", "a\x00b", "图", "x" * 900)],
        "decide": [
            {**RIGHT["decide"], **one}
            for one in ({"rows": []}, {"rows": [NUM_ROWS]}, {"rows": [-1]}, {"column": ""}, {"column": "path"},
                        {"column": "a\x00b"}, {"column": "x" * 900}, {"value": "x" * 900})
        ],
        "settle": [RIGHT["settle"]],
        "keep": [{**RIGHT["keep"], **one} for one in ({"rows": []}, {"name": ""}, {"name": "a b"}, {"name": "a\x00b"})],
        "forget": [{"name": name} for name in ("", "never", "a\x00b")],
        "delete": [{**RIGHT["delete"], **one} for one in ({"confirmed": -1}, {"confirmed": 2**53}, {"rows": [2**53]})],
        "places": [{"rows": [0], "to": to} for to in ("0", "9" * 30, "9" * 900, "never", "a/b", "a\x00b", "²", "٣٣")],
    }  # fmt: skip
    for edit, bodies in wrong.items():
        for body in bodies:
            refused(written(client, edit, body))
    assert table.latest().version == table.version, "nothing was written"


def test_other_places_are_held_to_it_too(client: httpx.Client) -> None:
    origin = {"origin": str(client.base_url).rstrip("/")}
    assert "is no edit" in refused(written(client, "x" * 900, {}))
    for version in ("9" * 30, "0", "²", "a\x00b"):
        refused(client.post("/api/edit/tag", params={"version": version}, json={"name": "mine"}, headers=origin))
        refused(client.get("/api/table", params={"version": version}))
    for query in (
        {"like": "9" * 3999},
        {"lasso": "nan,inf,1"},
        {"sort": "\x00"},
        {"x": "never", "lasso": "0,0,1,1,2,2"},
    ):
        refused(client.post("/api/edit/tag", params=query, content=b"[", headers=origin))
        refused(client.get("/api/table", params=query))
    for least in ("x", "1e"):
        refused(client.get("/api/groups", params={"column": "cluster", "score": "score", "least": least}))
    for raw in (*RAW, json.dumps({"x": []}).encode()):
        answer = client.post("/api/picture", content=raw, headers=origin)
        assert (answer.status_code, "\n" in answer.json()["error"]) == (404, False)
