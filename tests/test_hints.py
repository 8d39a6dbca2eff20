"""Commands to type: they can be pasted as they stand."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import lance
import pyarrow as pa
import pytest

from clipdata import hints
from clipdata.errors import NotFoundError, SchemaError
from clipdata.lance_io.table import open_table


def test_a_path_with_a_blank_is_one_word_and_a_secret_none() -> None:
    assert shlex.split(hints.log("/data/my tables/it's.lance"))[-1] == "/data/my tables/it's.lance"
    assert "hunter2" not in hints.log("https://me:hunter2@host/t.lance")


def test_the_hint_of_a_table_that_is_not_there_can_be_pasted(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as missing:
        open_table(tmp_path / "a b" / "t.lance")
    assert missing.value.hint is not None
    assert shlex.split(missing.value.hint)[-1] == str(tmp_path / "a b" / "t.lance")


def test_a_column_that_hides_all_rows_goes_away_by_the_hint(tmp_path: Path) -> None:
    path = tmp_path / "a b's.lance"
    lance.write_dataset(pa.table({"n": [1, 2]}), path).add_columns(pa.field("_rowid", pa.int64()))
    with pytest.raises(SchemaError) as hidden:
        open_table(path).to_table()
    assert hidden.value.hint is not None
    command = shlex.split(hidden.value.hint.removeprefix("remove it: "))

    subprocess.run([sys.executable, "-m", *command], check=True)

    assert open_table(path).to_table().num_rows == 2
