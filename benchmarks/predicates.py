"""Random conditions through `where`, DuckDB and pyarrow: how many agree.

python benchmarks/predicates.py [--conditions 5000] [--seed 0]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import duckdb
import pyarrow.compute as pc

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.predicates import KNOWN, Conditions, awkward_table


def main() -> int:
    """Print each condition that is judged in more than one way; return 1 when there is one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--conditions", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    began_s, num_wrong, conditions = time.monotonic(), 0, Conditions(given.seed)
    with tempfile.TemporaryDirectory() as name:
        table, held = awkward_table(Path(name))
        for number in range(given.conditions):
            condition = conditions.next()
            where = condition.lance
            lance = [table.count_rows(one) for one in (where, f"NOT ({where})", f"({where}) IS NULL")]
            by_duckdb = duckdb.sql(
                "SELECT count(*) FILTER (p), count(*) FILTER (NOT p), count(*) FILTER (p IS NULL) "
                f"FROM (SELECT ({condition.duckdb}) AS p FROM held)"
            ).fetchall()[0]
            judged = condition.arrow(held)
            by_arrow = [pc.sum(judged).as_py() or 0, pc.sum(pc.invert(judged)).as_py() or 0, judged.null_count]
            if not (sum(lance) == held.num_rows and lance == list(by_duckdb) == by_arrow):
                num_wrong += 1
                print(f"{number}: {where}\n   where {lance}, DuckDB {by_duckdb}, pyarrow {by_arrow}")
    for name, reason in KNOWN.items():
        print(f"known difference: {name}: {reason}")
    seconds = time.monotonic() - began_s
    print(
        f"{given.conditions} conditions (seed {given.seed}), {num_wrong} judged in more than one way, {seconds:.0f} s"
    )
    return int(num_wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
