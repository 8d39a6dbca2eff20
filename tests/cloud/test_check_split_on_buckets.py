"""A table in a bucket is deduplicated, split, checked and curated as one on disk is."""

from __future__ import annotations

import pyarrow as pa

import clipdata as cd
from clipdata.lance_io import rows
from clipdata.schema import key_field
from pipelines.cli.app import main
from tests.cloud.fixtures import Bucket


def test_a_table_in_a_bucket_is_split_by_its_clusters_checked_and_curated(bucket: Bucket) -> None:
    hashes = [f"{1 << (n // 2 * 5):015x}{n % 2}" for n in range(20)]
    schema = pa.schema([key_field("id"), pa.field("perceptual_hash", pa.string()), pa.field("given", pa.string())])
    table = rows.create_table(bucket.url("t.lance"), schema, storage=bucket.storage)
    held = [{"id": str(n), "perceptual_hash": one, "given": ("train", "test")[n % 2]} for n, one in enumerate(hashes)]
    rows.upsert(table, pa.Table.from_pylist(held, schema=schema))

    table = cd.open_table(bucket.url("t.lance"), storage=bucket.storage)
    cd.map_column(table, cd.steps.NearDuplicates(table, radius=1), "near_duplicates")
    cd.map_column(table, cd.steps.LeakProofSplit(table, "near_duplicates"), "split")

    assert cd.check_split(table, "given").num_leaked == 10
    assert cd.check_split(table).gate().num_held_out == 4
    options = [word for key, value in bucket.storage.options.items() for word in ("--storage-option", f"{key}={value}")]
    anonymous = ["--anonymous"] if bucket.storage.anonymous else []
    words = ["check-split", bucket.url("t.lance"), "--column", "given", "--fail-if-leaks", *options, *anonymous]
    assert main(words) == 7
    kept = cd.curate(table, ["perceptual_hash IS NOT NULL", "given = 'train'"], where="split = 'train'")
    assert (kept.funnel.rows, kept.num_kept) == (16, 8)
    words = ["curate", bucket.url("t.lance"), "--keep", "given = 'train'", *options, *anonymous]
    assert main(words) == 0
