"""Reading a list of pictures, row by row."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clipdata.errors import NotFoundError, UsageError
from ingest.metadata.list_file import ListFile


def written(folder: Path, name: str, content: bytes | str) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def values_of(where: Path, **options: Any) -> list[Any]:
    return [row.values for row in ListFile(where, **options).rows()]


def test_csv_values_stay_text(tmp_path):
    where = written(tmp_path, "a.csv", "name,number,empty\n007,1e5,\ntrue,NaN, x \n")
    assert values_of(where) == [
        {"name": "007", "number": "1e5", "empty": ""},
        {"name": "true", "number": "NaN", "empty": " x "},
    ]
    assert {column.type for column in ListFile(where).fields()} == {pa.string()}


def test_quotes_commas_line_ends_and_other_scripts_are_read_as_written(tmp_path):
    rows = 'text,url\n"a, b ""c""",u1\n"two\nlines",u2\r\n欧美夏季 连衣裙,"u,3"\n\n'
    assert [tuple(row.values()) for row in values_of(written(tmp_path, "a.csv", rows))] == [
        ('a, b "c"', "u1"),
        ("two\nlines", "u2"),
        ("欧美夏季 连衣裙", "u,3"),
    ]


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path):
    assert values_of(written(tmp_path, "a.csv", b"\xef\xbb\xbftext,url\nx,u\n")) == [{"text": "x", "url": "u"}]
    assert values_of(written(tmp_path, "a.jsonl", b'\xef\xbb\xbf{"a": "x"}\n')) == [{"a": "x", "json": None}]


def test_tsv_does_not_split_at_commas(tmp_path):
    assert values_of(written(tmp_path, "a.tsv", "text\turl\na, b\tu\n")) == [{"text": "a, b", "url": "u"}]


def test_the_index_of_a_data_frame_gets_a_name(tmp_path):
    assert values_of(written(tmp_path, "a.csv", ",text\n0,x\n")) == [{"column_0": "0", "text": "x"}]


@pytest.mark.parametrize("unclosed_at", [0, 3, 9])
def test_a_quote_that_is_never_closed_costs_one_row(tmp_path, unclosed_at):
    lines = [f"caption {n},u{n}\n" for n in range(10)]
    lines[unclosed_at] = '"never closed,u\n'
    rows = list(ListFile(written(tmp_path, "a.csv", "text,url\n" + "".join(lines))).rows())
    bad = [row for row in rows if row.values is None]
    assert [(row.number, row.text) for row in bad] == [(unclosed_at + 2, '"never closed,u\n')]
    assert "line" in bad[0].fault
    assert [row.values["url"] for row in rows if row.values] == [f"u{n}" for n in range(10) if n != unclosed_at]
    assert [row.number for row in rows] == list(range(2, 12))


def test_a_quote_that_a_later_row_seems_to_close_costs_one_row(tmp_path):
    text = 'text,url\n"never closed,u1\nplain,u2\n"closed, well",u3\nlast,u4\n'
    rows = list(ListFile(written(tmp_path, "a.csv", text)).rows())
    assert [row.values["url"] if row.values else None for row in rows] == [None, "u2", "u3", "u4"]


def test_a_quote_that_swallows_a_long_list_costs_one_row(tmp_path):
    text = 'text,url\n"never closed,u\n' + "caption of some length,url\n" * 20_000
    rows = list(ListFile(written(tmp_path, "a.csv", text)).rows())
    assert [row.number for row in rows if row.values is None] == [2]
    assert len(rows) == 20_001


def test_rows_with_too_few_or_too_many_fields_are_faults(tmp_path):
    rows = list(ListFile(written(tmp_path, "a.csv", "a,b\n1\n1,2\n1,2,3\n")).rows())
    assert [row.fault for row in rows] == ["1 fields; the header has 2", "", "3 fields; the header has 2"]


def test_columns_of_one_name_are_told_apart(tmp_path):
    assert values_of(written(tmp_path, "a.csv", "url,text,url\n1,2,3\n")) == [{"url": "1", "text": "2", "url_2": "3"}]


@pytest.mark.parametrize("content", [b"", b"\n\n", b'"unclosed'])
def test_a_file_without_a_header_is_an_error(tmp_path, content):
    with pytest.raises(UsageError, match="no readable header"):
        ListFile(written(tmp_path, "a.csv", content)).fields()


