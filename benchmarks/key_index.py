"""Would an index on the key make writing by key cheaper? Units into a table of many rows, with and without one.

    python benchmarks/key_index.py [--rows 5000000] [--unit 16384] [--repeats 3]

Keys are digests of 32 letters without order, as a merged table has them. Of each unit half the keys are new. Written
are new rows alone, and new rows with those that changed (what `rows.upsert` does); a plan that Lance refuses is told.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import lance
import pyarrow as pa

from clipdata.lance_io import rows
from clipdata.schema import key_field

SCHEMA = pa.schema([key_field("row_key"), pa.field("etag", pa.string()), pa.field("number", pa.int64())])
BATCH = 1_000_000


def unit_of(first: int, last: int, etag: str) -> pa.Table:
    """Rows of numbers."""
    keys = [hashlib.blake2b(str(number).encode(), digest_size=16).hexdigest() for number in range(first, last)]
    return pa.table([keys, [etag] * (last - first), list(range(first, last))], schema=SCHEMA)


def make(uri: Path, num_rows: int) -> None:
    """A table in fragments of a million rows."""

    def batches() -> Iterator[pa.RecordBatch]:
        for start in range(0, num_rows, BATCH):
            yield from unit_of(start, min(start + BATCH, num_rows), "a").to_batches()

    rows.create_table(uri, SCHEMA)
    reader = pa.RecordBatchReader.from_batches(SCHEMA, batches())
    lance.write_dataset(reader, str(uri), mode="append", max_rows_per_file=BATCH)


def cost_of(uri: Path, unit: pa.Table, *, updates: bool) -> tuple[float, float, str]:
    """CPU and wall seconds of writing a unit onto the newest version, and what Lance says against it."""
    dataset = lance.dataset(str(uri))
    builder = dataset.merge_insert("row_key").when_not_matched_insert_all()
    if updates:
        builder = builder.when_matched_update_all("source.etag <> target.etag OR target.etag IS NULL")
    used, began_s, fault = resource.getrusage(resource.RUSAGE_SELF), time.monotonic(), ""
    try:
        builder.conflict_retries(0).execute(unit)
    except (OSError, ValueError, RuntimeError) as error:
        fault = f"{type(error).__name__}: {str(error).splitlines()[0][:160]}"
    now = resource.getrusage(resource.RUSAGE_SELF)
    return now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime, time.monotonic() - began_s, fault


def main() -> None:
    """Print a line a unit, and medians."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--rows", type=int, default=5_000_000)
    words.add_argument("--unit", type=int, default=16_384)
    words.add_argument("--repeats", type=int, default=3)
    given = words.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start, lance {lance.__version__}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        uri = Path(name) / "t.lance"
        make(uri, given.rows)
        first, step = given.rows, given.rows // (8 * given.repeats)
        for is_indexed in (False, True):
            if is_indexed:
                began_s = time.monotonic()
                lance.dataset(str(uri)).create_scalar_index("row_key", "BTREE")
                print(f"the index was made in {time.monotonic() - began_s:.1f} s", flush=True)
            for updates in (False, True):
                found = []
                for repeat in range(given.repeats):
                    at = (repeat + given.repeats * (2 * is_indexed + updates)) * step // 2
                    half = given.unit // 2
                    unit = pa.concat_tables([unit_of(at, at + half, "b"), unit_of(first, first + half, "b")])
                    first += half
                    cpu_s, wall_s, fault = cost_of(uri, unit, updates=updates)
                    found.append(cpu_s)
                    what = "new and changed" if updates else "new alone"
                    index = "an index" if is_indexed else "no index"
                    print(f"{index:9} {what:16}{cpu_s:8.2f} CPU s{wall_s:8.2f} s  {fault}", flush=True)
                print(f"{index:9} {what:16}{statistics.median(found):8.2f} CPU s, the median", flush=True)
    print(f"load {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
