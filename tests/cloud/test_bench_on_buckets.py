"""What limits a table in a bucket is measured as on a disk, and the bucket is named."""

from __future__ import annotations

import pyarrow as pa

import clipdata as cd
from clipdata.lance_io import rows
from clipdata.schema import key_field
from tests.cloud.fixtures import Bucket

NUM_ROWS = 600


def test_the_requests_of_a_bucket_are_counted_and_it_is_what_limits(bucket: Bucket) -> None:
    schema = pa.schema([key_field("path"), pa.field("caption", pa.string())])
    table = rows.create_table(bucket.url("t.lance"), schema, storage=bucket.storage)
    names = [f"{number:04d}" for number in range(NUM_ROWS)]
    rows.upsert(table, pa.table({"path": names, "caption": [f"picture {name}" for name in names]}))

    found = cd.bench(cd.open_table(table.uri, storage=bucket.storage), column="caption", seconds=1)

    read, stream = found.rates
    assert "requests for 1,024 rows" in read.note
    assert stream.num_rows > 0
    assert found.verdict.limit == "read"
    assert "the bucket limits" in found.verdict.text
    assert "cache_folder" in str(found.verdict.command)
