"""Damaged input is read or refused in the reader's own words; `benchmarks/fuzz.py` tries far more."""

from __future__ import annotations

import random

import pytest

from clipdata.errors import ClipdataError
from tests.faults.fuzzing import Target, fuzz, mutated, targets
from tests.tables import number_table

SEED = 1
NUM_RUNS = 150
MANY = {"training config": 100, "model config": 100, "training arguments": 100}
DEAR = {"conditions": 40, "command line": 40, "parquet": 80}
NAMES = (
    "pictures, checked", "pictures, decoded", "tar shards", "CSV", "TSV", "packed CSV", "JSON lines", "parquet",
    "training config", "model config", "training arguments", "conditions", "command line",
)  # fmt: skip


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Target]:
    folder = tmp_path_factory.mktemp("fuzz")
    return {target.name: target for target in targets(folder, number_table(folder))}


@pytest.mark.parametrize("name", NAMES)
def test_damaged_input_is_read_or_refused(readers: dict[str, Target], name: str) -> None:
    assert list(fuzz(readers[name], num_runs=DEAR.get(name, NUM_RUNS), seed=SEED)) == []


def test_every_reader_is_tried(readers: dict[str, Target]) -> None:
    assert tuple(readers) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_reader_reads_on_behind_its_first_look(readers: dict[str, Target], name: str) -> None:
    """Or damage behind the first thing that is wrong would never be met."""
    target, random_ = readers[name], random.Random(SEED)
    refusals, num_read = [], 0
    for data in [*target.seeds, *(mutated(random_, target) for _ in range(MANY.get(name, 20)))]:
        try:
            target.read(data)
            num_read += 1
        except target.refusals as error:
            refusals.append(str(error))

    assert num_read > 1
    assert refusals or name == "command line"  # which says a refusal by its exit code
    assert max(map(len, refusals), default=0) < 2000, "a text of the input stands whole in a message"


def test_what_a_reader_may_not_raise_is_found() -> None:
    def read(data: bytes) -> None:
        if b"\xff" in data:
            raise IndexError("out of range")
        raise ClipdataError("no")

    target = Target("planted", [b"abc", b"abcdefgh"], read)
    found = list(fuzz(target, num_runs=200, seed=SEED))

    assert found
    assert all(one.error == "IndexError: out of range" and b"\xff" in one.data for one in found)


def test_a_seed_makes_the_same_inputs() -> None:
    target = Target("any", [b"abc" * 30], lambda data: None)
    first, again = random.Random(3), random.Random(3)

    assert [mutated(first, target) for _ in range(50)] == [mutated(again, target) for _ in range(50)]
