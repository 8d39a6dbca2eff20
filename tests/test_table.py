"""A table: pinned to a version, read by column, row and condition."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lance
import numpy as np
import polars
import pyarrow as pa
import pytest

import clipdata as cd
from clipdata.errors import NotFoundError, SchemaError, StorageError, UsageError
from clipdata.lance_io.history import log
from clipdata.lance_io.table import Table, as_table, exists, open_table
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
    with pytest.raises(NotFoundError, match=rf"no version 99 of .*version {table.version}(.|\n)*clipdata log"):
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


PICTURES = pa.table(
    {
        "n": pa.array([0, 1, 2], pa.int64()),
        "caption": ["a", "<script>b</script>", None],
        "image": pa.array([b"\xff\xd8", None, b"x"], pa.large_binary()),
    }
)


def other_table(folder: Path, rows: pa.Table = PICTURES, name: str = "other.lance") -> Table:
    """A table that another tool made."""
    lance.write_dataset(rows, folder / name)
    return open_table(folder / name)


def test_a_table_answers_what_a_notebook_types(tmp_path: Path) -> None:
    table = other_table(tmp_path)

    assert len(table) == 3
    assert table["caption"].to_pylist() == PICTURES["caption"].to_pylist()
    assert table[["n", "image"]].equals(PICTURES.select(["n", "image"]))
    assert table.head(2).to_pylist() == PICTURES.select(["n", "caption"]).slice(0, 2).to_pylist()
    assert table.head(2, ["image"]).num_rows == 2
    assert list(table) == ["n", "caption", "image"]
    assert "caption" in table
    assert "bogus" not in table
    assert table.to_pandas()["n"].tolist() == [0, 1, 2]
    assert table.to_polars(["n", "caption"], where="n > 0").rows() == [(1, "<script>b</script>"), (2, None)]


def test_a_table_goes_into_other_libraries_as_an_arrow_stream(tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    pictures = other_table(tmp_path)

    assert pa.table(pictures).equals(PICTURES)
    assert len(polars.from_arrow(pictures)) == 3
    assert polars.DataFrame(pictures).columns == ["n", "caption", "image"]
    assert duckdb.sql("SELECT sum(n) FROM pictures").fetchall() == [(3,)]


def test_what_names_no_column_is_said_with_what_to_type(tmp_path: Path) -> None:
    table = other_table(tmp_path)

    with pytest.raises(SchemaError, match=r"no column 'captoin' \(did you mean caption"):
        table["captoin"]
    with pytest.raises(UsageError, match=r"table\.head"):
        table[0]
    with pytest.raises(UsageError, match=r"at least 0"):
        table.head(-1)
    with pytest.raises(SchemaError, match="no column 'captoin'"):
        table.take(np.array([0]), ["captoin"])


def test_a_table_without_rows_is_a_table(tmp_path: Path) -> None:
    table = other_table(tmp_path, PICTURES.slice(0, 0))

    assert len(table) == 0
    assert table
    assert table.head().num_rows == 0
    assert table.to_pandas().empty
    assert pa.table(table).schema == PICTURES.schema
    assert "0 rows" in table._repr_html_()


def test_an_empty_answer_keeps_its_columns_and_types(tmp_path: Path) -> None:
    table = number_table(tmp_path, 3)

    found = table.query("SELECT number, count(*) AS times FROM dataset WHERE number > 5 GROUP BY number")
    assert found.schema.names == ["number", "times"]
    assert found.schema.field("number").type == pa.int64()
    assert table.to_table(["_rowoffset", "number"], where="number > 5").schema.names == ["_rowoffset", "number"]
    assert table.to_table(where="number > 5").schema == table.to_table().schema


def test_a_notebook_shows_a_table_and_nothing_in_it_becomes_html(tmp_path: Path) -> None:
    shown = other_table(tmp_path)._repr_html_()

    assert "3 rows, version 1" in shown
    assert "&lt;script&gt;b&lt;/script&gt;" in shown
    assert "<script>" not in shown
    assert "\\xff" not in shown


def test_a_pinned_handle_stays_where_it_is_when_the_other_moves(tmp_path: Path) -> None:
    table = number_table(tmp_path, 3)
    pinned = table.pinned()
    append_numbers(table, 3, 5)

    table.move_to(table.latest())

    assert (len(table), len(pinned)) == (5, 3)
    assert len(table.pinned(pinned.version)) == 3
    with pytest.raises(NotFoundError, match="no version 99"):
        table.pinned(99)


def test_a_location_does_where_a_table_is_wanted(tmp_path: Path) -> None:
    table = number_table(tmp_path, 3)

    assert as_table(table) is table
    assert len(as_table(tmp_path / "t.lance")) == len(as_table(str(tmp_path / "t.lance"))) == 3
    with pytest.raises(NotFoundError, match="no table at"):
        as_table("nowhere.lance")
    with pytest.raises(UsageError, match="a DataFrame is no table"):
        as_table(table.to_pandas())


@pytest.mark.parametrize("name", ["a`b", "", "_rowid", "_rowaddr", "_rowoffset", "_row_created_at_version"])
def test_a_column_that_lance_cannot_read_is_one_line_and_no_panic(
    tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    made = other_table(tmp_path, pa.table({"n": [1, 2]}))
    made.dataset.add_columns(pa.field(name, pa.int64()))
    table = made.latest()
    blocking = name.startswith("_")

    assert len(table) == 2
    assert table.count_nulls(name) is None
    for work in (
        lambda: table.to_table(),
        lambda: table.to_table([name]),
        lambda: table[name],
        lambda: table.take(np.array([0]), [name]),
        lambda: list(table.scan()),
        lambda: table.query(f'SELECT "{name}" FROM dataset'),
        lambda: table.query("SELECT * FROM dataset"),
        lambda: pa.table(table),
    ):
        with pytest.raises(SchemaError) as refused:
            work()
        assert "\n" not in refused.value.message
        assert ".rs:" not in refused.value.message
    assert "cannot" in table._repr_html_() or blocking
    if not blocking:
        assert table.query("SELECT n FROM dataset").num_rows == table.to_table(["n"]).num_rows == 2
    assert "panicked" not in capfd.readouterr().err
    assert log(table.uri)
    if blocking:
        table.dataset.drop_columns([name])  # as the hint says
        assert table.latest().to_table().num_rows == 2


def test_the_log_of_a_table_is_asked_for_by_the_word_of_the_command(tmp_path: Path) -> None:
    table = number_table(tmp_path, 3)
    pinned = table.pinned()
    append_numbers(table, 3, 5)

    assert [entry.version for entry in cd.log(pinned)] == [entry.version for entry in cd.log(tmp_path / "t.lance")]
    assert cd.log(pinned)[-1].num_rows == 5


def test_many_that_tag_one_version_under_one_name_at_once_all_succeed(tmp_path: Path) -> None:
    table = number_table(tmp_path, 1)
    names = [f"tag-{number}" for number in range(10)]

    def tag(_: int) -> None:
        mine = cd.open_table(table.uri)
        for name in names:
            mine.tag(name)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(tag, range(6)))
    assert set(table.dataset.tags.list()) == set(names)
