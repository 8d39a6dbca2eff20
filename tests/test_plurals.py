"""Counts in words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from clipdata.plurals import counted
from pipelines.cli.app import main
from tests.pictures import write_pictures

PLURALS = "rows|files|versions|columns|pictures|fragments|values|tags|classes"


def test_one_is_one() -> None:
    assert [counted(number, "row") for number in (0, 1, 2, 1024)] == ["0 rows", "1 row", "2 rows", "1,024 rows"]
    assert [counted(number, "row is", "rows are") for number in (1, 3)] == ["1 row is", "3 rows are"]


def test_a_table_of_one_row_is_told_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_pictures(tmp_path / "in", 1)
    (tmp_path / "in" / "..png").touch()
    (tmp_path / "in" / "bad.jpg").write_text("no picture")
    lines = [
        "ingest images in --into i.lance", "map i.lance perceptual-hash hash", "show i.lance", "stats i.lance",
        "select i.lance all --where height>0", "compact i.lance --dry-run", "check i.lance", "rejects i.lance",
        "errors i.lance", "export i.lance --out p --format parquet", "delete i.lance --where height>0 --dry-run",
        "diff i.lance 1 2", "log i.lance", "clean i.lance --dry-run",
    ]  # fmt: skip
    for line in lines:
        assert main(line.split()) == 0, line
        said = "".join(capsys.readouterr())
        assert not re.findall(rf"(?<!of )(?<![\d,.])1 (?:{PLURALS})\b", said), (line, said)
        if line.startswith("ingest"):
            assert "no data, left out: 1 (1 '..png')" in said
