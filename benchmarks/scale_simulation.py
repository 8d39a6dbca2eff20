"""What a table costs by its rows and by its fragments: open, plan, map, commit, compare, log, merge, compact.

    python benchmarks/scale_simulation.py [--layouts 1000000x100,1000000x1000,…] [--folder DIR] [--json FILE]

A layout is ROWSxFRAGMENTS. Rows are narrow (a key, a picture's name, three numbers), so that what is measured is what
grows with fragments and with rows, not bytes. Each layout is a process of its own; of each verb the seconds on the wall
and of the processors, and the peak of memory in it, imports left out.

    open      open_table and count
    plan      a dry run of map: what is pending, a handful of rows tried
    map       a column of one number a row: read, computed, a file a fragment, one commit
    again     the same map, which finds nothing to do
    compare   two scores over pictures of ten rows each
    log       the history
    merge     one picture for ten rows; the pictures lie in a tenth of the fragments
    compact   into fragments of a million rows
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

LAYOUTS = "1000000x100,1000000x1000,1000000x5000,10000000x100,10000000x1000,10000000x5000"
VERBS = ("open", "plan", "map", "again", "compare", "log", "merge", "compact")
BATCH = 1_000_000


def write(folder: Path, num_rows: int, num_fragments: int) -> None:
    """Write the metadata of `num_rows` rows, and the pictures of a tenth as many."""
    import lance
    import pyarrow as pa

    from clipdata.lance_io import rows
    from clipdata.schema import image_schema, key_field

    fields = [("filename", pa.string()), ("number", pa.int64()), ("score", pa.float32()), ("tuned", pa.float32())]
    schema = pa.schema([key_field("path"), *(pa.field(*one) for one in fields)])
    for uri, of_schema, num, parts, batches in (
        (folder / "meta.lance", schema, num_rows, num_fragments, _metadata),
        (folder / "images.lance", image_schema(), num_rows // 10, max(num_fragments // 10, 1), _pictures),
    ):
        table = rows.create_table(uri, of_schema)
        reader = pa.RecordBatchReader.from_batches(of_schema, batches(of_schema, num))
        lance.write_dataset(reader, table.uri, mode="append", max_rows_per_file=-(-num // parts))


def _metadata(schema, num_rows: int):
    import numpy as np
    import pyarrow as pa

    for start in range(0, num_rows, BATCH):
        number_N = np.arange(start, min(start + BATCH, num_rows))
        drawn_2N = np.random.default_rng(start).random((2, len(number_N)), np.float32)
        columns = [_named("q", number_N), _named("", number_N // 10, ".jpg"), pa.array(number_N)]
        yield pa.RecordBatch.from_arrays([*columns, pa.array(drawn_2N[0]), pa.array(drawn_2N[1])], schema=schema)


def _pictures(schema, num_rows: int):
    import numpy as np
    import pyarrow as pa

    for start in range(0, num_rows, BATCH):
        number_N = np.arange(start, min(start + BATCH, num_rows))
        names = _named("", number_N, ".jpg")
        found = {"path": names, "filename": names, "sha256": _named("s", number_N)}
        columns = [found.get(field.name, pa.nulls(len(number_N), field.type)).cast(field.type) for field in schema]
        yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _named(before: str, number_N, after: str = ""):
    import pyarrow as pa
    import pyarrow.compute as pc

    digits = pc.utf8_lpad(pa.array(number_N).cast(pa.string()), 9, "0")
    return pc.binary_join_element_wise(before, digits, after, "")


def verbs(folder: Path) -> dict[str, Callable[[], object]]:
    """Each verb as a function."""
    import clipdata as cd
    import ingest

    uri = folder / "meta.lance"

    @cd.step(reads="number", returns="int64", batch=True, version="1")
    def doubled(number):
        import pyarrow.compute as pc

        return pc.multiply(number, 2)

    return {
        "open": lambda: cd.open_table(uri).num_rows,
        "plan": lambda: cd.map_column(uri, doubled, "doubled", dry_run=True),
        "map": lambda: cd.map_column(uri, doubled, "doubled"),
        "again": lambda: cd.map_column(uri, doubled, "doubled"),
        "compare": lambda: cd.compare(uri, "score", "tuned", cluster="filename"),
        "log": lambda: cd.log(cd.open_table(uri)),
        "merge": lambda: ingest.merge(folder / "images.lance", uri, into=folder / "merged.lance"),
        "compact": lambda: cd.compact(uri),
    }


def measure(folder: Path, chosen: list[str]) -> None:
    """Print each verb's seconds and peak, a JSON line each."""
    every = verbs(folder)
    for name in chosen:
        Path("/proc/self/clear_refs").write_text("5")
        before, started_s = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
        try:
            every[name]()
            fault = None
        except Exception as error:  # told, and the next verb is measured
            fault = f"{type(error).__name__}: {error}"[:300]
        after = resource.getrusage(resource.RUSAGE_SELF)
        peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
        print(json.dumps({
            "verb": name, "wall_s": round(time.monotonic() - started_s, 2), "fault": fault,
            "cpu_s": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 2),
            "peak_mib": int(peak[1]) // 1024 if peak else None,
        }), flush=True)  # fmt: skip


def main() -> None:
    """Measure every layout and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layouts", default=LAYOUTS)
    parser.add_argument("--verbs", default=",".join(VERBS))
    parser.add_argument("--folder", type=Path, help="for the tables, by default a temporary one")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        num_rows, num_fragments = map(int, given.child.split("x"))
        write(given.folder, num_rows, num_fragments)
        measure(given.folder, given.verbs.split(","))
        return
    found = []
    print("| rows | fragments | verb | wall s | CPU s | peak MiB |\n|---|---|---|---|---|---|", flush=True)
    for layout in given.layouts.split(","):
        with tempfile.TemporaryDirectory(dir=given.folder) as folder:
            command = [sys.executable, __file__, "--child", layout, "--folder", folder, "--verbs", given.verbs]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
                assert child.stdout is not None
                for line in child.stdout:
                    one = json.loads(line)
                    found.append({"layout": layout, **one})
                    rows, fragments = (f"{int(part):,}" for part in layout.split("x"))
                    figures = one["fault"] or f"{one['wall_s']} | {one['cpu_s']} | {one['peak_mib']:,}"
                    print(f"| {rows} | {fragments} | {one['verb']} | {figures} |", flush=True)
            shutil.rmtree(folder, ignore_errors=True)
            Path(folder).mkdir()
        if given.json:
            given.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
