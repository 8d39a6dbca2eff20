"""Files as pandas, polars and DuckDB write them today."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import ingest

ROWS = [
    {"filename": "a.jpg", "split": "train", "choices": ["x", "y"], "n": 1, "score": 0.5},
    {"filename": "b.jpg", "split": "test", "choices": ["z"], "n": None, "score": None},
]


def by_pandas(path: Path) -> None:
    import pandas as pd

    frame = pd.DataFrame(ROWS).astype({"split": "category", "n": "Int64"})
    assert str(frame["filename"].dtype) in ("str", "object")
    frame.to_parquet(path)


def by_pandas_csv(path: Path) -> None:
    import pandas as pd

    pd.DataFrame(ROWS).to_csv(path)


def by_polars(path: Path) -> None:
    pl: Any = pytest.importorskip("polars")
    pl.DataFrame(ROWS).with_columns(pl.col("split").cast(pl.Categorical)).write_parquet(path)


def by_duckdb(path: Path) -> None:
    duckdb: Any = pytest.importorskip("duckdb")
    duckdb.sql(
        "copy (select * from (values ('a.jpg', 'train'::enum('train', 'test'), ['x', 'y'], 1, 0.5), "
        "('b.jpg', 'test', ['z'], null, null)) t(filename, split, choices, n, score)) "
        f"to '{path}' (format parquet)"
    )


@pytest.mark.parametrize("write", [by_pandas, by_polars, by_duckdb], ids=lambda write: write.__name__)
def test_a_table_of_another_tool_goes_in_with_its_values_and_again_without_a_change(tmp_path: Path, write: Any) -> None:
    write(tmp_path / "m.parquet")
    done = ingest.from_parquet(tmp_path / "m.parquet", into=tmp_path / "t.lance")
    stored = done.table.to_table(list(ROWS[0])).sort_by("filename").to_pylist()
    assert [{**row, "score": row["score"] and float(row["score"])} for row in stored] == ROWS
    again = ingest.from_parquet(tmp_path / "m.parquet", into=tmp_path / "t.lance")
    assert again.table.version == done.table.version


def test_a_data_frame_that_went_through_csv_gets_its_lists_back_on_request(tmp_path: Path) -> None:
    by_pandas_csv(tmp_path / "m.csv")
    done = ingest.from_parquet(tmp_path / "m.csv", into=tmp_path / "t.lance", lists=["choices"])
    stored = done.table.to_table(["filename", "choices", "column_0"]).sort_by("filename").to_pylist()
    assert [row["choices"] for row in stored] == [["x", "y"], ["z"]]
    assert [row["column_0"] for row in stored] == ["0", "1"]
