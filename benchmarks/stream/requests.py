"""How many requests do 1,024 shuffled rows on a bucket take, and what does it cost when each takes 30 ms longer?

    python -m benchmarks.stream.requests                      rows of 2 to 400 KB
    python -m benchmarks.stream.requests --sizes 2700,60000 --work-ms 1.3

The bucket is an emulator on the loopback, which shares the machine's cores. Rows hold random bytes, which are not
decoded; `--work-ms` spends that much of a core a row instead, since reading goes on beside the decoding. Requests are
those from the first batch of 64 to the sixteenth, with what is read ahead by then and the ends of files; opening the
table takes two more. Rates are those of three windows, the first batch left out.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa

from benchmarks.bucket_ingest import LATENCY_S, served
from clipdata.lance_io.sizes import row_bytes
from clipdata.lance_io.table import Table, open_table
from clipdata.stream.fetch import Fetcher
from clipdata.stream.groups import Slot
from clipdata.stream.plan import Plan
from clipdata.stream.windows import sizes_for
from tests.cloud.fault_proxy import Fault
from tests.cloud.fixtures import Bucket

COLUMNS, BATCH_ROWS, BATCHES, AHEAD = ["image", "label"], 64, 16, 3


def make(bucket: Bucket, url: str, size: int, num_rows: int) -> None:
    """Write a table of one page a column, as ingest does."""
    rng = np.random.default_rng(0)
    held = rng.bytes(2 * size + 2**20)
    lengths = np.clip(rng.normal(size, size / 4, num_rows), size / 2, 2 * size).astype(int).tolist()
    starts = rng.integers(0, 2**20, num_rows).tolist()
    image = pa.array([held[start : start + length] for start, length in zip(starts, lengths, strict=True)])
    rows = pa.table({"image": image.cast(pa.large_binary()), "label": range(num_rows)})
    lance.write_dataset(rows, url, storage_options=bucket.direct.lance_options(url), max_rows_per_file=16_384)


def plan_of(table: Table) -> Plan:
    """As a stream makes it."""
    clump_rows, window_rows = sizes_for(row_bytes(table, COLUMNS))
    return Plan(table.num_rows, BATCH_ROWS, clump_rows=clump_rows, window_rows=window_rows)


def slots_of(plan: Plan) -> Iterator[Slot]:
    """One epoch."""
    order = plan.order(0)
    for batch in range(plan.num_batches):
        bounds = plan.bounds(batch)
        yield Slot((batch,), (bounds[1] - bounds[0],), order.positions(*bounds), order.windows(*bounds))


def seconds(table: Table, num_batches: int, work_s: float) -> tuple[float, float]:
    """Until the first batch, and from there to the last."""
    begun = time.monotonic()
    reading = Fetcher(table, COLUMNS).read(slots_of(plan_of(table)))
    next(reading)
    first = time.monotonic()
    for _ in range(num_batches - 1):
        next(reading)
        until = time.thread_time() + work_s * BATCH_ROWS
        while time.thread_time() < until:
            sum(range(1000))
    ended = time.monotonic()
    reading.close()
    return first - begun, ended - first


def measure(size: int, work_s: float) -> None:
    """Print the line of one size of row."""
    with tempfile.TemporaryDirectory() as name, served("gs", Path(name)) as bucket:
        url = bucket.url("rows.lance")
        clump_rows, window_rows = sizes_for(size)
        make(bucket, url, size, max(3 * window_rows, 1600) + clump_rows // 2)
        opened = [open_table(url, storage=bucket.storage) for _ in range(3)]
        with bucket.proxy.counting() as counts:
            seconds(opened[0], BATCHES + AHEAD, 0.0)
        num_batches = min(opened[0].num_rows, 3 * window_rows) // BATCH_ROWS
        plain = seconds(opened[1], num_batches, work_s)
        with bucket.proxy.injecting(Fault("latency", delay_s=(LATENCY_S, LATENCY_S))):
            late = seconds(opened[2], num_batches, work_s)
        rates = [(num_batches - 1) * BATCH_ROWS / took for _, took in (plain, late)]
        print(
            f"{size / 1000:6.1f} KB: clumps of {clump_rows:3}, windows of {window_rows:4}: {len(counts.log)} requests, "
            f"{counts.down_bytes / 2**20:5.1f} MiB ({BATCHES * BATCH_ROWS * size / 2**20:5.1f} asked for); first batch "
            f"after {plain[0]:.2f} s, {late[0]:.2f} with {1000 * LATENCY_S:.0f} ms a request; "
            f"{rates[0]:,.0f} rows/s, {rates[1]:,.0f}: ratio {rates[1] / rates[0]:.2f}",
            flush=True,
        )


def main() -> None:
    """Measure what was asked for."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--sizes", default="2000,2700,10000,60000,130000,400000", help="bytes of a row")
    words.add_argument("--work-ms", type=float, default=1.3, help="of a core, spent on each row")
    given = words.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start", flush=True)
    for size in map(int, given.sizes.split(",")):
        measure(size, given.work_ms / 1000)
    print(f"load {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
