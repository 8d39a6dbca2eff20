"""Incoming columns: plain types and names, alone and together."""

from __future__ import annotations

import decimal
import uuid
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from clipdata.incoming import normalised, together

UUID = uuid.UUID(int=7)

# Each: what came, the type that it becomes, and the values where they are written in another way.
CAME: dict[str, tuple[pa.Array, pa.DataType] | tuple[pa.Array, pa.DataType, list[Any]]] = {
    "dictionary of texts": (pa.array(["a", None]).dictionary_encode(), pa.string()),
    "dictionary of numbers": (pa.array([1, None]).dictionary_encode(), pa.int64()),
    "views of texts": (pa.array(["a", None], pa.string_view()), pa.string()),
    "large texts": (pa.array(["a", None], pa.large_string()), pa.string()),
    "views of bytes": (pa.array([b"a", None], pa.binary_view()), pa.binary()),
    "bytes of one length": (pa.array([b"ab", None], pa.binary(2)), pa.binary()),
    "large lists": (pa.array([["a"], None], pa.large_list(pa.large_string())), pa.list_(pa.string())),
    "views of lists": (pa.array([["a", "b"], None], pa.list_view(pa.string())), pa.list_(pa.string())),
    "lists of texts of one length": (pa.array([["a", "b"], None], pa.list_(pa.string(), 2)), pa.list_(pa.string())),
    "vectors": (pa.array([[1.0, 2.0], None], pa.list_(pa.float32(), 2)), pa.list_(pa.float32(), 2)),
    "a map": (
        pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int64())),
        pa.list_(pa.struct([("key", pa.string()), ("value", pa.int64())])),
        [[{"key": "a", "value": 1}], None],
    ),
    "nothing at all": (pa.nulls(2), pa.string()),
    "lists of nothing": (pa.array([[], None], pa.list_(pa.null())), pa.list_(pa.string())),
    "short decimals": (pa.array([decimal.Decimal("1.50"), None], pa.decimal32(5, 2)), pa.decimal128(5, 2)),
    "dates in milliseconds": (pa.array([date(2026, 1, 2), None], pa.date64()), pa.date32()),
    "half floats": (pa.array(np.array([1, 2], np.float16)), pa.float16()),
    "an interval": (
        pa.array([pa.MonthDayNano([1, 2, 3]), None]),
        pa.string(),
        ["1 months 2 days 3 ns", None],
    ),
    "runs": (pa.RunEndEncodedArray.from_arrays([1, 2], ["a", "b"]), pa.string(), ["a", "b"]),
    "UUIDs": (pa.array([UUID.bytes, None], pa.uuid()), pa.string(), [str(UUID), None]),
    "JSON": (pa.array(["{}", None], pa.json_(pa.string())), pa.string()),
    "bytes of truth": (pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, None], pa.int8())), pa.bool_()),
    "a struct with a dictionary inside": (
        pa.StructArray.from_arrays([pa.array(["a", "b"]).dictionary_encode()], ["k"]),
        pa.struct([("k", pa.string())]),
    ),
    "a list of structs with dots": (
        pa.array([[{"a.b": 1}, {"a.b": 2}], None]),
        pa.list_(pa.struct([("a_b", pa.int64())])),
        [[{"a_b": 1}, {"a_b": 2}], None],
    ),
    "a struct of nothing": (pa.array([{}, None], pa.struct([])), pa.string(), ["{}", None]),
}


def plain(array: pa.Array) -> pa.RecordBatch:
    batch = pa.record_batch([array], names=["v"])
    made = normalised(batch.schema).apply(batch)
    made.validate(full=True)
    return made


@pytest.mark.parametrize("name", CAME)
def test_every_type_becomes_a_plain_one_and_keeps_its_values(name: str) -> None:
    array, kind, *written = CAME[name]
    values = written[0] if written else array.to_pylist()
    assert plain(array).schema.field("v").type == kind
    assert plain(array)["v"].to_pylist() == values
    assert plain(array.slice(1))["v"].to_pylist() == values[1:]
    assert plain(array.slice(0, 0))["v"].to_pylist() == []


def test_types_that_are_plain_already_stay_as_they_are() -> None:
    kinds = [pa.int8(), pa.uint64(), pa.float64(), pa.bool_(), pa.string(), pa.binary(), pa.large_binary(), pa.date32()]
    kinds += [pa.timestamp("ns"), pa.timestamp("us", "Europe/Berlin"), pa.time64("us"), pa.duration("ms")]
    kinds += [pa.decimal128(9, 2), pa.struct([("a", pa.list_(pa.int8()))])]
    for kind in kinds:
        made = normalised(pa.schema([pa.field("v", kind)]))
        assert made.schema.types == [kind]
        assert not made.converted


def test_what_was_converted_is_said_and_mere_layouts_are_not() -> None:
    kinds = {"a": pa.dictionary(pa.int8(), pa.string()), "b": pa.large_string(), "c": pa.large_list(pa.string_view())}
    said = normalised(pa.schema(list(kinds.items()))).converted
    assert list(said) == ["a"]
    assert said["a"].endswith("→ string")


