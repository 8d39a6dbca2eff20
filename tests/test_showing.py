"""`show --sample`: rows as people read them, the same ones for a seed, and nothing else is read."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

import clipdata as cd
from clipdata.lance_io import rows
from clipdata.schema import image_schema
from clipdata.shown_values import shown_bytes, shown_value
from pipelines.cli.app import main
from pipelines.cli.commands.show import show as show_verb
from pipelines.cli.json_output import schema_of
from tests.json_schemas import check_schema
from tests.pictures import encoded
from tests.tables import number_table


def test_a_seed_draws_the_same_rows_every_time_each_once_and_only_those_that_meet_the_condition(tmp_path: Path) -> None:
    table = number_table(tmp_path, 50, rows_per_write=20)

    first = cd.show(table, sample=5, seed=3, where="number >= 10")
    numbers = [row["number"] for row in first.rows]

    assert [row["number"] for row in cd.show(table.uri, sample=5, seed=3, where="number >= 10").rows] == numbers
    assert numbers != [row["number"] for row in cd.show(table, sample=5, seed=4, where="number >= 10").rows]
    assert len(set(numbers)) == 5
    assert min(numbers) >= 10
    assert first.num_rows == 40
    assert len(cd.show(table, sample=500).rows) == 50
    assert cd.show(table, sample=3, where="number < 0").rows == ()
    assert cd.show(table, sample=1, columns=["text"]).columns == ("text",)


def test_pictures_vectors_and_texts_are_words_that_fit(tmp_path: Path) -> None:
    fields = [pa.field("vector", pa.list_(pa.float32(), 8)), pa.field("caption", pa.string())]
    table = rows.create_table(tmp_path / "t.lance", image_schema(fields))
    data = encoded(1)
    fresh = {
        "path": ["a"], "image": [data], "caption": ["x" * 500],
        "vector": pa.array([[0.5] * 8], pa.list_(pa.float32(), 8)),
        "format": ["jpeg"], "width": pa.array([640], pa.int32()), "height": pa.array([480], pa.int32()),
        "bytes": [82_000],
    }  # fmt: skip
    rows.upsert(table, pa.table(fresh))

    (row,) = cd.show(table.uri, columns=["image", "vector", "caption"]).rows

    # What the table says of the picture, which is not what its bytes say: they were not read.
    assert row["image"] == "JPEG 640×480 82 KB"
    assert row["vector"] == "float32[8] 0.5, 0.5, 0.5, …"
    (text,) = cd.show(table.uri, columns=["caption"]).texts
    assert len(text[0]) == 200
    assert shown_value(data, pa.binary()).startswith("JPEG 64×48 ")
    assert shown_value(b"no picture", pa.binary()) == "10 B"
    assert [shown_bytes(n) for n in (0, 999, 1000, 82_345, 1_500_000, 3e12)] == [
        "0 B", "999 B", "1 KB", "82.3 KB", "1.5 MB", "3 TB",
    ]  # fmt: skip


def test_a_table_of_another_tool_is_shown_too(tmp_path: Path) -> None:
    import lance

    lance.write_dataset(pa.table({"picture": [encoded(1), None], "n": [1, 2]}), tmp_path / "f.lance")

    rows_shown = cd.show(str(tmp_path / "f.lance")).rows

    assert rows_shown[0]["picture"].startswith("JPEG 64×48 ")
    assert rows_shown[1] == {"picture": None, "n": 2}


def test_the_command_prints_rows_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = number_table(tmp_path, 9)

    assert main(["show", table.uri, "--sample", "2", "--seed", "5", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    check_schema(found, schema_of("show", show_verb.found))
    assert len(found["sample"]) == 2
    assert main(["show", table.uri, "--sample", "2", "--seed", "5", "--columns", "number"]) == 0
    shown = capsys.readouterr().out.split()
    assert shown[-2:] == [str(row["number"]) for row in found["sample"]]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--sample", "0"], 2, "--sample"),
        (["--sample", "two"], 2, "--sample"),
        (["--where", "number > 1"], 2, "--where belongs to --sample"),
        (["--sample", "2", "--where", "nosuch > 1"], 2, "nosuch"),
        (["--sample", "2", "--columns", "nosuch"], 2, "no column 'nosuch'"),
        (["--sample", "2", "--seed", "-1"], 2, "--seed"),
    ],
)
def test_what_is_wrong_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    assert main(["show", number_table(tmp_path, 2).uri, *words]) == code

    told = capsys.readouterr().err
    assert said in told
    assert "Traceback" not in told
