"""What processes that write at once, lose answers and die leave of one table is explained by what they were told.

`benchmarks/history.py` does it with 10,000 operations, and on object stores with faults.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.history_actors import MIXES
from tests.faults.history_bugs import BUGS
from tests.faults.history_check import anomalies
from tests.faults.history_run import run

SEED = 1
_WRITES = {"write": 4, "change": 3}
NUM_OPERATIONS = {"all": 702, "replaced": 300}  # of three processes
# What calls show a bug soonest, and the beginning of what the checker says.
PLANTED: dict[str, tuple[dict[str, int], str]] = {
    "the primary key is not declared": ({"shared": 1}, "doubled"),
    "a commit does not look for its own id": ({"write": 2, "restore": 2, "compact": 2}, "landed twice"),
    "values are put beside the rows of another fragment": ({**_WRITES, "map": 4}, "wrong cell"),
    "a map computes from the version in which it first saw a row": ({**_WRITES, "map": 4}, "wrong cell"),
    "a write is told before it is made": (_WRITES, "lost"),
    "a write that lost its answer is made again blindly": ({"write": 1}, "doubled"),
    "a write that was refused is made all the same": (_WRITES, "unexplained"),
    "a changed row keeps what was made of the old one": ({**_WRITES, "map": 3}, "wrong cell"),
    "a delete leaves a row": ({**_WRITES, "delete": 3}, "lost"),
    "a delete takes another row along": ({**_WRITES, "delete": 3}, "unexplained"),
    "a restore comes back to the version before the one that was asked for": ({**_WRITES, "restore": 3}, "restored"),
    "a compaction forgets a fragment": ({**_WRITES, "compact": 3}, "unexplained"),
    "a tag names the newest version instead": ({**_WRITES, "tag": 3}, "tag"),
}


@pytest.mark.slow
@pytest.mark.parametrize("mix", MIXES)
def test_a_history_of_writers_that_are_killed_has_no_anomaly(tmp_path: Path, mix: str) -> None:
    done = run(tmp_path, num_operations=NUM_OPERATIONS[mix], seed=SEED, kill=0.02, kinds=MIXES[mix])

    assert anomalies(done.history) == [], f"seed {SEED}: {done}"
    assert len(done.history.operations) >= NUM_OPERATIONS[mix]
    assert done.num_killed > 0


def test_every_planted_bug_is_in_the_table() -> None:
    assert set(PLANTED) == set(BUGS)


@pytest.mark.slow
@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_is_found(tmp_path: Path, bug: str) -> None:
    kinds, expected = PLANTED[bug]
    meets = "primary key" in bug  # it takes two that write the same at once

    done = run(
        tmp_path, num_operations=24, seed=SEED, num_processes=3 if meets else 1, kill=0, bug=bug,
        lose=0.6 if "own id" in bug else 0, kinds=kinds, meets=meets,
    )  # fmt: skip

    found = anomalies(done.history)
    assert any(one.startswith(expected) for one in found), f"{done}: {found[:5]}"
