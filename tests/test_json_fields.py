"""JSON fields as columns: what keeps one type, what drifts, what the row contract has taken, what comes back equal."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime

import pyarrow as pa
import pytest

from clipdata.errors import ImageRefused
from clipdata.exports.shard_manifest import type_named
from clipdata.json_values import dump, is_writable
from ingest.metadata.json_fields import JsonColumns, load

NOTHING: dict[str, object] = {}


def inferred(*records, taken=frozenset(), row=NOTHING):
    return JsonColumns.infer([(record, row) for record in records], frozenset(taken))


def test_fields_that_keep_one_type_become_columns():
    columns = inferred(
        {"a": 1, "b": "x", "c": 0.5, "d": True, "e": ["x"], "f": None},
        {"a": 2, "b": None, "c": 1, "d": False, "e": []},
    )

    assert {name: str(kind) for name, kind in columns.types.items()} == {
        "a": "int64",
        "b": "string",
        "c": "double",
        "d": "bool",
        "e": "list<item: string>",
    }


@pytest.mark.parametrize(
    "values", [(1, "1"), (True, 1), ("x", ["x"]), ({"k": 1}, {"k": 2}), ([1], ["x"]), ([[1]], [[2]])]
)
def test_fields_that_drift_or_nest_stay_together_as_text(values):
    columns = inferred(*({"odd": value, "even": 1} for value in values))

    assert list(columns.types) == ["even"]
    assert json.loads(columns.values({"odd": values[0]}, NOTHING)["json"]) == {"odd": values[0]}


@pytest.mark.parametrize("late", ["text", 2**63, True, 1.5, {"k": 1}, "\ud800", [1]])
def test_a_value_that_does_not_fit_its_column_later_is_kept_as_text(late):
    values = inferred({"a": 1}).values({"a": late, "new": 1}, NOTHING)

    assert "a" not in values
    assert json.loads(values["json"]) == {"a": late, "new": 1}
    assert values["json"].encode()


def test_a_field_that_repeats_the_row_is_dropped_and_one_that_differs_is_kept_under_another_name():
    row = {"width": 64, "height": 48}
    columns = inferred({"width": 64, "height": 99}, taken={"width", "height"}, row=row)

    assert list(columns.types) == ["original_height"]
    assert columns.values({"width": 64, "height": 99}, row) == {"original_height": 99, "json": None}
    assert json.loads(columns.values({"width": 65}, row)["json"]) == {"width": 65}


def test_two_fields_that_want_one_name_do_not_overwrite_each_other():
    columns = inferred({"width": 1, "original_width": 2}, taken={"width"}, row={"width": 9})
    values = columns.values({"width": 1, "original_width": 2}, {"width": 9})

    assert values["original_width"] == 2
    assert json.loads(values["json"]) == {"width": 1}


def test_nothing_left_over_is_null():
    assert inferred({"a": 1}).values({"a": None}, NOTHING) == {"a": None, "json": None}


VALUES = [
    (pa.int8(), [-128, 127, None]),
    (pa.uint64(), [0, 2**64 - 1]),
    (pa.float32(), [0.1, -1e-30, math.inf, None]),
    (pa.float64(), [0.1, 1e308, -math.inf]),
    (pa.bool_(), [True, False, None]),
    (pa.string(), ["", "逗号,\n\t", "\U0001f600", "NaN"]),
    (pa.timestamp("us", "UTC"), [datetime(2026, 1, 2, 3, 4, 5, 6, UTC), None]),
    (pa.timestamp("ms"), [datetime(2026, 1, 2, 3, 4, 5)]),
    (pa.date32(), [date(2026, 1, 2)]),
    (pa.list_(pa.string()), [[], ["a", None], None]),
    (pa.list_(pa.float32(), 3), [[0.1, 0.2, 0.3]]),
    (pa.large_list(pa.int16()), [[1, 2], []]),
]


@pytest.mark.parametrize(("kind", "values"), VALUES, ids=lambda value: str(value)[:24])
def test_values_come_back_equal_through_text_in_their_own_type(kind, values):
    before = pa.array(values, kind)
    columns = JsonColumns.of({"v": type_named(str(kind))}, frozenset())
    records = [load(dump({"v": value}).encode()) for value in before.to_pylist()]
    after = pa.array([columns.values(record, NOTHING).get("v") for record in records], kind)

    assert is_writable(kind)
    assert after.equals(before)


def test_not_a_number_comes_back():
    columns = JsonColumns.of({"v": pa.float32()}, frozenset())

    assert math.isnan(columns.values(load(dump({"v": math.nan}).encode()), NOTHING)["v"])


@pytest.mark.parametrize("kind", [pa.binary(), pa.struct([("a", pa.int8())]), pa.timestamp("ns"), pa.decimal128(5)])
def test_types_that_text_would_change_are_not_writable(kind):
    assert not is_writable(kind)
    assert not is_writable(pa.list_(kind))


@pytest.mark.parametrize("text", ["binary", "struct<a: int8>", "list<item: ", "list<item: binary>", "int7", ""])
def test_unknown_types_are_refused(text):
    with pytest.raises(ValueError, match="unknown type"):
        type_named(text)


def test_the_same_record_gives_the_same_text_whatever_its_order():
    assert dump({"b": 1, "a": "é"}) == dump({"a": "é", "b": 1}) == '{"a":"é","b":1}'


@pytest.mark.parametrize("data", [b"", b"[1]", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a": ' + b"1" * 5000 + b"}"])
def test_what_is_no_json_object_is_refused(data):
    with pytest.raises(ImageRefused, match="corrupt"):
        load(data)
