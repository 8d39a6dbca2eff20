"""A table that is badly laid out is told so, with the command that mends it, and told no more once it is mended."""

from __future__ import annotations

from pathlib import Path

import lance
import pyarrow as pa
import pytest

import clipdata as cd
from clipdata.lance_io import rows
from clipdata.lance_io.layout import FEW_ROWS, MANY_FRAGMENTS, Layout
from clipdata.schema import key_field
from tests.telling import Told


@cd.step(returns=pa.int64(), version="1")
def twice(number: int) -> int:
    return 2 * number


def table_of(folder: Path, num_rows: int, rows_per_fragment: int) -> cd.Table:
    schema = pa.schema([key_field("path"), pa.field("number", pa.int64())])
    table = rows.create_table(folder / "t.lance", schema)
    written = pa.table({"path": [f"{n:06d}" for n in range(num_rows)], "number": range(num_rows)}, schema=schema)
    lance.write_dataset(written, table.uri, mode="append", max_rows_per_file=rows_per_fragment)
    return cd.open_table(table.uri)


def test_many_small_fragments_are_told_by_every_verb_that_would_be_slow(tmp_path: Path) -> None:
    table = table_of(tmp_path, 2 * MANY_FRAGMENTS, 2)
    expected = f"200 fragments of 2 rows, each of which costs requests; clipdata compact {table.uri} mends it"
    told = Told()

    cd.map_column(table, twice, "twice", progress=told)

    assert told.said == [expected]
    assert cd.stats(table).layout == expected
    assert f"layout: {expected}" in str(cd.stats(table))
    (found,) = [one for one in cd.doctor(table.uri, write=False).findings if one.name == "layout"]
    assert (found.verdict, found.hint) == ("note", f"clipdata compact {table.uri} mends it")
    cd.compact(table)
    assert cd.stats(table).layout is None
    (found,) = [one for one in cd.doctor(table.uri, write=False).findings if one.name == "layout"]
    assert (found.verdict, found.value[:11]) == ("good", "1 fragment,")
    assert table.count_rows("twice = 2 * number") == 2 * MANY_FRAGMENTS


def test_many_deleted_rows_are_told_until_they_have_left_the_files(tmp_path: Path) -> None:
    table = table_of(tmp_path, FEW_ROWS, FEW_ROWS)
    cd.delete(table, "number % 4 = 1")
    assert cd.stats(table).layout.startswith(
        "1,024 of 4,096 rows in the files are deleted, and read over by every scan"
    )
    cd.compact(table)
    assert cd.stats(table).layout is None


@pytest.mark.parametrize(
    ("layout", "fault"),
    [
        (Layout(MANY_FRAGMENTS - 1, 1, 1, MANY_FRAGMENTS, 0), False),
        (Layout(MANY_FRAGMENTS, 1, 1, FEW_ROWS * MANY_FRAGMENTS, 0), False),
        (Layout(1, 1, 1, FEW_ROWS - 2, 1), False),
        (Layout(0, 0, 0, 0, 0), False),
        (Layout(MANY_FRAGMENTS, 1, 1, FEW_ROWS * MANY_FRAGMENTS - 1, 0), True),
    ],
)
def test_what_is_well_laid_out_is_left_in_peace(layout: Layout, fault: bool) -> None:
    assert (layout.fault is not None) == fault
