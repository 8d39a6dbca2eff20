"""How much a page of parquet takes when it is unpacked is read from its header, and no header can end the reading."""

from __future__ import annotations

import io
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import ingest
from ingest.metadata import pages

KB = 1 << 10
ROWS = pa.table(
    {
        "filename": [f"{n}.jpg" for n in range(3000)],
        "caption": ["x" * n for n in range(3000)],
        "choices": [["a", "b" * n, None] for n in range(3000)],
        "image": [b"y" * n for n in range(3000)],
    }
)


def written(**options) -> io.BytesIO:
    found = io.BytesIO()
    pq.write_table(ROWS, found, row_group_size=1000, **options)
    return found


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("packing", ["snappy", "zstd", "none"])
@pytest.mark.parametrize("folded", [True, False], ids=["dictionary", "plain"])
def test_the_pages_of_a_column_are_together_what_its_footer_says(version: str, packing: str, folded: bool) -> None:
    options = {"data_page_size": 64 * KB, "write_page_checksum": True, "use_dictionary": folded}
    opened = written(data_page_version=version, compression=packing, **options)
    about = pq.read_metadata(opened)
    group = about.row_group(about.num_row_groups - 1)
    for column in map(group.column, range(group.num_columns)):
        sizes = list(pages._sizes_of_pages(opened, column))

        headers = column.total_uncompressed_size - sum(sizes)
        assert 0 < headers < 10 * KB * len(sizes)
        assert len(sizes) >= column.total_uncompressed_size // (2000 * KB) + folded


def test_a_page_of_texts_that_is_too_large_costs_its_group_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "MOST_BYTES", 1500 * KB)
    (tmp_path / "m.parquet").write_bytes(written(use_dictionary=False).getvalue())

    done = ingest.from_parquet(tmp_path / "m.parquet", into=tmp_path / "t.lance")

    assert dict(done.refused) == {"too_large": 1}
    assert done.table.to_table(["filename"])["filename"].to_pylist() == [f"{n}.jpg" for n in range(2000)]


def test_pages_of_pictures_may_be_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MOST_BYTES", 100 * KB)
    opened = io.BytesIO()
    pq.write_table(ROWS.select(["filename", "image"]), opened)

    assert pages.too_large(opened, pq.read_metadata(opened), 0) is None


def test_headers_of_any_bytes_are_read_or_given_up() -> None:
    drawn, whole = random.Random(1), written().getvalue()
    about = pq.read_metadata(io.BytesIO(whole))
    column = about.row_group(0).column(1)
    at = column.dictionary_page_offset
    for _ in range(2000):
        spoiled = bytearray(whole)
        for _ in range(drawn.randint(1, 8)):
            spoiled[at + drawn.randrange(40)] = drawn.randrange(256)
        sizes = list(pages._sizes_of_pages(io.BytesIO(spoiled), column))
        assert all(size >= 0 for size in sizes)
        assert len(sizes) <= column.total_compressed_size
