"""What the viewer makes of what it looks at: parquet files, folders, tables of other tools, pictures of any kind."""

from __future__ import annotations

import os
import struct
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import cv2
import lance
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import clipdata as cd
import ingest
from clipdata.errors import UsageError
from pipelines.cli.app import main
from tests.viewer_client import browser_of, told
from tests.viewing import picture, viewed_rows


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

    lance.write_dataset(pa_table, tmp_path / "web.lance")
    with cd.view(tmp_path / "web.lance") as viewer, browser_of(viewer) as client:
        answer = client.get("/picture", params={"row": 0})

    assert answer.status_code == 404
    assert "sends no request" in answer.json()["error"]


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
    assert found["notes"] == ["1 link left out"]


def test_a_folder_shows_what_an_ingest_would_look_at_whatever_the_names_are_made_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    names = [b"plain.png", b"a\nb.png", b"a\tb.png", b"\x1b[31m.png", "\u202egpj.png".encode(), b"\xff.png"]
    for number, name in enumerate(names):
        (folder / os.fsdecode(name)).write_bytes(picture(number))
    (folder / "drawing.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    os.mkfifo(folder / "pipe.png")
    listed = ingest.from_images(folder, into=tmp_path / "i.lance")

    with cd.view(folder) as viewer, browser_of(viewer) as client:
        found = told(client, "table")
        asked = told(client, "rows", at=0, num=50, column="path")["rows"]
        paths = {row["cells"]["path"] for row in asked}
        shown = [client.get("/picture", params={"row": row["row"]}) for row in asked]

    assert found["num_rows"] + 1 == listed.listed  # the pipe is refused there, and told here
    assert found["notes"] == ["1 pipe, socket or device left out"]
    assert {"plain.png", "a\nb.png", "\\xff.png", "drawing.svg"} <= paths
    assert sum(one.headers["content-type"] == "image/webp" for one in shown) == 6
    assert main(["view", str(folder), "--export", str(tmp_path / "g.html")]) == 0
    assert "1 pipe, socket or device left out" in capsys.readouterr().out


def test_a_table_of_another_tool_is_looked_at_without_a_key(tmp_path: Path) -> None:

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


def test_times_decimals_and_lists_are_counted_and_structs_are_told(tmp_path: Path) -> None:

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


def test_a_plain_table_of_odd_names_is_searched_sorted_filtered_and_copied(tmp_path: Path) -> None:
    columns = {
        "ID №": [f"r{n}" for n in range(8)],
        "Beschreibung des Bildes": [f"ein rotes Haus {n}" for n in range(8)],
        "select": list(range(8)),
        "Größe (px)": [1.5 * n for n in range(8)],
        "Bilddatei": pa.array([picture(n) for n in range(8)], pa.binary()),
    }
    lance.write_dataset(pa.table(columns), tmp_path / "my table.lance")
    with cd.view(tmp_path / "my table.lance") as viewer, browser_of(viewer) as client:
        found = told(client, "table", words="Haus", where="`Größe (px)` > 3 AND `select` < 7")
        order = {"sort": "Größe (px)", "descending": "1", "where": "`select` < 7", "column": "select"}
        shown = [row["cells"]["select"] for row in told(client, "rows", at=0, num=8, **order)["rows"]]
        scope: dict[str, Any] = {}
        exec(told(client, "commands", **order)["python"].replace("print(", "answer = ("), scope)
        assert client.get("/picture", params={"row": 7}).status_code == 200

    assert (found["picture"], found["can"]["words"], found["num_found"]) == ("Bilddatei", "Beschreibung des Bildes", 4)
    assert shown == [6, 5, 4, 3, 2, 1, 0]
    assert scope["answer"].to_pydict() == {"select": shown}
