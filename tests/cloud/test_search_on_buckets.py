"""A table in a bucket is indexed and searched as one on disk is."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

import clipdata as cd
from clipdata.lance_io import rows
from clipdata.schema import key_field
from tests.cloud.fixtures import Bucket

ROWS, SIZE = 600, 8


def test_an_index_in_a_bucket_is_made_updated_and_searched(bucket: Bucket) -> None:
    schema = pa.schema(
        [key_field("path"), pa.field("caption", pa.string()), pa.field("vector", pa.list_(pa.float32(), SIZE))]
    )
    table = rows.create_table(bucket.url("t.lance"), schema, storage=bucket.storage)
    vector_ND = np.random.default_rng(0).normal(size=(ROWS + 50, SIZE)).astype(np.float32)

    def put(start: int, stop: int) -> None:
        held = pa.FixedSizeListArray.from_arrays(pa.array(vector_ND[start:stop].reshape(-1)), SIZE)
        names = [f"{n:04d}" for n in range(start, stop)]
        captions = ["小猪在足球场" if n % 10 == 0 else "a red house" for n in range(start, stop)]
        rows.upsert(table, pa.table({"path": names, "caption": captions, "vector": held}))

    put(0, ROWS)
    made = cd.index(table.uri, "vector", kind="IVF_RQ", storage=bucket.storage, queries=10)
    assert made.measured is not None
    assert made.measured.recall == 1.0
    assert cd.index(table.uri, "caption", storage=bucket.storage).splits == "ngram"
    put(ROWS, ROWS + 50)
    assert cd.index(table.uri, "vector", storage=bucket.storage).did == "updated"

    found = cd.search(table.uri, like="0007", column="vector", storage=bucket.storage)
    exact = cd.search(table.uri, like="0007", column="vector", exact=True, storage=bucket.storage)
    assert [hit.row for hit in found.answers[0].hits] == [hit.row for hit in exact.answers[0].hits]
    assert (found.ways[0].index, exact.ways[0].index) == ("IVF_RQ", None)
    by_words = cd.search(table.uri, words="小猪", top=1000, storage=bucket.storage)
    assert len(by_words.answers[0].hits) == (ROWS + 50) // 10
    assert (by_words.ways[0].index, by_words.ways[0].outside) == ("Inverted", 50)
