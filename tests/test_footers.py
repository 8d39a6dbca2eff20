"""What footers of parquet files say of columns is asked so that no footer can end the process."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingest.metadata.footers import check, repeating, told_of_columns
from ingest.metadata.formats import FileFault
from tests.faults.parquet_kinds import parquet_bytes, parquets


def footer_of(data: bytes) -> pq.FileMetaData:
    return pq.read_metadata(io.BytesIO(data))


def test_a_column_that_the_footer_counts_in_another_way_than_it_is_laid_out_is_not_asked_for():
    """pyarrow 26 ends the process where it is."""
    kind = parquets()["parquet: footer that counts a column in another way than it is laid out"]

    assert not told_of_columns(footer_of(kind.data), 0)
    assert repeating(footer_of(kind.data)) == []


def test_less_than_no_rows_and_rows_without_columns_are_refused():
    """pyarrow 26 ends the process that reads batches of less than no rows."""
    kind = parquets()["parquet: footer that tells of less than no rows"]
    three = parquet_bytes(pa.table({})).replace(b"\x16\x00&\x00", b"\x16\x06&\x00")

    for data, found in ((kind.data, "-1 rows of 0 columns"), (three, "3 rows of 0 columns")):
        with pytest.raises(FileFault, match=found):
            check(footer_of(data))


@pytest.mark.parametrize(
    "table",
    [
        pa.table({}),
        pa.table({"a": pa.array([], pa.string())}),
        pa.table({"a": [["x"], None], "b": [{"c": 1, "d": ["y"]}, None]}),
        pa.table({"a": [b"x" * 100_000]}),
    ],
)
def test_footers_of_sound_files_tell_of_their_columns_and_no_byte_is_read(table: pa.Table):
    footer = footer_of(parquet_bytes(table))

    check(footer)
    assert all(told_of_columns(footer, group) for group in range(footer.num_row_groups))


def test_texts_that_are_long_and_stored_once_repeat_and_others_do_not():
    long, short = "x" * 100_000, "y"
    table = pa.table({"long": [long] * 3, "short": [short] * 3, "number": [1] * 3})

    assert repeating(footer_of(parquet_bytes(table))) == ["long"]
    assert repeating(footer_of(parquet_bytes(table, use_dictionary=False))) == []
