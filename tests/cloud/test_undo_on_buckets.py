"""A table in a bucket is named, compared, brought back and compacted as one on a disk is."""

from __future__ import annotations

import pyarrow as pa

import clipdata as cd
import ingest
from clipdata.lance_io import rows
from clipdata.schema import key_field
from tests.cloud.fixtures import Bucket
from tests.cloud.objects import put, put_pictures
from tests.tables import append_numbers


@cd.step(returns=pa.int64(), version="1")
def twice(number: int) -> int:
    return 2 * number


def test_what_is_removed_comes_back_and_is_what_it_was(bucket: Bucket) -> None:
    schema = pa.schema([key_field("path"), pa.field("number", pa.int64()), pa.field("text", pa.string())])
    table = rows.create_table(bucket.url("t.lance"), schema, storage=bucket.storage)
    for start in (0, 3):
        append_numbers(table, start, start + 3)
    cd.map_column(table, twice, "twice")
    old = table.to_table()
    assert cd.tag(table, "raw").done == "made"
    assert cd.select(table, "high", where="number > 3").num_rows == 2
    assert cd.open_table(table.uri, storage=bucket.storage).offsets("@high AND number < 5").tolist() == [4]

    assert cd.delete(table, "number > 3").num_rows == 2
    assert cd.drop(table, "twice").version == table.version
    done = cd.compact(table)
    assert (done.before.num_deleted, done.after.num_fragments) == (2, 1)
    found = cd.diff(table, "raw")
    assert (found.rows_removed, [column.what for column in found.columns]) == (2, ["removed"])
    assert cd.restore(table, "raw").rows_back == 2

    assert cd.open_table(table.uri, storage=bucket.storage).to_table().equals(old)
    assert cd.tag(table, "raw", delete=True).tags == ()


def test_pictures_deleted_by_hand_stay_away_and_those_of_an_undone_ingest_come_back(bucket: Bucket) -> None:
    put_pictures(bucket, "in", range(2))
    where = {"into": bucket.url("t.lance"), "storage": bucket.storage}
    table = ingest.from_images(bucket.url("in"), **where).table
    first = table.version
    put(bucket, {f"in/{name}": data for name, data in put_pictures(bucket, "more", range(5, 7)).items()})
    assert ingest.from_images(bucket.url("in"), **where).table.num_rows == 4
    cd.delete(table, "path LIKE '%0001.jpg'")
    assert ingest.from_images(bucket.url("in"), **where).table.num_rows == 3

    cd.restore(table, first)

    assert ingest.from_images(bucket.url("in"), **where).table.num_rows == 4
