"""Half a million concepts looked up in a million captions: CPU seconds and memory of `concept-balance`.

    python benchmarks/concept_balance.py --rows 1000000 --concepts 500000

Captions are drawn: 4 to 16 words each, of a vocabulary of 200,000 whose frequencies fall off as Zipf's law has it;
concepts are words of it, and pairs and triples of them.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa

import clipdata as cd

_VOCABULARY = 200_000
_BATCH = 50_000


def captions(num_rows: int, rng: np.random.Generator) -> Iterator[pa.RecordBatch]:
    """Drawn captions and what tells rows apart."""
    for start in range(0, num_rows, _BATCH):
        lengths = rng.integers(4, 17, min(_BATCH, num_rows - start))
        words = (rng.zipf(1.2, lengths.sum()) - 1) % _VOCABULARY
        parts = np.split(words, lengths.cumsum()[:-1])
        texts = [" ".join(f"w{word}" for word in part) for part in parts]
        keys = [f"{start + row:08d}" for row in range(len(texts))]
        yield pa.record_batch({"sha256": keys, "caption": texts})


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--rows", type=int, default=1_000_000)
    asked.add_argument("--concepts", type=int, default=500_000)
    given = asked.parse_args()
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        first = next(captions(1, rng))
        reader = pa.RecordBatchReader.from_batches(first.schema, captions(given.rows, rng))
        lance.write_dataset(reader, f"{folder}/t.lance")
        lance.write_dataset(first.schema.empty_table(), f"{folder}/none.lance")
        sizes = rng.integers(1, 4, given.concepts)
        listed = (" ".join(f"w{word}" for word in rng.integers(0, _VOCABULARY, size)) for size in sizes)
        Path(folder, "concepts.txt").write_text("\n".join(listed))
        before_mb = _peak_mb()
        started_s = time.process_time()
        cd.steps.ConceptBalance(f"{folder}/none.lance", Path(folder, "concepts.txt"))
        listed_s = time.process_time()
        step = cd.steps.ConceptBalance(f"{folder}/t.lance", Path(folder, "concepts.txt"))
        counted_s = time.process_time()
        done = cd.map_column(f"{folder}/t.lance", step, "balance")
        ended_s = time.process_time()
    print(done)
    print(
        f"{given.rows:,} captions, {given.concepts:,} concepts; CPU seconds: listed {listed_s - started_s:.1f}, "
        f"listed again and captions counted {counted_s - listed_s:.1f}, judged {ended_s - counted_s:.1f}; "
        f"peak {_peak_mb():,.0f} MB, {before_mb:,.0f} MB of it before"
    )


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
