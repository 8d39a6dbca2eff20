"""Where something else lies than a table, the error says what it is and what to type, and that command works."""

from __future__ import annotations

import shlex
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import clipdata as cd
from clipdata.errors import NotFoundError
from pipelines.cli.app import main
from tests.viewing import picture, viewed_table


@pytest.mark.parametrize("what", ["rows.parquet", "rows.csv", "pictures", "parts"])
def test_what_is_no_table_is_told_with_the_command_that_makes_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = pa.table({"name": ["a", "b"], "caption": ["one", "two"]})
    for folder in ("pictures", "parts"):
        Path(folder).mkdir()
    pq.write_table(rows, "rows.parquet")
    pq.write_table(rows, "parts/0.parquet")
    Path("rows.csv").write_text("name,caption\na,one\nb,two\n")
    for number in range(2):
        Path("pictures", f"{number}.png").write_bytes(picture(number))

    with pytest.raises(NotFoundError, match="expected a Lance table") as refused:
        cd.report(what, out="report.html")

    command = str(refused.value.hint).partition("clipdata ")[2].partition(" makes ")[0].partition(";")[0]
    assert main(shlex.split(command)) == 0
    made = what.partition(".")[0] + ".lance"
    assert cd.report(made, out="report.html").table is not None
    assert cd.open_table(made).num_rows == 2


def test_a_folder_of_tables_is_told_with_one_of_them(tmp_path: Path) -> None:
    viewed_table(tmp_path, "first.lance")

    with pytest.raises(NotFoundError, match="a folder of tables") as refused:
        cd.open_table(tmp_path)
    assert refused.value.hint == f"such as {tmp_path / 'first.lance'}"
