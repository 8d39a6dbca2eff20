"""Time and peak memory of a comparison of ten million rows: `compare`, DuckDB and pandas in turns.

    python benchmarks/compare_large.py [--rows 10000000] [--clusters 1000000] [--repeats 3] [--other CHECKOUT]

Each figure is of a process of its own; `--repeats` rounds, the median and the ratio to DuckDB. All three do the same
work: means of both columns, rows up, down and the same, the five worst and best rows, and the bootstrap of whole
clusters (2,000 draws over at most 8,192 hands, `clipdata.statistics`). `compare` reads a Lance table; DuckDB and pandas
read the same rows from Parquet. Given another checkout, such as a worktree of an earlier commit, its compare runs too.

Wanted: `compare` not slower than DuckDB. Not reached yet: 1.15 to 1.33 times its time, twice its memory.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

BATCH = 1_000_000
RESAMPLES = 2000


def write(folder: Path, num_rows: int, num_clusters: int) -> None:
    """Write the rows as a Lance table and as Parquet."""
    import lance
    import pyarrow as pa
    import pyarrow.parquet as pq

    from clipdata.schema import key_field

    schema = pa.schema([key_field("id"), pa.field("path", pa.string()), *(pa.field(n, pa.float64()) for n in "xy")])
    rng = np.random.default_rng(0)

    def batches():
        for start in range(0, num_rows, BATCH):
            size = min(BATCH, num_rows - start)
            picture_N = rng.integers(0, num_clusters, size)
            x_N = rng.random(size)
            paths = [f"pictures/{number // 1000:05d}/{number:09d}.jpg" for number in picture_N.tolist()]
            ids = [f"q{number:09d}" for number in range(start, start + size)]
            y_N = x_N + 0.01 * rng.normal(size=size)
            yield pa.RecordBatch.from_arrays([pa.array(v) for v in (ids, paths, x_N, y_N)], schema=schema)

    lance.write_dataset(pa.RecordBatchReader.from_batches(schema, batches()), str(folder / "t.lance"))
    with pq.ParquetWriter(folder / "t.parquet", schema) as writer:
        for batch in lance.dataset(str(folder / "t.lance")).to_batches(batch_size=BATCH):
            writer.write_batch(batch)


def ours(folder: Path) -> list[float]:
    """The figures by `compare`."""
    from clipdata import compare, open_table

    found = compare(open_table(str(folder / "t.lance")), "x", "y", resamples=RESAMPLES)
    return [found.mean.before, found.mean.after, found.num_wins, found.num_losses, *found.interval]


def with_duckdb(folder: Path) -> list[float]:
    """The same by DuckDB, from Parquet, and numpy for the bootstrap."""
    import duckdb

    db = duckdb.connect()
    db.execute("set enable_progress_bar = false")
    source = f"read_parquet('{folder / 't.parquet'}')"
    before, after, up, down, same = db.execute(
        f"select avg(x), avg(y), count(*) filter (y - x > 1e-6), count(*) filter (y - x < -1e-6), "
        f"count(*) filter (abs(y - x) <= 1e-6) from {source}"
    ).fetchone()
    assert up + down + same
    for order in ("asc", "desc"):
        assert db.execute(f"select id, path, x, y from {source} order by y - x {order} limit 5").fetchall()
    clusters = db.execute(f"select count(*)::double n, sum(x) x, sum(y) y from {source} group by path").fetchnumpy()
    return [before, after, up, down, *interval(*(np.asarray(clusters[name]) for name in "nxy"))]


def with_pandas(folder: Path) -> list[float]:
    """The same by pandas, from Parquet, and numpy for the bootstrap."""
    import pandas as pd

    frame = pd.read_parquet(folder / "t.parquet")
    frame["moved"] = frame.y - frame.x
    for listed in (frame.nsmallest(5, "moved"), frame.nlargest(5, "moved")):
        assert len(listed)
    up, down = int((frame.moved > 1e-6).sum()), int((frame.moved < -1e-6).sum())
    sums = frame.groupby("path", sort=False).agg(n=("x", "size"), x=("x", "sum"), y=("y", "sum"))
    columns = (sums[name].to_numpy(np.float64) for name in "nxy")
    return [frame.x.mean(), frame.y.mean(), up, down, *interval(*columns)]


def interval(weight_C, before_C, after_C) -> tuple[float, float]:
    """The bootstrap interval from sums over clusters."""
    from clipdata.statistics import ClusterSums, bootstrap_means, percentile_interval

    sums = ClusterSums(weight_C, np.stack([before_C, after_C], axis=1))
    means_RK = bootstrap_means(sums, resamples=RESAMPLES, seed=0)
    return percentile_interval(means_RK[:, 1] - means_RK[:, 0], len(sums))


MAKERS = {"ours": ours, "other": ours, "duckdb": with_duckdb, "pandas": with_pandas}


def measure(maker: str, folder: Path) -> None:
    """Run one maker in this process and print its figures, seconds and peak memory as JSON."""
    began = time.monotonic()
    figures = [float(figure) for figure in MAKERS[maker](folder)]
    seconds = time.monotonic() - began
    # The peak of `getrusage` would be that of the process that started this one, which may have written the rows.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 2**20
    print(json.dumps({"figures": figures, "seconds": seconds, "peak_gib": peak}))


def main() -> None:
    """Print a line for each maker and round, then medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--clusters", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--other", help="another checkout of this project")
    parser.add_argument("--folder", type=Path, help="keep the rows here, and use those that are there")
    parser.add_argument("--measure", choices=sorted(MAKERS))
    options = parser.parse_args()
    if options.measure:
        measure(options.measure, options.folder)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "t.parquet").exists():
            write(folder, options.rows, options.clusters)
        makers = [maker for maker in MAKERS if maker != "other" or options.other]
        found: dict[str, list[dict]] = {maker: [] for maker in makers}
        for _ in range(options.repeats):
            for maker in makers:
                found[maker].append(_in_process(maker, folder, options.other))
    for maker, rounds in found.items():
        seconds, peak = (statistics.median(r[key] for r in rounds) for key in ("seconds", "peak_gib"))
        base_s, base_p = (statistics.median(r[key] for r in found["duckdb"]) for key in ("seconds", "peak_gib"))
        print(
            f"{maker:<7} {seconds:6.2f} s ({seconds / base_s:.2f} of DuckDB)  {peak:5.2f} GiB "
            f"({peak / base_p:.2f})  interval {rounds[0]['figures'][-2:]}"
        )


def _in_process(maker: str, folder: Path, other: str | None) -> dict:
    root = other if maker == "other" else str(Path(__file__).resolve().parents[1])
    command = [sys.executable, __file__, "--measure", maker, "--folder", str(folder)]
    environment = {**os.environ, "PYTHONPATH": root or ""}
    record = json.loads(subprocess.run(command, env=environment, check=True, capture_output=True).stdout)
    print(f"{maker:<7} {record['seconds']:6.2f} s  {record['peak_gib']:5.2f} GiB", flush=True)
    return record


if __name__ == "__main__":
    main()
