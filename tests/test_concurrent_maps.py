"""Several processes map one table at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from clipdata.lance_io.table import open_table
from tests.tables import number_table

WORKER = """
import sys, time
from dataclasses import replace
import clipdata as cd
from clipdata.engines.local import LocalEngine

uri, version, offset = sys.argv[1], sys.argv[2], int(sys.argv[3])

class Often(LocalEngine):
    def run(self, tasks, counter):
        return super().run((replace(task, checkpoint_every_s=0.02) for task in tasks), counter)

@cd.step(reads="number", returns="int64", version=version)
def plus(number):
    time.sleep(0.001)
    return number + offset

try:
    print("done", cd.map_column(cd.open_table(uri), plus, "made", batch_rows=16, engine=Often()).computed)
except cd.ClipdataError as error:
    print(type(error).__name__)
"""


def race(uri: str, offsets: list[int]) -> list[str]:
    """Start one process for each offset, at once, and return what each printed last."""
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, uri, str(offset), str(offset)], stdout=subprocess.PIPE, text=True
        )
        for offset in offsets
    ]
    return [worker.communicate(timeout=300)[0].strip().splitlines()[-1] for worker in workers]


@pytest.mark.slow
def test_processes_that_fill_one_column_with_one_step_share_the_work(tmp_path: Path) -> None:
    table = number_table(tmp_path, 600, rows_per_write=100)

    said = race(str(table.uri), [100, 100, 100])

    assert all(line.startswith("done") for line in said), said
    newest = open_table(table.uri)
    assert newest.count_rows("made = number + 100") == 600
    assert sum(int(line.split()[1]) for line in said) <= 600


@pytest.mark.slow
def test_of_processes_that_fill_one_column_with_different_steps_one_wins_whole(tmp_path: Path) -> None:
    for round_number in range(3):
        table = number_table(tmp_path / str(round_number), 240, rows_per_write=60)

        said = race(str(table.uri), [100, 900])

        newest = open_table(table.uri)
        lineage = newest.lineage("made")
        assert lineage is not None
        assert newest.count_rows(f"made = number + {lineage.step_version}") == 240
        assert sorted(line.split()[0] for line in said) in (
            ["LineageMismatchError", "done"],
            ["ConcurrentChangeError", "done"],
        )
