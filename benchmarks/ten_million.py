"""Time and peak memory of verbs on ten million narrow rows, beside DuckDB on Parquet doing the same, in one run.

    python benchmarks/ten_million.py [--rows 10000000] [--repeats 3] [--parts filter,stats,compare,diff,versions]

Each figure is of a process of its own; the median of the repeats, in turns, and the ratio to DuckDB, also in time of
the processors, which is what counts where others are at work on the machine. Both give the same figures, or the run
ends. The rows are made in a temporary folder (`--folder` names where): a key, the path of a picture that ten rows show,
a number, a label, a score, the score of a tuned model, and a text.

    filter    the threshold of the top 30 %, and how many rows each of three filters leaves, alone and one after another
    stats     nulls, means, extremes, quantiles and distinct values of all columns; DuckDB's SUMMARIZE tells less
    compare   both scores: means, rows up and down, the worst and best, the bootstrap interval over pictures
    diff      two tables without a file in common, of which 1 % of the rows changed and 0.5 % each went and came
    versions  the same changes as versions of one table, where files tell most of it; DuckDB reads two Parquet files

A part is a pair of functions, `ours_PART` and `duckdb_PART`: each takes the folder and gives figures.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BATCH = 1_000_000
ROWS_A_PICTURE = 10
CONDITIONS = ("label < 40", "number % 7 <> 3")
RESAMPLES = 2000
NAMES = ("path", "number", "label", "score", "tuned", "text")


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
    fields += [("tuned", pa.float64()), ("text", pa.string())]
    schema = pa.schema([key_field("id"), *(pa.field(*one) for one in fields)])
    stop = num_rows + (num_rows // 200 if changed else 0)
    for start in range(num_rows if only_fresh else 0, stop, BATCH):
        number_N = np.arange(start, min(start + BATCH, stop))
        if changed:
            number_N = number_N[(number_N % 200 != 9) | (number_N >= num_rows)]
        drawn_2N = np.random.default_rng(start).random((2, BATCH))[:, number_N - start]
        score_N, tuned_N = drawn_2N[0], drawn_2N[0] + 0.1 * (drawn_2N[1] - 0.4)
        if changed:
            score_N = score_N + ((number_N % 100 == 5) & (number_N < num_rows))
        label_N = (number_N * 2_654_435_761 % 1000 % 50).astype(np.int32)
        picture_N = number_N // ROWS_A_PICTURE
        columns = [
            _joined("q", _digits(number_N, 9)),
            _joined("pictures/", _digits(picture_N // 1000, 5), "/", _digits(picture_N, 9), ".jpg"),
            pa.array(number_N),
            pa.array(label_N),
            pa.array(score_N),
            pa.array(tuned_N),
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
    """By `clipdata.filters`."""
    from clipdata import filters

    top = filters.top_share(folder / "two.lance", "score", 0.3)
    found = filters.funnel(folder / "two.lance", [top, *CONDITIONS])
    return [top.figures["threshold"], *(count for one in found.stages for count in (one.alone, one.after))]


def duckdb_filter(folder: Path) -> list[float]:
    """The same in two queries."""
    source, db = f"read_parquet('{folder / 'two.parquet'}')", _duckdb(folder)
    (ranked,) = db.execute(f"select count(score) from {source}").fetchone()
    wanted = math.floor(0.3 * ranked + 0.5)
    (threshold,) = db.execute(
        f"select quantile_disc(score, {(ranked - wanted + 0.5) / ranked}) from {source}"
    ).fetchone()
    conditions = [f"score >= {threshold!r}", *CONDITIONS]
    counted = ", ".join(
        f"count(*) filter ({one}), count(*) filter ({' and '.join(conditions[: place + 1])})"
        for place, one in enumerate(conditions)
    )
    return [threshold, *db.execute(f"select {counted} from {source}").fetchone()]


def ours_stats(folder: Path) -> list[float]:
    """By `stats`, which also makes histograms, most common values and lengths of texts."""
    import clipdata as cd

    score = cd.stats(folder / "two.lance").column("score").numbers
    return [score.mean, score.quantiles["0"], score.quantiles["1"]]


def duckdb_stats(folder: Path) -> list[float]:
    """By SUMMARIZE."""
    asked = f"select * from (summarize from read_parquet('{folder / 'two.parquet'}'))"
    (score,) = [row for row in _duckdb(folder).execute(asked).fetchall() if row[0] == "score"]
    return [float(score[5]), float(score[2]), float(score[3])]


def ours_compare(folder: Path) -> list[float]:
    """By `compare`."""
    from clipdata import compare

    found = compare(folder / "two.lance", "score", "tuned", resamples=RESAMPLES)
    return [found.mean.before, found.mean.after, found.num_wins, found.num_losses]


def duckdb_compare(folder: Path) -> list[float]:
    """The same from Parquet, and our bootstrap of the sums over pictures."""
    import numpy as np
    from compare_large import interval

    source, db = f"read_parquet('{folder / 'two.parquet'}')", _duckdb(folder)
    figures = db.execute(
        "select avg(score), avg(tuned), count(*) filter (tuned - score > 1e-6), "
        f"count(*) filter (tuned - score < -1e-6) from {source}"
    ).fetchone()
    for order in ("asc", "desc"):
        assert db.execute(f"select id, path from {source} order by tuned - score {order} limit 5").fetchall()
    sums = db.execute(f"select count(*)::double n, sum(score) x, sum(tuned) y from {source} group by path").fetchnumpy()
    assert interval(*(np.asarray(sums[name]) for name in "nxy"))
    return list(figures)


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
    return [found.rows_added, found.rows_removed, found.rows_changed, *(found.values.get(name, 0) for name in NAMES)]


def duckdb_diff(folder: Path) -> list[float]:
    """The same from two Parquet files, by a full join."""
    one, two = (f"read_parquet('{folder / name}.parquet')" for name in ("one", "two"))
    both = "a.id is not null and b.id is not null"
    differ = [f"{both} and a.{name} is distinct from b.{name}" for name in NAMES]
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
        both = [mine["figures"] for mine in (ours[0], theirs[0])]
        assert all(math.isclose(*pair, rel_tol=1e-6) for pair in zip(*both, strict=True)), both
        taken = []
        for who, results in (("ours", ours), ("duckdb", theirs)):
            wall_s, cpu_s = (statistics.median(one[name] for one in results) for name in ("seconds", "cpu_s"))
            peak = max(one["peak_gib"] for one in results)
            taken.append((wall_s, cpu_s))
            print(f"{part:10} {who:8} {wall_s:8.2f} s, {cpu_s:8.2f} s of processors, {peak:5.2f} GiB", flush=True)
        ratios = [mine / other for mine, other in zip(*taken, strict=True)]
        told = [f"{figure:.6g}" for figure in ours[0]["figures"]]
        print(
            f"{part:10} ratio    {ratios[0]:8.2f}    {ratios[1]:8.2f}                   {', '.join(told)}", flush=True
        )


def main() -> None:
    """Make the rows where they are not there, and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--parts", default="filter,stats,compare,diff,versions")
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
