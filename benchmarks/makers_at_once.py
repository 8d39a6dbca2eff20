"""How often do several makers of one table at once overwrite each other? Lance's own way and `create_table`, in turns.

    python benchmarks/makers_at_once.py [--rounds 100]

Each round six threads make the same table and write two rows of their own as soon as they have it. A second version
that overwrites the first is a table made twice; rows that are missing in the end had been acknowledged.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lance
import pyarrow as pa

from clipdata.lance_io import rows
from clipdata.lance_io.faults import with_retries
from clipdata.lance_io.history import log
from clipdata.lance_io.table import Table, exists, open_table
from clipdata.schema import key_field

SCHEMA = pa.schema([key_field("path"), pa.field("etag", pa.string())])
NUM_MAKERS = 6
# Between the starts of two makers; those that lie further apart do not meet.
GAPS_S = (0.0, 0.0005, 0.001, 0.003)


def by_write_dataset(where: Path) -> Table:
    """Make the table as one would, again after a conflict."""

    def attempt() -> Table:
        if not exists(where):
            try:
                lance.write_dataset(SCHEMA.empty_table(), str(where), mode="create", enable_stable_row_ids=True)
            except (OSError, ValueError) as error:
                if "already exists" not in str(error):
                    raise
        return open_table(where)

    return with_retries(attempt)


def by_create_table(where: Path) -> Table:
    """Make the table as clipdata does."""
    return rows.create_table(where, SCHEMA)


def round_of(make: Callable[[Path], Table], where: Path, gap_s: float) -> tuple[bool, int]:
    """Whether the table was made more than once, and how many rows are missing."""

    def work(maker: int) -> None:
        time.sleep(gap_s * maker)
        keys = [f"{maker}-a", f"{maker}-b"]
        rows.upsert(make(where), pa.table({"path": keys, "etag": ["1", "1"]}))

    with ThreadPoolExecutor(NUM_MAKERS) as pool:
        list(pool.map(work, range(NUM_MAKERS)))
    made = sum(entry.operation == "Overwrite" for entry in log(where, all=True))
    return made > 1, 2 * NUM_MAKERS - open_table(where).num_rows


def main() -> None:
    """Print the counts of both."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--rounds", type=int, default=100)
    given = words.parse_args()
    sides = {"write_dataset(mode='create')": by_write_dataset, "create_table": by_create_table}
    found: dict[str, list[tuple[bool, int]]] = {side: [] for side in sides}
    with tempfile.TemporaryDirectory() as name:
        for number in range(given.rounds):
            for side, make in sides.items():
                where = Path(name) / f"{number}-{make.__name__}.lance"
                found[side].append(round_of(make, where, GAPS_S[number % len(GAPS_S)]))
    for side, outcomes in found.items():
        twice, losses = sum(made for made, _ in outcomes), sum(lost > 0 for _, lost in outcomes)
        missing = sum(lost for _, lost in outcomes)
        print(f"{side:29} {twice} of {given.rounds} tables made twice, {losses} lost rows ({missing} in all)")


if __name__ == "__main__":
    main()
