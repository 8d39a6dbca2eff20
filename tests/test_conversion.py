"""Conversion of a function's values: exact, or the row's reason."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

import clipdata as cd
from clipdata.steps.conversion import to_array
from tests.tables import number_table

INTEGER, SINGLE, HALF = pa.int64(), pa.float32(), pa.float16()
NUMBERS, TEXTS = pa.list_(INTEGER), pa.list_(pa.string())
RECORD = pa.struct([("a", INTEGER), ("b", pa.list_(SINGLE))])
PAIRS = pa.map_(pa.string(), INTEGER)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (1.5, INTEGER),
        (float("inf"), INTEGER),
        (float("nan"), INTEGER),
        (Decimal("1.5"), INTEGER),
        (Fraction(3, 2), INTEGER),
        (np.array(1.5), INTEGER),
        (torch.tensor(1.5), INTEGER),
        ("1", INTEGER),
        (2**70, INTEGER),
        (300, pa.int8()),
        (1e300, SINGLE),
        (np.float64(-1e300), SINGLE),
        (Decimal("1e300"), SINGLE),
        (1e300, HALF),
        (70000.0, HALF),
        (2**24 + 1, SINGLE),
        ("1.0", SINGLE),
        ([0.5], NUMBERS),
        ((1, 1.5), NUMBERS),
        (np.array([1.5]), NUMBERS),
        (torch.tensor([1.5]), NUMBERS),
        ([[0.5]], pa.list_(NUMBERS)),
        ([0.5, 1], pa.list_(INTEGER, 2)),
        ([1], pa.list_(INTEGER, 2)),
        ([1e300], pa.list_(SINGLE)),
        (np.array([1e300]), pa.list_(SINGLE)),
        ("abc", TEXTS),
        ({"a": 1}, TEXTS),
        ({"A": 1}, RECORD),
        ({"a": 0.5}, RECORD),
        ({"a": 1, "b": [1e300]}, RECORD),
        ([("a", 0.5)], PAIRS),
        ({"a": 0.5}, PAIRS),
        (datetime(2020, 1, 1, 5), pa.date32()),
        (datetime(2020, 1, 1, 5, 0, 0, 7), pa.timestamp("s")),
        (datetime(2020, 1, 1, tzinfo=UTC), pa.timestamp("us")),
        (timedelta(microseconds=3), pa.duration("s")),
        (0.5, pa.dictionary(pa.int8(), INTEGER)),
    ],
)
def test_a_value_that_the_type_does_not_hold_has_a_reason_and_its_neighbour_a_value(value: Any, kind: Any) -> None:
    found, reasons = to_array([None, value], kind)

    assert found.type == kind
    assert found.to_pylist() == [None, None]
    assert reasons[0] is None
    assert ": " in (reasons[1] or "")


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (2.0, INTEGER, 2),
        (True, INTEGER, 1),
        (Decimal(2), INTEGER, 2),
        (torch.tensor(2.0), INTEGER, 2),
        (np.array([2.0]), NUMBERS, [2]),
        (torch.tensor([[1, 2]]), pa.list_(NUMBERS), [[1, 2]]),
        (np.zeros((1, 2)), pa.list_(pa.list_(SINGLE, 2)), [[0, 0]]),
        (range(2), NUMBERS, [0, 1]),
        (0.1, SINGLE, float(np.float32(0.1))),
        (float("inf"), SINGLE, float("inf")),
        ([float("-inf"), 1], pa.list_(SINGLE), [float("-inf"), 1]),
        (torch.tensor(0.5, dtype=torch.bfloat16), SINGLE, 0.5),
        (Decimal("0.5"), pa.float64(), 0.5),
        ({"a": 1}, RECORD, {"a": 1, "b": None}),
        ({"a": None, "b": np.array([0.5])}, RECORD, {"a": None, "b": [0.5]}),
        ({"x": 1.0}, PAIRS, [("x", 1)]),
        (date(2020, 1, 1), pa.date32(), date(2020, 1, 1)),
        (datetime(2020, 1, 1), pa.timestamp("s"), datetime(2020, 1, 1)),
        (np.str_("a"), pa.string(), "a"),
        (b"a", pa.large_binary(), b"a"),
        ("a", pa.dictionary(pa.int8(), pa.string()), "a"),
    ],
)
def test_a_value_that_the_type_holds_is_kept_beside_one_that_it_does_not(value: Any, kind: Any, expected: Any) -> None:
    assert to_array([value, None], kind)[0].to_pylist() == [expected, None]
    assert to_array([value, object()], kind)[0].to_pylist() == [expected, None]


@pytest.mark.parametrize("made", [list, np.array, torch.tensor])
def test_what_a_function_makes_of_a_batch_is_held_to_the_type_row_by_row(tmp_path: Path, made: Any) -> None:
    table = number_table(tmp_path, 4)
    halves = cd.step(returns="int64", batch=True)(lambda number: made([n / 2 for n in number.to_pylist()]))

    done = cd.map_column(table, halves, "half")

    found = table.to_table(["number", "half"]).to_pylist()
    assert all(row["half"] == (None if row["number"] % 2 else row["number"] // 2) for row in found)
    assert done.failed == {"ValueError": 2}


def test_pick_gives_a_reason_for_a_number_that_its_type_does_not_hold() -> None:
    step = cd.steps.Pick("values", "place")
    batch = pa.record_batch({"values": [[1e300], [0.5], []], "place": [0, 0, 0]})
    found, reasons = step.compute(batch, None)
    assert found.to_pylist() == [None, 0.5, None]
    assert [bool(reason) for reason in reasons] == [True, False, True]

    large = pa.record_batch({"values": [[2**24 + 1], [3]], "place": [0, 0]})
    assert step.compute(large, None)[0].to_pylist() == [None, 3.0]
