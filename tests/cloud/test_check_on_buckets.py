"""`check` on object stores: damaged and missing objects are found there, and mended, as on a disk."""

from __future__ import annotations

import pyarrow as pa

from clipdata import check, map_column, open_table
from clipdata.lance_io import rows
from clipdata.storage import join
from tests.cloud.fixtures import Bucket
from tests.faults.history_actors import Offset, make_table
from tests.faults.history_records import OFFSETS


def test_a_missing_column_file_and_a_manifest_that_is_cut_are_found_and_mended(bucket: Bucket) -> None:
    uri = bucket.url("t.lance")
    make_table(uri, bucket.storage)
    table = open_table(uri, storage=bucket.storage)
    rows.upsert(table, pa.table({"path": ["a", "b"], "n": pa.array([1, 2], pa.int64())}))
    map_column(table.latest(), Offset("A"), "s")
    assert check(uri, storage=bucket.storage).sound
    newest = open_table(uri, storage=bucket.storage)
    column = next(file.path for one in newest.dataset.get_fragments() for file in one.metadata.files[1:])
    fs, path = bucket.storage.filesystem(join(uri, "data", column))
    fs.rm(path)
    fs.invalidate_cache()
    (problem,) = check(uri, storage=bucket.storage).problems
    assert (problem.remedy, problem.columns, problem.num_rows) == ("refill", ("s",), 2)

    assert check(uri, repair=True, storage=bucket.storage).sound

    mended = open_table(uri, storage=bucket.storage)
    assert mended.count_rows("s IS NULL") == 2
    map_column(mended, Offset("A"), "s")
    assert sorted(mended.to_table(["s"])["s"].to_pylist()) == [1 + OFFSETS["A"], 2 + OFFSETS["A"]]
    manifest = join(uri, "_versions", f"{2**64 - 1 - mended.version}.manifest")
    fs, path = bucket.storage.filesystem(manifest)
    fs.pipe_file(path, fs.cat_file(path)[:40])
    fs.invalidate_cache()

    found = check(uri, repair=True, storage=bucket.storage)

    assert [one.what for one in found.problems] == ["version"]
    assert found.sound
    assert open_table(uri, storage=bucket.storage).version < mended.version
