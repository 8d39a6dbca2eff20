"""Recall and time of a search by index beside reading every row; after appends, deletes and compaction.

    python benchmarks/search_recall.py                       100,000 vectors of 512, the default kind
    python benchmarks/search_recall.py --kinds IVF_RQ,IVF_SQ,IVF_HNSW_SQ,IVF_PQ

Vectors are drawn around 1,000 centres (spread 1.0 an axis, as wide as the centres themselves), made unit length; the
queries are the table's own rows, as `clipdata index --check` takes them. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import clipdata as cd
from clipdata.lance_io import rows
from clipdata.schema import key_field

AT_ONCE = 10_000


def vectors(seed: int, num: int, size: int, centres: int) -> Iterator[np.ndarray]:
    """Unit vectors around centres, float32, some at a time."""
    centre_CD = np.random.default_rng(0).normal(size=(centres, size)).astype(np.float32)
    rng = np.random.default_rng(seed)
    for start in range(0, num, AT_ONCE):
        count = min(AT_ONCE, num - start)
        vector_ND = centre_CD[rng.integers(0, centres, count)] + rng.normal(size=(count, size)).astype(np.float32)
        yield vector_ND / np.linalg.norm(vector_ND, axis=1, keepdims=True)


def add(table: cd.Table, first: int, seed: int, num: int, size: int, centres: int) -> None:
    """Append rows."""
    for vector_ND in vectors(seed, num, size, centres):
        keys = [f"{n:09d}" for n in range(first, first + len(vector_ND))]
        held = pa.FixedSizeListArray.from_arrays(pa.array(vector_ND.reshape(-1)), size)
        rows.upsert(table, pa.table({"path": keys, "vector": held}))
        first += len(vector_ND)


def step(uri: Path, **given: Any) -> dict[str, Any]:
    """What `index` did, and what it measured."""
    done = cd.index(uri, "vector", **given)
    measured = done.measured
    assert measured is not None
    return {
        "did": done.did, "kind": done.kind, "rows": done.covered + done.outside, "outside": done.outside,
        "seconds": round(done.seconds, 2), "recall@10": round(measured.recall, 4),
        "index_ms": round(measured.index_ms, 1), "exact_ms": round(measured.exact_ms, 1),
    }  # fmt: skip


def main() -> None:
    """Make the table, and measure each kind before and after what happens to tables."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--rows", type=int, default=100_000)
    asked.add_argument("--size", type=int, default=512)
    asked.add_argument("--centres", type=int, default=1000)
    asked.add_argument("--queries", type=int, default=100)
    asked.add_argument("--kinds", default="", help="compare these first, with commas between")
    given = asked.parse_args()
    found: dict[str, Any] = {"rows": given.rows, "size": given.size, "centres": given.centres}
    with tempfile.TemporaryDirectory() as folder:
        uri = Path(folder) / "t.lance"
        schema = pa.schema([key_field("path"), pa.field("vector", pa.list_(pa.float32(), given.size))])
        table = rows.create_table(uri, schema)
        began = time.perf_counter()
        add(table, 0, 1, given.rows, given.size, given.centres)
        found["written_s"] = round(time.perf_counter() - began, 1)
        for kind in filter(None, given.kinds.split(",")):
            found[kind] = step(uri, kind=kind, queries=given.queries)
            print(json.dumps({kind: found[kind]}), flush=True)
        default = {"remake": True} if given.kinds else {}
        found["default"] = step(uri, queries=given.queries, **default)
        add(table, given.rows, 2, given.rows // 10, given.size, given.centres)
        found["appended, before"] = step(uri, queries=given.queries, check=True)
        found["appended, after"] = step(uri, queries=given.queries)
        cd.open_table(uri).dataset.delete("path LIKE '%7'")
        found["deleted"] = step(uri, queries=given.queries, check=True)
        cd.open_table(uri).dataset.optimize.compact_files()
        found["compacted"] = step(uri, queries=given.queries, check=True)
        found["compacted, after"] = step(uri, queries=given.queries)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
