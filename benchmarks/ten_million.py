"""Time and peak memory of verbs on ten million narrow rows, beside DuckDB on Parquet doing the same, in one run.

    python benchmarks/ten_million.py [--rows 10000000] [--repeats 3] [--parts filter,diff,versions] [--folder DIR]

Each figure is of a process of its own; the median of the repeats, in turns, and the ratio to DuckDB, also in time of
the processors, which is what counts where others are at work on the machine. Both give the same figures, or the run
ends. The rows are made in a temporary folder: a key, a path, a number, a label, a score and a text.

    filter    rows of one label with a high score: how many, and the sum of a column
    diff      two tables without a file in common, of which 1 % of the rows changed and 0.5 % each went and came
    versions  the same changes as versions of one table, where files tell most of it; DuckDB reads two Parquet files

A part is a pair of functions, `ours_PART` and `duckdb_PART`: each takes the folder and gives figures.
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

BATCH = 1_000_000
WHERE = "label = 7 AND score > 0.9"


def write(folder: Path, num_rows: int) -> None:
    """Write both states of the rows as Lance tables, the second also as a version of the first, and as Parquet."""
    import lance
    import pyarrow as pa
    import pyarrow.parquet as pq

    from clipdata.lance_io import rows

    for name, changed in (("one", False), ("two", True)):
        batches = _batches(num_rows, changed=changed)
        schema = next(_batches(1, changed=False)).schema
        table = rows.create_table(folder / f"{name}.lance", schema)
        reader = pa.RecordBatchReader.from_batches(schema, batches)
        lance.write_dataset(reader, table.uri, mode="append", max_rows_per_file=BATCH)
        with pq.ParquetWriter(folder / f"{name}.parquet", schema) as writer:
            for batch in lance.dataset(table.uri).to_batches(batch_size=BATCH):
                writer.write_batch(batch)
    versions = lance.dataset(str(folder / "one.lance"))
    versions.delete("number % 200 = 9")
    versions.update({"score": "score + 1.0"}, where="number % 100 = 5")
    fresh = (batch for batch in _batches(num_rows, changed=True, only_fresh=True))
    lance.write_dataset(pa.RecordBatchReader.from_batches(versions.schema, fresh), versions.uri, mode="append")


def _batches(num_rows: int, *, changed: bool, only_fresh: bool = False):
    """The rows; changed ones lack one in 200, have another score in one of 100, and as many rows more as they lack."""
    import numpy as np
    import pyarrow as pa

    from clipdata.schema import key_field

    fields = [("path", pa.string()), ("number", pa.int64()), ("label", pa.int32()), ("score", pa.float64())]
    schema = pa.schema([key_field("id"), *(pa.field(*one) for one in fields), pa.field("text", pa.string())])
    stop = num_rows + (num_rows // 200 if changed else 0)
    for start in range(num_rows if only_fresh else 0, stop, BATCH):
        number_N = np.arange(start, min(start + BATCH, stop))
        if changed:
            number_N = number_N[(number_N % 200 != 9) | (number_N >= num_rows)]
        score_N = np.random.default_rng(start).random(BATCH)[number_N - start]
        if changed:
            score_N = score_N + ((number_N % 100 == 5) & (number_N < num_rows))
        label_N = (number_N * 2_654_435_761 % 1000 % 50).astype(np.int32)
        name_N = _digits(number_N, 9)
        columns = [
            _joined("q", name_N),
            _joined("pictures/", _digits(number_N // 1000, 5), "/", name_N, ".jpg"),
            pa.array(number_N),
            pa.array(label_N),
            pa.array(score_N),
            _joined("a text about ", _digits(number_N % 9973, 1)),
        ]
        yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _digits(number_N, width: int):
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.utf8_lpad(pa.array(number_N).cast(pa.string()), width, "0")


def _joined(*parts):
    import pyarrow.compute as pc

    return pc.binary_join_element_wise(*parts, "")


def ours_filter(folder: Path) -> list[float]:
    """Rows that meet a condition, by a scan of the table."""
    import pyarrow.compute as pc

    from clipdata import open_table

    num, total = 0, 0
    for batch in open_table(folder / "two.lance").scan(["id", "number"], where=WHERE, batch_rows=65_536):
        num, total = num + batch.num_rows, total + (pc.sum(batch.column("number")).as_py() or 0)
    return [num, total]


def duckdb_filter(folder: Path) -> list[float]:
    """The same rows from Parquet."""
    import pyarrow.compute as pc

    asked = f"select id, number from read_parquet('{folder / 'two.parquet'}') where {WHERE}"
    found = _duckdb(folder).sql(asked).to_arrow_table()
    return [found.num_rows, pc.sum(found.column("number")).as_py()]


def ours_diff(folder: Path) -> list[float]:
    """What two tables do not have in common."""
    from clipdata import diff

    # The first state of both: `write` changed the first table afterwards.
    return _figures(diff(folder / "one.lance", 2, other=folder / "two.lance"))


def ours_versions(folder: Path) -> list[float]:
    """What two versions of a table do not have in common."""
    from clipdata import diff

    return _figures(diff(folder / "one.lance", 2))


def _figures(found) -> list[float]:
    assert not found.columns, "both have the same columns"
    names = ("path", "number", "label", "score", "text")
    return [found.rows_added, found.rows_removed, found.rows_changed, *(found.values.get(name, 0) for name in names)]


def duckdb_diff(folder: Path) -> list[float]:
    """The same from two Parquet files, by a full join."""
    one, two = (f"read_parquet('{folder / name}.parquet')" for name in ("one", "two"))
    names = ("path", "number", "label", "score", "text")
    both = "a.id is not null and b.id is not null"
    differ = [f"{both} and a.{name} is distinct from b.{name}" for name in names]
    counts = ["a.id is null", "b.id is null", " or ".join(f"({one})" for one in differ), *differ]
    asked = ", ".join(f"count(*) filter ({one})" for one in counts)
    found = _duckdb(folder).execute(f"select {asked} from {one} a full join {two} b on a.id = b.id").fetchone()
    return list(found)


duckdb_versions = duckdb_diff


def _duckdb(folder: Path):
    import duckdb

    db = duckdb.connect()
    db.execute("set enable_progress_bar = false")
    db.execute(f"set temp_directory = '{folder}'")
    return db


def measure(maker: str, folder: Path) -> None:
    """Run one maker in this process and print its figures, seconds and peak memory as JSON."""
    began, computed = time.monotonic(), time.process_time()
    figures = [float(figure) for figure in globals()[maker](folder)]
    seconds, cpu_s = time.monotonic() - began, time.process_time() - computed
    # The peak of `getrusage` would be that of the process that started this one, which may have written the rows.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 2**20
    print(json.dumps({"figures": figures, "seconds": seconds, "cpu_s": cpu_s, "peak_gib": peak}))


def run(folder: Path, parts: list[str], repeats: int) -> None:
    """Measure the makers of each part in turns, and print what they took."""
    for part in parts:
        found: dict[str, list[dict]] = {f"{who}_{part}": [] for who in ("ours", "duckdb")}
        for _ in range(repeats):
            for maker, results in found.items():
                words = [sys.executable, __file__, "--measure", maker, "--folder", str(folder)]
                told = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, env=os.environ)
                results.append(json.loads(told.stdout.splitlines()[-1]))
        ours, theirs = found.values()
        assert ours[0]["figures"] == theirs[0]["figures"], (ours[0]["figures"], theirs[0]["figures"])
        taken = []
        for who, results in (("ours", ours), ("duckdb", theirs)):
            wall_s, cpu_s = (statistics.median(one[name] for one in results) for name in ("seconds", "cpu_s"))
            peak = max(one["peak_gib"] for one in results)
            taken.append((wall_s, cpu_s))
            print(f"{part:10} {who:8} {wall_s:8.2f} s, {cpu_s:8.2f} s of processors, {peak:5.2f} GiB", flush=True)
        ratios = [mine / other for mine, other in zip(*taken, strict=True)]
        told = [int(figure) for figure in ours[0]["figures"]]
        print(f"{part:10} ratio    {ratios[0]:8.2f}    {ratios[1]:8.2f}                   {told}", flush=True)


def main() -> None:
    """Make the rows where they are not there, and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--parts", default="filter,diff,versions")
    parser.add_argument("--folder", type=Path, help="where the rows are made for the time of the run")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        measure(asked.measure, asked.folder)
        return
    with tempfile.TemporaryDirectory(dir=asked.folder) as made:
        folder = Path(made)
        write(folder, asked.rows)
        run(folder, asked.parts.split(","), asked.repeats)


if __name__ == "__main__":
    main()
