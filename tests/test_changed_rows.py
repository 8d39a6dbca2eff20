"""A row that is replaced loses what was made of it, also when a column is made while the row is being written."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

import clipdata as cd
from clipdata.lance_io import rows
from clipdata.schema import key_field
from tests.faults.history_actors import Offset
from tests.faults.history_records import OFFSETS


def test_a_row_that_is_replaced_while_a_column_is_made_does_not_keep_the_value_of_its_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema = pa.schema([key_field("path"), pa.field("n", pa.int64())])
    table = rows.create_table(tmp_path / "t.lance", schema)
    rows.upsert(table, pa.table({"path": ["a", "b"], "n": pa.array([1, 2], pa.int64())}))
    align, met = rows.align, []

    def another_maps_meanwhile(given: pa.Table, columns: pa.Schema) -> pa.Table:
        aligned = align(given, columns)
        if not met:
            met.append(True)
            cd.map_column(table.latest(), Offset("A"), "s")
        return aligned

    monkeypatch.setattr(rows, "align", another_maps_meanwhile)
    rows.upsert(table, pa.table({"path": ["a"], "n": pa.array([7], pa.int64())}), changed="n")

    found = table.latest().to_table(["path", "n", "s"]).sort_by("path").to_pylist()
    assert found == [{"path": "a", "n": 7, "s": None}, {"path": "b", "n": 2, "s": 2 + OFFSETS["A"]}]
