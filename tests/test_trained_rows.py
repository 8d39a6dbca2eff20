"""Tests of the record of the rows a model was trained on."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from clipdata.errors import StorageError
from clipdata.trained_rows import TrainedRows, digests, picture_texts


def _record(where: str | None = "split = 'train'") -> TrainedRows:
    keys, pictures = (np.unique(digests(pa.array(texts))) for texts in (["a", "b", "c"], ["p", "q"]))
    return TrainedRows("t.lance", 3, where, 3, keys, pictures, 0, 1, ("sha256",), ("image",))


@pytest.mark.parametrize("where", [None, "", "split = 'train'"])
def test_a_record_reads_back_what_was_written(where: str | None) -> None:
    record = _record(where)

    read = TrainedRows.from_bytes(record.to_bytes())

    assert read.to_record() == record.to_record()
    assert np.array_equal(read.keys, record.keys)
    assert np.array_equal(read.pictures, record.pictures)


def test_bytes_that_are_no_record_are_refused() -> None:
    with pytest.raises(StorageError, match="cannot be read"):
        TrainedRows.from_bytes(b"not an arrow file")


def test_the_same_text_has_the_same_digest_in_every_arrow_type() -> None:
    texts = pa.array(["x", "y", "x"])
    kinds = (pa.large_string(), pa.string_view())

    found = [digests(texts.cast(kind)) for kind in kinds] + [digests(texts.dictionary_encode())]

    assert all(np.array_equal(each, digests(texts)) for each in found)
    assert digests(texts)[0] == digests(texts)[2] != digests(texts)[1]


def test_a_picture_is_known_by_its_digest_or_else_by_its_place_and_etag() -> None:
    rows = {
        "sha256": pa.array(["s", None, None]),
        "uri": pa.array(["u", "u", None]),
        "etag": pa.array(["e", "e", None]),
    }

    assert picture_texts(rows).to_pylist() == ["s", "u\ne", None]
