"""`--limit`, `--sample` and `--dry-run` of merge, map and train on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

import clipdata as cd
from tests.contests import contest_table
from tests.tables import number_table
from tests.test_cli import checked, run
from tests.test_cli import contest as contest
from tests.tiny_models import tiny_encoder

OWN = """
import clipdata as cd

@cd.step(reads="number", returns="int64")
def square(number):
    return number * number
"""


def test_map_of_so_many_rows_and_its_dry_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = number_table(tmp_path, 10)
    (tmp_path / "own.py").write_text(OWN)
    command = ["map", table.uri, f"{tmp_path / 'own.py'}:square", "square", "--json"]

    code, out, _ = run(capsys, *command, "--dry-run")
    told = checked("map", out)
    assert (code, told["dry_run"], told["pending"], told["read_bytes"], told["next"]) == (
        0,
        True,
        10,
        {"number": 80},
        None,
    )
    assert "square" not in cd.open_table(table.uri).schema.names

    code, out, _ = run(capsys, *command, "--limit", "4")
    told = checked("map", out)
    assert (code, told["dry_run"], told["computed"], told["pending"]) == (0, False, 4, 6)
    code, out, _ = run(capsys, *command[:-1])
    assert "6 rows computed, 4 kept" in out
    assert run(capsys, *command, "--limit", "0")[0] == 2


def test_merge_of_so_many_rows(contest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, meta, table = (contest / name for name in ("i.lance", "m.lance", "c.lance"))
    run(capsys, "ingest", "images", contest / "in", "--into", images)
    run(capsys, "ingest", "parquet", contest / "meta.parquet", "--into", meta)
    command = ["merge", images, meta, "--into", table, "--json"]

    told = checked("merge", run(capsys, *command, "--sample", "5", "--seed", "2", "--dry-run")[1])
    assert (told["rows"], told["inserted"], told["dry_run"]) == (5, 5, True)
    assert checked("merge", run(capsys, *command, "--limit", "5")[1])["rows"] == 5
    assert checked("merge", run(capsys, *command)[1])["rows"] == 24
    assert run(capsys, *command, "--limit", "5", "--sample", "5")[0] == 2


def test_train_on_a_sample_and_its_dry_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_encoder(tmp_path / "tiny")
    model = f"local-dir:{next((tmp_path / 'tiny').iterdir())}"
    table = contest_table(tmp_path, 20)
    command = ["train", table.uri, "--model", model, "--out", tmp_path / "run", "-s", "steps=2", "--sample", "10"]

    code, out, err = run(capsys, *command, "--dry-run", "--json")
    assert code == 0, err
    told = checked("train", out)
    assert (told["finished"], told["dry_run"], told["next"]) == (False, True, None)
    assert {name: told["plan"][name] for name in ("state", "rows", "usable", "num_steps")} == {
        "state": "begins", "rows": 10, "usable": 20, "num_steps": 2
    }  # fmt: skip
    assert not (tmp_path / "run").exists()
    assert "10 of 20 usable rows" in run(capsys, *command, "--dry-run")[1]

    assert checked("train", run(capsys, *command, "--json")[1])["table"]["sample"] == 10
    code, out, err = run(capsys, *command[:-2], "--limit", "10", "--json")
    assert code == 2
    assert "the sample was 10 and is none now" in err
    code, out, _ = run(capsys, *command, "--dry-run", "--json")
    assert (code, checked("train", out)["finished"]) == (0, True)
