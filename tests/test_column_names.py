"""Column names: refused before anything is written where Lance could not read the column back."""

import lance
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipdata.column_names import check_column_name, is_readable, quoted
from clipdata.errors import SchemaError, UsageError
from clipdata.schema import key_field

SCHEMA = pa.schema([key_field("path"), pa.field("caption", pa.string()), pa.field("n", pa.int64())])
BAD = [
    "", " ", "a`b", "a.b", ".", "*", " n", "n ", "a\nb", "a\tb", "a\x00b", "a\x7fb", "\ud800", "x" * 201, "é" * 101,
    "_rowid", "_rowaddr", "_rowoffset", "_row_created_at_version", "_row_last_updated_at_version", "_distance",
    "_score", "_relevance_score", "_RowId", "scores__error",
]  # fmt: skip
GOOD = [
    "a b",
    "a-b",
    "Ünï",
    "select",
    "1x",
    "a/b",
    "a'b",
    'a"b',
    "a\\b",
    "日本",
    "a:b",
    "_x",
    "dataset",
    "é",
    "x" * 200,
]


@pytest.mark.parametrize("name", BAD)
def test_a_name_that_lance_or_clipdata_needs_otherwise_is_refused_with_one_that_would_do(name):
    with pytest.raises(UsageError) as refused:
        check_column_name(name, SCHEMA)

    suggestion = refused.value.hint.removeprefix("use ").strip("'\"")
    check_column_name(suggestion, SCHEMA)


@pytest.mark.parametrize("name", GOOD)
def test_a_name_that_is_allowed_can_be_written_read_and_asked_for(name, tmp_path):
    check_column_name(name, SCHEMA)
    lance.write_dataset(pa.table({"n": [1, 2]}), tmp_path / "t.lance")
    made = lance.dataset(tmp_path / "t.lance")

    made.add_columns(pa.field(name, pa.int64()))

    assert made.count_rows(f"{quoted(name)} IS NULL") == 2
    assert made.scanner(columns=[name]).to_table().schema.names == [name]
    assert made.sql(f"SELECT {quoted(name)} FROM dataset").build().to_batch_records()[0].schema.names == [name]


def test_the_key_and_a_name_that_differs_only_in_case_are_refused():
    with pytest.raises(UsageError, match="key"):
        check_column_name("path", SCHEMA)
    with pytest.raises(UsageError, match="differs only in case from 'caption'") as refused:
        check_column_name("Caption", SCHEMA)
    assert refused.value.hint == "use 'Caption_2'"


def test_a_column_that_is_there_may_be_filled_again():
    check_column_name("caption", SCHEMA)


def test_what_is_no_text_is_refused():
    with pytest.raises(UsageError, match="int"):
        check_column_name(3)


@given(st.text(max_size=30))
def test_every_refusal_names_a_name_that_would_do(name):
    try:
        check_column_name(name, SCHEMA)
    except UsageError as refused:
        check_column_name(refused.hint.removeprefix("use ")[1:-1], SCHEMA)


def test_a_condition_cannot_name_what_lance_cannot_write():
    assert not is_readable("a`b")
    assert not is_readable("_rowid")
    assert is_readable("a b")
    with pytest.raises(SchemaError, match="cannot be named"):
        quoted("a`b")
