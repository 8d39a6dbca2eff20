"""Tables that another tool made, without a key: the verbs that read take them, and map fills their columns."""

from __future__ import annotations

from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pytest

import clipdata as cd
from tests.pictures import encoded


@pytest.fixture
def table(tmp_path: Path) -> cd.Table:
    rows = {
        "image_id": list(range(6)),
        "image": [encoded(n) for n in range(6)],
        "captions": [[f"picture {n}", "a drawing"] for n in range(6)],
        "before": [0.5] * 6,
        "after": np.linspace(0, 1, 6).tolist(),
    }
    lance.write_dataset(pa.table(rows), tmp_path / "foreign.lance", max_rows_per_file=4)
    return cd.open_table(tmp_path / "foreign.lance")


def test_a_table_without_a_key_is_read_by_every_verb_that_reads(table: cd.Table) -> None:
    assert (table.key, len(table)) == (None, 6)
    assert table.head(2).column("image_id").to_pylist() == [0, 1]
    assert table.query("SELECT max(image_id) AS most FROM dataset").to_pylist() == [{"most": 5}]
    assert table.take(table.offsets("image_id > 3"), ["image_id"]).column(0).to_pylist() == [4, 5]
    assert table.count_nulls("captions") == 0
    assert "image_id" in table._repr_html_()
    assert [entry.version for entry in cd.log(table)] == [1]
    assert cd.compare(table, "before", "after").mean.num_rows == 6
    assert next(iter(cd.Stream(table, ["image_id"], batch_size=6)))["image_id"].sort().values.tolist() == [*range(6)]


def test_map_fills_a_column_of_a_table_without_a_key(table: cd.Table) -> None:
    @cd.step(returns=pa.int64())
    def size(image: bytes) -> int:
        return len(image)

    assert cd.map_column(table, size, "size").computed == 6
    assert cd.map_column(table, size, "size").computed == 0
    assert table["size"].to_pylist() == [len(encoded(n)) for n in range(6)]
    assert cd.log(table)[-1].properties is not None
