"""A row whose texts are too long is refused alone, whatever kind of column they stand in."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import clipdata as cd
import ingest
from clipdata.lance_io.refused import rejects_uri
from ingest.metadata import long_texts


@pytest.fixture(autouse=True)
def at_most_ten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_texts, "MOST_BYTES", 10)


LONG = "x" * 11
KINDS = {
    "text": pa.array(["fits", LONG, None, ""]),
    "large text": pa.array(["fits", LONG, None, ""], pa.large_string()),
    "bytes of its letters": pa.array(["fits", "ééééé!", None, ""]),
    "dictionary": pa.array(["fits", LONG, None, ""]).dictionary_encode(),
    "list": pa.array([["fits", "fits"], ["a", LONG[:10], None], None, []]),
    "list of a dictionary": pa.ListArray.from_arrays([0, 2, 3, 3, 3], pa.array(["a", "b", LONG]).dictionary_encode()),
    "struct": pa.array([{"a": "fits"}, {"a": LONG}, None, {"a": None}]),
    "list of structs": pa.array([[{"a": "fits"}], [{"a": "fits"}, {"a": "fits..."}], None, []]),
}


@pytest.mark.parametrize("values", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("start", [0, 1])
def test_the_row_is_found_by_its_place(values: pa.Array, start: int) -> None:
    batch = pa.record_batch({"n": pa.array([0, 1, 2, 3]), "said": values}).slice(start)

    found = long_texts.too_long(batch)

    assert list(found) == [1 - start]
    assert found[1 - start].startswith("column said holds 11 bytes of text, at most 10")


def test_bytes_are_no_text() -> None:
    assert not long_texts.too_long(pa.record_batch({"image": pa.array([LONG.encode() * 10])}))


def test_the_rows_around_it_are_kept_and_those_behind_it_keep_their_numbers(tmp_path: Path) -> None:
    names = ["a", "b", "", "d", "e"]
    captions = [LONG, "fine", "fine", LONG, "fine"]
    pq.write_table(pa.table({"filename": names, "caption": captions}), tmp_path / "m.parquet")

    done = ingest.from_parquet(tmp_path / "m.parquet", into=tmp_path / "t.lance")

    assert done.table.to_table(["filename"])["filename"].to_pylist() == ["b", "e"]
    refused = cd.open_table(rejects_uri(done.table.uri)).to_table().to_pylist()
    assert {(row["path"], row["reason"]) for row in refused} == {
        ("m.parquet#row-0", "too_large"),
        ("m.parquet#row-2", "null_key"),
        ("m.parquet#row-3", "too_large"),
    }
