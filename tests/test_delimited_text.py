"""CSV and TSV: the reader of blocks and the reader of records say the same."""

from __future__ import annotations

import io

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.metadata import delimited_text, text_blocks
from ingest.metadata.delimited_text import Record, blocks, records
from ingest.metadata.text_blocks import TextBlocks

NAMES = ("a", "b")
PIECES = [
    "x",
    "é",
    "猫",
    '"',
    '""',
    ",",
    "\t",
    "\n",
    "\r\n",
    "\r",
    " ",
    "'",
    "\\",
    "#",
    '"q, r"',
    '"two\nlines"',
    "x,y\n",
]


def by_records(text: str, delimiter: str = ",") -> list[tuple[int, str] | list[str]]:
    found = records(io.StringIO(text, newline=""), delimiter, len(NAMES))
    return [(record.line, record.text) if record.values is None else record.values for record in found]


def by_blocks(text: str, delimiter: str = ",") -> list[tuple[int, str] | list[str]]:
    said: list[tuple[int, str] | list[str]] = []
    for found in blocks(TextBlocks(io.BytesIO(text.encode()), "utf-8"), delimiter, NAMES):
        if isinstance(found, Record):
            said.append((found.line, found.text))
        else:
            said += [list(row.values()) for row in found.to_pylist()]
    return said


def assert_same(text: str, delimiter: str = ",") -> None:
    """Rows in order, and refusals in order; a block gives its refusals before its rows."""
    expected, found = by_records(text, delimiter), by_blocks(text, delimiter)
    for kind in (list, tuple):
        assert [one for one in found if isinstance(one, kind)] == [one for one in expected if isinstance(one, kind)]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=40), st.sampled_from([8, 16, 64, 1 << 20]))
def test_blocks_give_what_records_give_whatever_the_text(pieces: list[str], block_bytes: int) -> None:
    before = text_blocks.BLOCK_BYTES, text_blocks.RAW_BYTES
    text_blocks.BLOCK_BYTES, text_blocks.RAW_BYTES = block_bytes, 5
    try:
        assert_same("".join(pieces))
    finally:
        text_blocks.BLOCK_BYTES, text_blocks.RAW_BYTES = before


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(*[st.text(alphabet='ab",;\n 猫', max_size=6)] * 2), max_size=30),
    st.sampled_from([",", ";", "\t"]),
    st.integers(0, 40),
)
def test_what_csv_wrote_comes_back_by_blocks_also_beside_a_broken_line(
    rows: list[tuple[str, str]], delimiter: str, broken_at: int
) -> None:
    import csv

    stream = io.StringIO(newline="")
    csv.writer(stream, delimiter=delimiter, lineterminator="\n").writerows(rows)
    assert_same(stream.getvalue(), delimiter)
    lines = stream.getvalue().split("\n")
    lines.insert(min(broken_at, len(lines)), '"never closed')
    assert_same("\n".join(lines), delimiter)


def test_a_broken_line_costs_neither_the_lines_before_it_nor_those_after_it() -> None:
    good = "".join(f"a{n},b{n}\n" for n in range(40_000))
    text = good + "one field\n" + good + '"open,x\n' + good
    found = by_blocks(text)
    assert sum(isinstance(one, list) for one in found) == 120_000
    assert [one for one in found if isinstance(one, tuple)] == [(40_001, "one field\n"), (80_002, '"open,x\n')]


@pytest.mark.parametrize("value", ["x" * 200_000, "two\nlines" * 20_000])
def test_a_value_too_long_for_one_reader_is_too_long_for_the_other(value: str) -> None:
    assert_same(f'a,b\n"{value}",b\nc,d\n')


def test_an_empty_field_behind_the_last_delimiter_does_not_count() -> None:
    assert by_records("1,2,\n3,4,\n5,6,7\n") == [["1", "2"], ["3", "4"], (3, "5,6,7\n")]
    assert_same("1,2,\n3,4,\n5,6,7\n")


def test_regular_blocks_are_read_whole() -> None:
    text = 'a,"b, ""c"""\n"two\nlines",x\n' * 50_000
    batches = list(blocks(TextBlocks(io.BytesIO(text.encode()), "utf-8"), ",", NAMES))
    assert all(isinstance(batch, pa.RecordBatch) for batch in batches)
    assert sum(batch.num_rows for batch in batches) == 100_000
    assert delimited_text._regular_part(text.encode(), ",") == len(text.encode())
