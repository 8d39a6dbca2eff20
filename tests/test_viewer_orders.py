"""Rows come in the order that a page asks for, and its copy as a command gives the same one, value by value."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pytest

import clipdata as cd
from clipdata.viewer.commands import SharedView, select_of
from clipdata.viewer.desk import Desk
from clipdata.viewer.sources import LanceTable
from clipdata.viewer.view_state import ViewState

NAN, INF, NUM_ROWS = float("nan"), float("inf"), 3000
COLUMNS = ("single", "double", "half", "whole", "huge", "truth", "text", "day", "price")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """Many equal values, missing ones and NaN, in several fragments."""
    place: Path = tmp_path_factory.mktemp("orders") / "t.lance"
    draw = np.random.default_rng(0)
    missing_N = draw.random(NUM_ROWS) < 0.1
    number_N = draw.choice([NAN, -NAN, -INF, INF, 1.0, 2.5, -7.0], NUM_ROWS)
    whole_N = draw.integers(-3, 3, NUM_ROWS)
    columns = {
        "row": pa.array(np.arange(NUM_ROWS)),
        "single": pa.array(number_N, pa.float32(), mask=missing_N),
        "double": pa.array(number_N[::-1].copy(), mask=missing_N[::-1].copy()),
        "half": pa.array(number_N.astype(np.float16), mask=missing_N),
        "whole": pa.array(whole_N, mask=missing_N),
        "huge": pa.array(2**62 + whole_N, mask=missing_N),
        "truth": pa.array(whole_N > 0, mask=missing_N),
        "text": pa.array([None if gone else "aäZ一🐖"[n + 3 :] for n, gone in zip(whole_N, missing_N, strict=True)]),
        "day": pa.array(whole_N.astype("datetime64[D]"), mask=missing_N),
        "price": pa.array([None if gone else Decimal(int(n)) for n, gone in zip(whole_N, missing_N, strict=True)]),
    }
    lance.write_dataset(pa.table(columns), place, max_rows_per_file=700)
    return Desk(LanceTable(cd.open_table(place)))


def copied(desk: Desk, state: ViewState) -> list[int]:
    """The rows that the copied statement gives."""
    source = desk.source(None)
    assert isinstance(source, LanceTable)
    view = SharedView(source, state, ["row"], by_address=source.is_in_address_order)
    rows: list[int] = source.table.query(select_of(view)).column("row").to_pylist()
    return rows


@pytest.mark.parametrize("descending", [False, True])
def test_a_copied_order_gives_the_rows_as_they_are_seen(desk: Desk, descending: bool) -> None:
    families = {column["name"]: column["family"] for column in desk.table(ViewState())["columns"]}
    sorted_by = [name for name in COLUMNS if families[name] in ("number", "text", "boolean", "time")]
    assert len(sorted_by) >= 8
    for name in sorted_by:
        state = ViewState(sort=name, descending=descending, where="whole > -3")
        assert copied(desk, state) == desk.order(state)[1].tolist(), name
    change = ViewState(sort="~change", before="single", after="double", descending=descending)
    assert copied(desk, change) == desk.order(change)[1].tolist()


@pytest.mark.parametrize("descending", [False, True])
def test_what_is_no_number_comes_after_all_numbers_and_missing_values_last(desk: Desk, descending: bool) -> None:
    source, order = desk.order(ViewState(sort="single", descending=descending))
    values = source.read(["single"]).column(0).take(pa.array(order)).to_pylist()

    kinds = [2 if value is None else 1 if value != value else 0 for value in values]
    assert kinds == sorted(kinds)
    assert set(kinds) == {0, 1, 2}


def test_the_address_is_named_alone_where_a_statement_asks_for_it(desk: Desk) -> None:
    table = desk.source(None).table  # type: ignore[attr-defined]

    assert table.query("SELECT * FROM dataset LIMIT 1").column_names == ["row", *COLUMNS]
    assert table.query("SELECT '_rowaddr' AS name FROM dataset LIMIT 1").column_names == ["name"]
    for sql, names in (
        ("SELECT row FROM dataset WHERE _rowaddr >= 0 ORDER BY _rowaddr DESC LIMIT 1", ["row"]),
        ("SELECT row, _rowaddr FROM dataset ORDER BY row DESC LIMIT 1", ["row", "_rowaddr"]),
        ("WITH q AS (SELECT row, _rowaddr FROM dataset) SELECT row FROM q ORDER BY _rowaddr DESC LIMIT 1", ["row"]),
    ):
        found = table.query(sql)
        assert found.column_names == names
        assert found["row"].to_pylist() == [NUM_ROWS - 1]
