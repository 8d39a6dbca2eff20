"""Time and peak memory of `stats` of ten million narrow rows, beside DuckDB's SUMMARIZE of the same rows in Parquet.

    python benchmarks/stats_large.py [--rows 10000000] [--repeats 1]

Each figure is of a process of its own. `stats` reads a Lance table and tells more: histograms, most common values,
lengths of texts, shares of classes by side; its counts, means and extremes are exact, and held to DuckDB's here.
`growth` is its peak memory by that of a tenth of the rows.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

BATCH = 1_000_000


def write(folder: Path, num_rows: int) -> None:
    """Write the rows as a Lance table and as Parquet: key, score, class, caption, side, width."""
    import lance
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    captions = pa.array([f"a photo of thing {number}, seen {number % 97} times" for number in range(200_000)])

    def batches():
        for start in range(0, num_rows, BATCH):
            size = min(BATCH, num_rows - start)
            number = pc.utf8_lpad(pa.array(np.arange(start, start + size)).cast(pa.string()), 9, "0")
            columns = {
                "path": pc.binary_join_element_wise(number, pa.scalar(".jpg"), pa.scalar("")),
                "score": pa.array(rng.normal(size=size).astype(np.float32)),
                "label_ind": pa.array(rng.integers(0, 1000, size), pa.int32()),
                "caption": captions.take(pa.array(np.minimum(rng.zipf(1.3, size), 200_000) - 1)),
                "split": pa.array(["train", "test"]).take(pa.array((rng.random(size) < 0.2).astype(np.int8))),
                "width": pa.array(rng.integers(100, 2000, size), pa.int32()),
            }
            yield pa.RecordBatch.from_pydict(columns)

    first = next(iter(batches()))
    lance.write_dataset(pa.RecordBatchReader.from_batches(first.schema, batches()), str(folder / "t.lance"))
    with pq.ParquetWriter(folder / "t.parquet", first.schema) as writer:
        for batch in lance.dataset(str(folder / "t.lance")).to_batches(batch_size=BATCH):
            writer.write_batch(batch)


def ours(folder: Path) -> dict[str, float]:
    """By `stats`."""
    import clipdata as cd

    score = cd.stats(str(folder / "t.lance")).column("score").numbers
    assert score is not None
    return {"mean": score.mean, "least": score.quantiles["0"], "median": score.quantiles["0.5"]}


def with_duckdb(folder: Path) -> dict[str, float]:
    """By SUMMARIZE."""
    import duckdb

    db = duckdb.connect()
    db.execute("set enable_progress_bar = false")
    told = db.execute(f"SELECT * FROM (SUMMARIZE FROM read_parquet('{folder / 't.parquet'}'))").fetchall()
    (score,) = [row for row in told if row[0] == "score"]
    return {"mean": float(score[5]), "least": float(score[2]), "median": float(score[8])}


WAYS = {"stats": ours, "duckdb": with_duckdb}


def measured(way: str, folder: Path) -> dict[str, float]:
    """One way in a process of its own: seconds, peak MB and figures."""
    run = subprocess.run(
        [sys.executable, __file__, "--way", way, "--folder", str(folder)], check=True, capture_output=True, text=True
    )
    found: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Measure, or be measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--way", choices=WAYS)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    if given.way:
        started_s = time.perf_counter()
        found = WAYS[given.way](given.folder)
        seconds = time.perf_counter() - started_s
        peak = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024
        print(json.dumps({**found, "seconds": seconds, "peak_mb": peak}))
        return
    peaks = {}
    for num_rows in (given.rows // 10, given.rows):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write(folder, num_rows)
            runs = {way: [measured(way, folder) for _ in range(given.repeats)] for way in WAYS}
        figures = {
            way: {fact: statistics.median(run[fact] for run in found) for fact in found[0]}
            for way, found in runs.items()
        }
        assert math.isclose(figures["stats"]["mean"], figures["duckdb"]["mean"], rel_tol=1e-3, abs_tol=1e-6)
        assert math.isclose(figures["stats"]["least"], figures["duckdb"]["least"], rel_tol=1e-6)
        peaks[num_rows] = figures["stats"]["peak_mb"]
        for way, found in figures.items():
            print(f"{num_rows:>12,} rows  {way:<8} {found['seconds']:7.1f} s  {found['peak_mb']:7,.0f} MB at its peak")
        print(f"{'':18} ratio {figures['stats']['seconds'] / figures['duckdb']['seconds']:.2f}")
    least, most = peaks.values()
    print(f"growth {most / least:.2f} times the memory for 10 times the rows")


if __name__ == "__main__":
    main()
