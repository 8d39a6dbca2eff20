"""Metadata that is small on a disk, or looks like text, and would fill the memory: refused, or read within a bound."""

from __future__ import annotations

import io
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import clipdata as cd
import ingest
from clipdata.lance_io.refused import rejects_uri
from ingest.metadata.formats import FileFault
from ingest.metadata.text_layout import find_layout
from tests.memory_peak import peak

MB = 1 << 20


class Endless(io.RawIOBase):
    """Lines of four million letters, without an end; counts those it gave."""

    num_lines = 0

    def readline(self, size: int | None = -1, /) -> str:  # type: ignore[override]
        self.num_lines += 1
        return "x" * (4 * MB) + "\n"


def test_no_more_than_one_line_that_is_too_long_is_held_to_find_a_layout() -> None:
    stream = Endless()

    with suppress(FileFault):
        find_layout(stream, "csv")  # type: ignore[arg-type]

    assert stream.num_lines == 1


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_caption_of_many_megabytes_is_refused_with_its_file_and_costs_no_memory(tmp_path: Path, suffix: str) -> None:
    head, tail = ('filename,caption\na,"', '"\nb,fine\n')
    if suffix == "jsonl":
        head, tail = '{"filename": "a", "caption": "', '"}\n{"filename": "b", "caption": "fine"}\n'
    with open(tmp_path / f"m.{suffix}", "w") as opened:
        opened.write(head)
        for _ in range(64):
            opened.write("x" * MB)
        opened.write(tail)

    with peak() as taken:
        done = ingest.from_parquet(str(tmp_path / f"m.{suffix}"), into=tmp_path / "t.lance")

    assert dict(done.refused) == {"not_text": 1}
    assert taken.mb < 400


GIGANTIC = """
import sys
import pyarrow as pa, pyarrow.parquet as pq
table = pa.table({"filename": ["a"], "caption": ["x" * (130 << 20)]})
with pq.ParquetWriter(sys.argv[1], table.schema) as writer:
    writer.write_table(table)
    writer.write_table(pa.table({"filename": ["b", "c"], "caption": ["fine"] * 2}))
"""


def test_a_caption_that_parquet_packs_small_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    file = tmp_path / "m.parquet"
    subprocess.run([sys.executable, "-c", GIGANTIC, file], check=True)  # a process that held it would show no peak
    assert file.stat().st_size < 8 * MB

    with peak() as taken:
        done = ingest.from_parquet(file, into=tmp_path / "t.lance")

    assert dict(done.refused) == {"too_large": 1}
    assert done.table.to_table(["filename"])["filename"].to_pylist() == ["b", "c"]
    (refused,) = cd.open_table(rejects_uri(done.table.uri)).to_table().to_pylist()
    assert "a page of column caption unpacks to 136,3" in refused["detail"]
    assert taken.mb < 100


def test_a_long_text_that_is_stored_once_for_many_rows_is_read_within_a_bound(tmp_path: Path) -> None:
    folded = pa.DictionaryArray.from_arrays(pa.array([0] * 120, pa.int32()), pa.array(["x" * MB]))
    names = [f"{n}.jpg" for n in range(120)]
    pq.write_table(pa.table({"filename": names, "caption": folded}), tmp_path / "m.parquet")
    assert (tmp_path / "m.parquet").stat().st_size < MB

    with peak() as taken:
        done = ingest.from_parquet(str(tmp_path / "m.parquet"), into=tmp_path / "t.lance")

    assert done.written.inserted == 120
    assert taken.mb < 600


def test_ten_thousand_choices_of_a_row_are_kept_in_their_order(tmp_path: Path) -> None:
    choices = [f"choice {n}" for n in range(10_000)]
    pq.write_table(pa.Table.from_pylist([{"filename": "a", "choices": choices}]), tmp_path / "m.parquet")

    ingest.from_parquet(str(tmp_path / "m.parquet"), into=tmp_path / "t.lance")

    assert cd.open_table(tmp_path / "t.lance").to_table(["choices"])["choices"].to_pylist() == [choices]
