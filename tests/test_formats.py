"""Formats: what a name says, and unpacking within bounds."""

from __future__ import annotations

import gzip
import io
import lzma
from typing import Any

import pyarrow as pa
import pytest

from ingest.metadata.formats import FileFault, Unpacked, format_of, packing_of


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.parquet", "parquet"),
        ("a.PQ", "parquet"),
        ("df.parquet.gzip", "parquet"),
        ("a.snappy.parquet", "parquet"),
        ("a.CSV", "csv"),
        ("a.csv.gz", "csv"),
        ("a.tsv.zst", "tsv"),
        ("a.tab.xz", "tsv"),
        ("a.ndjson.bz2", "jsonl"),
        ("a.json", ""),
        ("README.md", ""),
        ("parquet", ""),
        ("a.gz", ""),
    ],
)
def test_the_suffix_says_the_format(name: str, expected: str) -> None:
    assert format_of(name) == expected


PACK: dict[str, Any] = {
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: pa.compress(data, "zstd", asbytes=True),
}


@pytest.mark.parametrize("packing", PACK)
def test_what_swells_beyond_reason_is_refused_before_it_fills_the_memory(packing: str) -> None:
    bomb = PACK[packing](b"a.jpg,x\n" * 1_500_000)
    stream = Unpacked(io.BytesIO(bomb), packing, max_expansion=50, free_bytes=1 << 20)
    sizes: list[int] = []
    with pytest.raises(FileFault, match="swells more than 50-fold") as caught:
        sizes.extend(map(len, iter(lambda: stream.read(1 << 16), b"")))
    assert caught.value.reason == "time_bomb"
    assert sum(sizes) < 8 << 20


@pytest.mark.parametrize("packing", PACK)
def test_what_swells_within_reason_is_read_whole(packing: str) -> None:
    data = b"".join(b"%d,%d\n" % (n, n * n) for n in range(5_000))
    stream = Unpacked(io.BytesIO(PACK[packing](data)), packing, max_expansion=50, free_bytes=0)
    assert b"".join(iter(lambda: stream.read(1 << 16), b"")) == data


@pytest.mark.parametrize("packing", PACK)
def test_what_is_cut_off_is_a_fault_of_the_file(packing: str) -> None:
    whole = PACK[packing](bytes(range(256)) * 1000)
    stream = Unpacked(io.BytesIO(whole[:-10]), packing)
    with pytest.raises(FileFault, match="cut off"):
        list(iter(lambda: stream.read(1 << 16), b""))


def test_what_is_not_packed_is_read_as_it_is() -> None:
    assert packing_of("a.csv") == ""
    assert Unpacked(io.BytesIO(b"\0" * (1 << 20)), "", max_expansion=1, free_bytes=0).read() == b"\0" * (1 << 20)
