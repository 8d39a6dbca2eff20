"""A million rows deduplicated by perceptual hash and by embedding: seconds, peak memory, precision and recall.

    python benchmarks/deduplicate.py [--rows 1000000] [--size 512] [--copies 0.1] [--only hash|embedding] [--folder DIR]

Rows are synthetic, with planted copies: of a hash with up to 6 bits flipped, of a vector with noise to a cosine
of 0.955 to 0.995. Hashes are uniform. Vectors lie around 2,000 concepts, as embeddings of pictures do: two of one
concept have a cosine of about a half. Each part runs in a process of its own, on two threads: the step is made (which
reads the table and finds the clusters), the column is written, then as many rows again as one in a hundred are added
and the column is brought up to date.

Wanted of a million rows on 2 cores: less than 5 minutes and 4 GB each.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

BATCH = 50_000
FLIPPED, CONCEPTS = 6, 2000
COLUMN = {"hash": "near_duplicates", "embedding": "embedding_duplicates"}


def originals(num: int, num_copies: int, rng: np.random.Generator) -> np.ndarray:
    """int64 [num], the row that each row is a copy of; of itself where it is none."""
    of = np.arange(num)
    copies = rng.choice(num, num_copies, replace=False)
    is_copy = np.zeros(num, bool)
    is_copy[copies] = True
    of[copies] = rng.choice(np.flatnonzero(~is_copy), num_copies)
    return of


def hashes(of: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """uint64 [N], with up to 6 bits of each copy flipped."""
    found = rng.integers(0, 2**64, len(of), dtype=np.uint64)[of]
    copies = np.flatnonzero(of != np.arange(len(of)))
    for turn in range(FLIPPED):  # the same bit may be flipped back
        chosen = copies[rng.random(len(copies)) < (turn + 1) / FLIPPED]
        found[chosen] ^= np.uint64(1) << rng.integers(0, 64, len(chosen)).astype(np.uint64)
    return found


class Vectors:
    """Vectors of all rows: around 2,000 concepts, and of each copy with noise to a cosine of 0.955 to 0.995."""

    def __init__(self, of: np.ndarray, size: int) -> None:
        self._of, self._size = of, size
        concept_CD = self._noise(np.random.default_rng(7), CONCEPTS)
        self._base_ND = np.empty((len(of), size), np.float16)
        for start in range(0, len(of), BATCH):
            num = min(BATCH, len(of) - start)
            rng = np.random.default_rng([1, start])
            self._base_ND[start : start + num] = concept_CD[rng.integers(CONCEPTS, size=num)] + self._noise(rng, num)

    def of(self, rows: np.ndarray) -> np.ndarray:
        """float32 [B, D]."""
        found = self._base_ND[self._of[rows]].astype(np.float32)
        copies = np.flatnonzero(self._of[rows] != rows)
        rng = np.random.default_rng([2, int(rows[0])])
        noise = self._noise(rng, len(copies))
        away = np.tan(np.arccos(rng.uniform(0.955, 0.995, len(copies)))) * np.linalg.norm(found[copies], axis=1)
        found[copies] += (away / np.linalg.norm(noise, axis=1))[:, None].astype(np.float32) * noise
        return found

    def _noise(self, rng: np.random.Generator, num: int) -> np.ndarray:
        return rng.standard_normal((num, self._size), np.float32) / np.float32(np.sqrt(self._size))


def write(folder: Path, kind: str, of: np.ndarray, num_rows: int, size: int) -> None:
    """Write the table, and beside it the rows that are added later."""
    import lance
    import pyarrow as pa

    from clipdata.schema import key_field
    from clipdata.steps.hash_texts import hash_texts

    if kind == "hash":
        column = pa.field("perceptual_hash", pa.string())
        hash_N = hashes(of, np.random.default_rng(3))
    else:
        column = pa.field("image_embedding", pa.list_(pa.float32(), size))
        vectors = Vectors(of, size)
    schema = pa.schema([key_field("id"), column])

    def batches(first: int, end: int):
        for start in range(first, end, BATCH):
            rows = np.arange(start, min(start + BATCH, end))
            if kind == "hash":
                values = hash_texts(hash_N[rows][:, None])
            else:
                values = pa.FixedSizeListArray.from_arrays(pa.array(vectors.of(rows).reshape(-1)), size)
            keys = pa.array([f"{row:09d}" for row in rows.tolist()])
            yield pa.RecordBatch.from_arrays([keys, values], schema=schema)

    for name, first, end in ((kind, 0, num_rows), (f"{kind}-added", num_rows, len(of))):
        reader = pa.RecordBatchReader.from_batches(schema, batches(first, end))
        lance.write_dataset(reader, str(folder / f"{name}.lance"))


def judged(table, column: str, of: np.ndarray) -> dict[str, float]:
    """Recall: copies in the cluster of their original. Precision: of pairs in a cluster that are of one original."""
    read = table.to_table(["id", column])
    row_N = np.array(read.column("id").to_pylist(), np.int64)
    cluster_N = read.column(column).combine_chunks().dictionary_encode().indices.to_numpy()
    cluster_of = np.full(len(of), -1, np.int64)
    cluster_of[row_N] = cluster_N
    copies = row_N[of[row_N] != row_N]
    copies = copies[cluster_of[of[copies]] >= 0]  # whose original is in the table

    def pairs(labels: np.ndarray) -> int:
        counts = np.unique(labels, return_counts=True)[1]
        return int((counts * (counts - 1) // 2).sum())

    together = pairs(cluster_N)
    right = pairs(cluster_N.astype(np.int64) * len(of) + of[row_N])
    return {
        "recall": float((cluster_of[copies] == cluster_of[of[copies]]).mean()),
        "precision": right / max(together, 1),
    }


def measure(kind: str, folder: Path, num_rows: int, num_copies: int) -> None:
    """Deduplicate in this process and print what it took as JSON."""
    import lance

    import clipdata as cd

    of = originals(num_rows + num_rows // 100, num_copies, np.random.default_rng(0))
    step_class = {"hash": cd.steps.NearDuplicates, "embedding": cd.steps.EmbeddingDuplicates}[kind]
    table = cd.open_table(folder / f"{kind}.lance")
    seconds, cpu_s = {}, {}
    for name in ("all", "one in a hundred added"):
        if name != "all":
            added = lance.dataset(str(folder / f"{kind}-added.lance")).scanner().to_reader()
            lance.write_dataset(added, str(folder / f"{kind}.lance"), mode="append")
        began, cpu = time.monotonic(), time.process_time()
        done = cd.map_column(table, step_class(table), COLUMN[kind])
        seconds[name], cpu_s[name] = time.monotonic() - began, time.process_time() - cpu
        if name == "all":
            status = Path("/proc/self/status").read_text(encoding="ascii")
            peak = int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 2**20
    notes = dict(done.notes)
    print(
        json.dumps(
            {"seconds": seconds, "cpu_s": cpu_s, "peak_gib": peak, "notes": notes, **judged(table, COLUMN[kind], of)}
        )
    )


def main() -> None:
    """Write the rows, measure each part in a process of its own, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--copies", type=float, default=0.1)
    parser.add_argument("--only", choices=sorted(COLUMN))
    parser.add_argument("--folder", type=Path, help="where to write the rows; a temporary folder by default")
    parser.add_argument("--measure", choices=sorted(COLUMN), help=argparse.SUPPRESS)
    options = parser.parse_args()
    num_copies = int(options.copies * options.rows)
    if options.measure:
        measure(options.measure, options.folder, options.rows, num_copies)
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        for kind in [options.only] if options.only else list(COLUMN):
            of = originals(options.rows + options.rows // 100, num_copies, np.random.default_rng(0))
            write(Path(temporary), kind, of, options.rows, options.size)
            words = [f"--{name}={getattr(options, name)}" for name in ("rows", "size", "copies")]
            command = [sys.executable, __file__, f"--measure={kind}", f"--folder={temporary}", *words]
            environment = {**os.environ, "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
            printed = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
            found = json.loads(printed.splitlines()[-1])
            times = ", ".join(
                f"{name} {value:.1f} s ({found['cpu_s'][name]:.1f} s of CPU)"
                for name, value in found["seconds"].items()
            )
            print(
                f"{kind:<9} {options.rows:,} rows: {times}; peak {found['peak_gib']:.2f} GiB; "
                f"recall {found['recall']:.4f}, precision {found['precision']:.4f}; {found['notes']}",
                flush=True,
            )


if __name__ == "__main__":
    main()