@pytest.mark.parametrize(
    ("encoding", "guessed", "text"),
    [
        ("latin-1", "cp1252", "café"),
        ("gb18030", "gb18030", "连衣裙"),
        ("gbk", "gb18030", "猫在沙发上睡觉"),
        ("big5", "big5", "貓在沙發上睡覺"),
        ("shift_jis", "shift_jis", "ソファで眠る猫のいる部屋"),
        ("euc-kr", "euc-kr", "소파에서 자는 고양이"),
        ("utf-16", "utf-16", "連衣裙"),
        ("utf-16-le", "utf-16-le", "plain"),
    ],
)
def test_another_encoding_is_an_error_that_names_it_until_it_is_named(tmp_path, encoding, guessed, text):
    where = written(tmp_path, "a.csv", f"text,url\n{text},u\n".encode(encoding))
    with pytest.raises(UsageError, match=rf"not utf-8 text[\s\S]*--encoding {guessed}"):
        values_of(where)
    assert values_of(where, encoding=encoding) == [{"text": text, "url": "u"}]


def test_an_encoding_that_does_not_exist_is_an_error(tmp_path):
    with pytest.raises(UsageError, match="klingon"):
        ListFile(written(tmp_path, "a.csv", "a\n1\n"), encoding="klingon")


def test_a_binary_file_is_an_error_and_not_one_huge_row(tmp_path):
    for suffix in ("csv", "jsonl"):
        with pytest.raises(UsageError, match="is this a text file"):
            values_of(written(tmp_path, f"a.{suffix}", b"x" * 3_000_000))


def test_packed_lists_are_read_and_cut_ones_are_an_error(tmp_path):
    packed = gzip.compress(b"text,url\n" + b"x,u\n" * 1000)
    assert len(values_of(written(tmp_path, "a.csv.gz", packed))) == 1000
    with pytest.raises(UsageError, match="cut off"):
        values_of(written(tmp_path, "cut.csv.gz", packed[:-20]))


def test_jsonl_fields_keep_their_types_and_what_drifts_stays_as_text(tmp_path):
    lines = [{"url": "a", "label": 3, "size": 1, "tags": ["x", "y"]}, {"url": "b", "label": 4, "size": "big"}]
    where = written(tmp_path, "a.jsonl", "\n".join(json.dumps(line) for line in lines))
    types = {column.name: column.type for column in ListFile(where).fields()}
    assert types["label"] == pa.int64()
    assert types["tags"] == pa.list_(pa.string())
    rows = values_of(where)
    assert rows[0]["label"] == 3
    assert json.loads(rows[1]["json"]) == {"size": "big"}


def test_a_broken_line_of_jsonl_costs_one_row(tmp_path):
    rows = list(ListFile(written(tmp_path, "a.jsonl", '{"url": "a"}\n{"url": \n[1]\n\n{"url": "b"}\n')).rows())
    assert [row.number for row in rows] == [1, 2, 3, 5]
    assert [row.values["url"] if row.values else None for row in rows] == ["a", None, None, "b"]
    assert all(row.fault for row in rows if row.values is None)


def test_parquet_columns_keep_their_types_and_dictionaries_are_unfolded(tmp_path):
    table = pa.table(
        {"url": ["a", "b"], "n": pa.array([1, 2], pa.int16()), "kind": pa.array(["x", "x"]).dictionary_encode()}
    )
    pq.write_table(table, tmp_path / "a.parquet")
    assert [column.type for column in ListFile(tmp_path / "a.parquet").fields()] == [
        pa.string(),
        pa.int16(),
        pa.string(),
    ]
    assert values_of(tmp_path / "a.parquet") == table.to_pylist()


def test_what_is_not_parquet_is_an_error(tmp_path):
    with pytest.raises(UsageError, match="not a parquet file"):
        ListFile(written(tmp_path, "a.parquet", "url\n")).fields()


def test_a_missing_list_and_an_unknown_suffix_say_what_to_do(tmp_path):
    with pytest.raises(NotFoundError, match="there is no list"):
        ListFile(tmp_path / "none.csv").fields()
    with pytest.raises(UsageError, match="format="):
        ListFile(tmp_path / "a.xlsx")
    assert values_of(written(tmp_path, "urls", "a\n1\n"), file_format="csv") == [{"a": "1"}]
