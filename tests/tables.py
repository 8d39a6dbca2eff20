"""Small real tables for tests."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from clipdata.lance_io import rows
from clipdata.lance_io.table import Table, open_table
from clipdata.schema import key_field


def number_table(
    folder: Path, num_rows: int = 10, *, rows_per_write: int | None = None, name: str = "t.lance"
) -> Table:
    """A table keyed by `path` with an integer column `number` and a text column; one fragment for each write."""
    schema = pa.schema([key_field("path"), pa.field("number", pa.int64()), pa.field("text", pa.string())])
    table = rows.create_table(folder / name, schema)
    step = rows_per_write or num_rows or 1
    for start in range(0, num_rows, step):
        append_numbers(table, start, min(start + step, num_rows))
    return open_table(folder / name)


def append_numbers(table: Table, start: int, stop: int) -> None:
    """Add the rows `start` to `stop`."""
    numbers = list(range(start, stop))
    fresh = {"path": [f"{n:06d}" for n in numbers], "number": numbers, "text": [f"text {n}" for n in numbers]}
    rows.upsert(table, pa.table(fresh))
