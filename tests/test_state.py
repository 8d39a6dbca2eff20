"""Records of unfinished work."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from clipdata.lance_io.state import StateFolder
from tests.tables import number_table


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    return StateFolder(number_table(tmp_path, 1), "map/score-1")


def test_records_come_back_until_they_are_removed(state: StateFolder, tmp_path: Path) -> None:
    rows = pa.table({"place": [1, 2]})
    state.write_json("fragment-1", {"file": "a"})
    state.write_arrow("fragment-1-part-0", rows)
    state.write_json("fragment-10", {"file": "b"})

    assert state.read_json("fragment-1") == {"file": "a"}
    assert state.read_arrow("fragment-1-part-0") == rows
    assert state.names("fragment-1-part-") == ["fragment-1-part-0"]
    state.remove("fragment-1-part-")
    assert state.names() == ["fragment-1", "fragment-10"]
    state.remove()
    assert state.names() == []
    assert state.read_json("fragment-1") is None


def test_records_of_a_folder_are_listed_and_removed_by_themselves(state: StateFolder) -> None:
    rows = pa.table({"place": [1, 2]})
    for name in ("parts/1/a", "parts/1/b", "parts/10/a"):
        state.write_arrow(name, rows)
    state.write_json("done-1", {"file": "a"})

    assert state.names("parts/1/") == ["parts/1/a", "parts/1/b"]
    assert state.names("parts/2/") == []
    assert state.names("done-") == ["done-1"]
    assert state.read_arrow("parts/10/a") == rows
    state.remove("parts/1/a")
    assert state.names("parts/1/") == ["parts/1/b"]
    state.remove("parts/")
    assert state.names("parts/10/") == []
    assert state.names() == ["done-1"]


@pytest.mark.parametrize("size", [0, 1, -1])
def test_a_record_that_is_not_whole_is_none(state: StateFolder, tmp_path: Path, size: int) -> None:
    state.write_json("a", {"file": "a"})
    state.write_arrow("b", pa.table({"place": [1, 2]}))
    for file in (tmp_path / "t.lance.state" / "map" / "score-1").iterdir():
        file.write_bytes(file.read_bytes()[:size])

    assert state.read_json("a") is None
    assert state.read_arrow("b") is None


def test_what_a_kill_left_half_written_is_no_record(state: StateFolder, tmp_path: Path) -> None:
    state.write_json("a", {})
    (tmp_path / "t.lance.state" / "map" / "score-1" / "b.json.tmp").write_text("{")

    assert state.names() == ["a"]
