"""A table: pinned to a version, read by column, row and condition."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from clipdata.errors import NotFoundError, SchemaError, StorageError
from clipdata.lance_io.table import exists, open_table
from tests.tables import append_numbers, number_table


def test_a_handle_stays_at_its_version_until_it_is_moved(tmp_path: Path) -> None:
    table = number_table(tmp_path, 3)
    append_numbers(table, 3, 5)

    assert (table.num_rows, table.latest().num_rows) == (3, 5)
    table.move_to(table.latest())
    assert table.num_rows == 5
    assert open_table(tmp_path / "t.lance", version=table.version - 1).num_rows == 3


def test_what_is_not_there_is_said_with_what_to_type(tmp_path: Path) -> None:
    table = number_table(tmp_path, 1)

    with pytest.raises(NotFoundError, match=r"no table at .*none\.lance(.|\n)*clipdata ingest"):
        open_table(tmp_path / "none.lance")
    with pytest.raises(NotFoundError, match=rf"no version 99 of .*the newest is {table.version}(.|\n)*clipdata log"):
        open_table(tmp_path / "t.lance", version=99)
    assert (exists(tmp_path / "t.lance"), exists(tmp_path / "none.lance")) == (True, False)


def test_offsets_and_take_name_live_rows_in_the_order_asked_for(tmp_path: Path) -> None:
    table = number_table(tmp_path, 10, rows_per_write=4)
    table.dataset.delete("number IN (0, 5)")
    table = table.latest()

    found = table.offsets("number % 2 = 1")

    assert table.take(found, ["number"]).column(0).to_pylist() == [1, 3, 7, 9]
    assert table.take(found[::-1], ["number"]).column(0).to_pylist() == [9, 7, 3, 1]
    assert np.array_equal(table.offsets(), np.arange(8))


def test_rows_are_counted_and_read_by_condition(tmp_path: Path) -> None:
    table = number_table(tmp_path, 10)

    assert table.count_rows("number > 6") == 3
    assert table.to_table(["text"], where="number = 4").to_pylist() == [{"text": "text 4"}]
    assert table.to_table(["number"], where="number < 0").schema == pa.schema([pa.field("number", pa.int64())])
    assert table.query("SELECT max(number) AS most FROM dataset").to_pylist() == [{"most": 9}]
    with pytest.raises(SchemaError, match="nothing"):
        table.count_rows("nothing = 1")


def test_missing_columns_are_named_all_at_once_with_near_ones(tmp_path: Path) -> None:
    table = number_table(tmp_path, 1)

    with pytest.raises(SchemaError, match=r"'numbr' \(did you mean number\?\), 'zzz'; it has path, number, text"):
        table.require(["numbr", "path", "zzz"], verb="test")


def test_a_tag_names_one_version_for_good(tmp_path: Path) -> None:
    table = number_table(tmp_path, 1)
    table.tag("kept")
    table.tag("kept")
    append_numbers(table, 1, 2)

    assert open_table(tmp_path / "t.lance", version="kept").version == table.version
    with pytest.raises(StorageError, match=f"'kept' .* names version {table.version}, not {table.version + 1}"):
        table.latest().tag("kept")