def test_names_that_lance_cannot_read_or_sql_cannot_tell_apart_get_others() -> None:
    names = ["a.b", "a_b", "", "c", "c", "_rowid", "C", " z ", "q\x1b`", "y__error", "_distance", "x" * 300]
    made = normalised(pa.schema([pa.field(name, pa.int64()) for name in names]))
    new = made.schema.names
    assert new[:-1] == [
        "a_b_2",
        "a_b",
        "column",
        "c",
        "c_2",
        "column_rowid",
        "C_3",
        "z",
        "q__",
        "y_error",
        "column_distance",
    ]
    assert len(new[-1].encode()) <= 200
    assert made.renamed["c_2"] == "c"
    assert "a_b" not in made.renamed
    batch = pa.record_batch([[place] for place in range(len(names))], names=names)
    assert list(made.apply(batch).to_pylist()[0].values()) == list(range(len(names)))


def test_a_name_that_the_rows_keep_is_carried_under_another() -> None:
    given = pa.schema([pa.field(name, pa.string()) for name in ("source", "Row_Key", "meta_source")])
    made = normalised(given, taken=("source", "row_key"))
    assert made.schema.names == ["meta_source_2", "meta_Row_Key", "meta_source"]


def test_names_in_other_scripts_and_with_blanks_stay() -> None:
    names = ["标题", "clip score", "order", "it's", '"x"', "a/b", "café"]
    assert normalised(pa.schema([pa.field(name, pa.string()) for name in names])).schema.names == names


def test_a_dotted_name_in_one_file_is_not_taken_for_an_underscore_in_another() -> None:
    merged = together([pa.schema([("a.b", pa.int64())]), pa.schema([("a_b", pa.string())])])
    assert merged.schema.names == ["a_b_2", "a_b"]
    assert merged.parts[0].apply(pa.record_batch({"a.b": [1]})).to_pylist() == [{"a_b_2": 1, "a_b": None}]


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        (pa.int32(), pa.int64(), pa.int64()),
        (pa.int8(), pa.uint8(), pa.int16()),
        (pa.int64(), pa.uint64(), pa.string()),
        (pa.int64(), pa.float64(), pa.float64()),
        (pa.float16(), pa.float32(), pa.float32()),
        (pa.null(), pa.list_(pa.int8()), pa.list_(pa.int8())),
        (pa.list_(pa.null()), pa.list_(pa.string()), pa.list_(pa.string())),
        (pa.date32(), pa.timestamp("us"), pa.timestamp("us")),
        (pa.timestamp("ms"), pa.timestamp("us"), pa.timestamp("us")),
        (pa.timestamp("us", "UTC"), pa.timestamp("us", "Asia/Tokyo"), pa.timestamp("us", "UTC")),
        (pa.timestamp("us"), pa.timestamp("us", "UTC"), pa.string()),
        (pa.time32("s"), pa.time64("ns"), pa.time64("ns")),
        (pa.int64(), pa.decimal128(5, 2), pa.decimal128(22, 2)),
        (pa.bool_(), pa.int64(), pa.string()),
        (pa.int64(), pa.string(), pa.string()),
        (pa.string(), pa.binary(), pa.binary()),
        (pa.list_(pa.float32(), 2), pa.list_(pa.float32(), 3), pa.list_(pa.float32())),
        (
            pa.struct([("a", pa.int8())]),
            pa.struct([("b", pa.string()), ("a", pa.int64())]),
            pa.struct([("a", pa.int64()), ("b", pa.string())]),
        ),
    ],
    ids=str,
)
def test_two_types_of_one_column_become_the_narrowest_that_holds_both(
    one: pa.DataType, other: pa.DataType, both: pa.DataType
) -> None:
    merged = together([pa.schema([("v", one)]), pa.schema([("v", other)])])
    assert merged.schema.field("v").type == both
    for kind, part in zip((one, other), merged.parts, strict=True):
        assert part.apply(pa.record_batch([pa.nulls(2, kind)], names=["v"])).schema == merged.schema


def test_values_that_a_wider_type_cannot_hold_exactly_are_an_error() -> None:
    merged = together([pa.schema([("v", pa.int64())]), pa.schema([("v", pa.float64())])])
    assert merged.parts[0].apply(pa.record_batch({"v": [3]}))["v"].to_pylist() == [3.0]
    with pytest.raises(pa.ArrowInvalid):
        merged.parts[0].apply(pa.record_batch({"v": [2**60 + 1]}))


def test_a_schema_that_fits_no_other_is_left_out_with_what_does_not_fit() -> None:
    merged = together([pa.schema([("v", pa.list_(pa.string()))]), pa.schema([("v", pa.string()), ("w", pa.int8())])])
    assert merged.parts[1] is None
    assert "'v' is string" in merged.misfits[1]
    assert merged.schema.names == ["v"]


def test_columns_that_some_lack_and_types_that_grew_are_said() -> None:
    merged = together([pa.schema([("a", pa.int32())]), pa.schema([("a", pa.int64()), ("b", pa.null())])])
    assert merged.lacking == {"b": 1}
    assert merged.widened == {"a": "int32 and int64 → int64"}


def test_text_that_is_not_utf8_is_an_error_and_not_a_crash() -> None:
    bad = pa.array([b"caf\xe9"]).view(pa.string())
    with pytest.raises(pa.ArrowInvalid):
        plain(bad)
