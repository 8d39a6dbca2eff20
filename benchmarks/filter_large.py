"""A threshold that keeps a share, and a funnel of four filters, on millions of rows beside DuckDB on parquet.

    python benchmarks/filter_large.py --rows 10000000

Both sides find the threshold of the top 30 % and count what each filter keeps alone and after the ones before it; the
counts must be equal. Seconds of wall time, both in one process after another, and the peak memory of each.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

_BATCH = 500_000
_CONDITIONS = ("words > 2", "least(width, height) >= 200", "greatest(width, height) <= 3 * least(width, height)")


def batches(num_rows: int) -> Iterator[pa.RecordBatch]:
    """Drawn figures of rows."""
    rng = np.random.default_rng(0)
    for start in range(0, num_rows, _BATCH):
        size = min(_BATCH, num_rows - start)
        sides = rng.integers(50, 2000, (2, size), np.int32)
        words = rng.integers(0, 20, size, np.int32)
        score = rng.normal(0.25, 0.05, size).astype(np.float32)
        yield pa.record_batch({"score": score, "words": words, "width": sides[0], "height": sides[1]})


def by_clipdata(folder: str) -> dict[str, Any]:
    """Threshold and counts by `clipdata.filters`."""
    from clipdata import filters

    top = filters.top_share(f"{folder}/t.lance", "score", 0.3)
    found = filters.funnel(f"{folder}/t.lance", [top, *_CONDITIONS])
    return {"threshold": top.figures["threshold"], "counts": [(one.alone, one.after) for one in found.stages]}


def by_duckdb(folder: str) -> dict[str, Any]:
    """The same by DuckDB, in two queries."""
    import duckdb

    source = f"'{folder}/t.parquet'"
    ranked = duckdb.sql(f"SELECT count(score) FROM {source}").fetchall()[0][0]
    wanted = max(1, int(0.3 * ranked + 0.5))
    ask = f"SELECT quantile_disc(score, {(ranked - wanted + 0.5) / ranked}) FROM {source}"
    threshold = duckdb.sql(ask).fetchall()[0][0]
    conditions = [f"score >= {threshold!r}::FLOAT", *_CONDITIONS]
    counted = ", ".join(
        f"count(*) FILTER ({one}), count(*) FILTER ({' AND '.join(conditions[: place + 1])})"
        for place, one in enumerate(conditions)
    )
    counts = duckdb.sql(f"SELECT {counted} FROM {source}").fetchall()[0]
    return {"threshold": threshold, "counts": list(zip(counts[::2], counts[1::2], strict=True))}


def measured(work: Callable[[str], dict[str, Any]], folder: str) -> dict[str, Any]:
    """Run in a process of its own."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_timed, args=(work, folder, queue))
    process.start()
    found: dict[str, Any] = queue.get()
    process.join()
    return found


def _timed(work: Callable[[str], dict[str, Any]], folder: str, queue: Any) -> None:
    import duckdb  # noqa: F401 - imports are not what is timed

    import clipdata.filters  # noqa: F401

    before_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    started_s = time.perf_counter()
    found = work(folder)
    seconds = time.perf_counter() - started_s
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    queue.put({**found, "seconds": round(seconds, 2), "peak_mb": round(peak_mb), "before_mb": round(before_mb)})


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--rows", type=int, default=10_000_000)
    given = asked.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        schema = next(batches(1)).schema
        lance.write_dataset(pa.RecordBatchReader.from_batches(schema, batches(given.rows)), f"{folder}/t.lance")
        with pq.ParquetWriter(Path(folder, "t.parquet"), schema) as writer:
            for batch in batches(given.rows):
                writer.write_batch(batch)
        ours, theirs = (measured(work, folder) for work in (by_clipdata, by_duckdb))
    for name, found in (("clipdata", ours), ("duckdb", theirs)):
        print(f"{name:<10} {json.dumps({key: found[key] for key in ('seconds', 'peak_mb', 'before_mb')})}")
    assert ours["threshold"] == theirs["threshold"], (ours, theirs)
    assert ours["counts"] == theirs["counts"], (ours, theirs)
    print(f"{given.rows:,} rows, the same counts; {ours['seconds'] / theirs['seconds']:.2f} × DuckDB's time")


if __name__ == "__main__":
    main()
