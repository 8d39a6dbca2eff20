"""The row contract."""

from __future__ import annotations

import re

import pyarrow as pa
import pytest

from clipdata.errors import SchemaError
from clipdata.schema import align, error_column, image_schema, key_field, key_of, require_columns

SCHEMA = pa.schema([key_field("path"), pa.field("width", pa.int32()), pa.field("text", pa.string())])


def test_a_schema_declares_its_key() -> None:
    assert key_of(SCHEMA) == key_of(image_schema()) == "path"
    assert key_of(pa.schema([pa.field("path", pa.string())])) is None
    assert not SCHEMA.field("path").nullable


def test_rows_are_given_the_tables_columns_in_its_order_and_types() -> None:
    given = pa.table({"text": pa.array(["a"], pa.large_string()), "path": ["p"], "more": [1]})

    aligned = align(given, SCHEMA)

    assert aligned.schema == SCHEMA
    assert aligned.to_pylist() == [{"path": "p", "width": None, "text": "a"}]


@pytest.mark.parametrize("width", [pa.array(["wide"]), pa.array([2**40]), pa.array([[1]])], ids=str)
def test_values_that_do_not_fit_are_an_error_with_both_types(width: pa.Array) -> None:
    said = f"column 'width' holds {width.type}, the table's is int32"
    with pytest.raises(SchemaError, match=re.escape(said)):
        align(pa.table({"path": ["p"], "width": width}), SCHEMA)


def test_missing_columns_come_with_near_names_and_the_command_that_makes_them() -> None:
    with pytest.raises(SchemaError) as caught:
        require_columns(SCHEMA, ["widht", "text", "label"], verb="train", where="t.lance", hint="clipdata map …")

    said = "train: t.lance has no column 'widht' (did you mean width?), 'label'; it has path, width, text"
    assert str(caught.value) == f"{said}\n  hint: clipdata map …"
    require_columns(SCHEMA, ["text"], verb="train", where="t.lance")


@pytest.mark.parametrize(
    ("num", "said"), [(0, "it has none"), (2, "it has c0, c1"), (5000, "c38, c39 and 4960 others")]
)
def test_however_many_columns_there_are_a_message_can_be_read(num: int, said: str) -> None:
    with pytest.raises(SchemaError) as caught:
        require_columns(pa.schema([(f"c{n}", pa.null()) for n in range(num)]), ["text"], verb="train", where="t.lance")
    assert str(caught.value).endswith(said)


def test_reasons_stand_in_a_column_of_their_own() -> None:
    assert error_column("scores") == "scores__error"
