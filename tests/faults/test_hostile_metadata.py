"""All kinds of strange metadata are taken in at once: of each file the rows that can be read, and why not more."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

import pytest

import clipdata as cd
import ingest
from clipdata.lance_io.refused import rejects_uri
from tests.faults.metadata_kinds import Kind, texts
from tests.faults.parquet_kinds import parquets
from tests.memory_peak import peak

TEXTS, PARQUETS = texts(), parquets()
ALLOWED_MB = 900


@dataclass(frozen=True)
class Taken:
    """What became of the files, by their names."""

    table: cd.Table
    num_kept: Mapping[str, int]
    refused: Mapping[str, Counter[str]]
    details: Mapping[str, list[str]]
    grown_mb: float


@pytest.fixture(scope="module")
def take(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Mapping[str, Kind]], Taken]:
    def taken(kinds: Mapping[str, Kind]) -> Taken:
        folder = tmp_path_factory.mktemp("metadata")
        (folder / "in").mkdir()
        for kind in kinds.values():
            (folder / "in" / kind.file).write_bytes(kind.data)
        with peak() as grown:
            done = ingest.from_parquet(folder / "in", into=folder / "t.lance")
        sources = done.table.to_table(["source"])["source"].to_pylist()
        refused: dict[str, Counter[str]] = {}
        details: dict[str, list[str]] = {}
        for row in cd.open_table(rejects_uri(done.table.uri)).to_table().to_pylist():
            file = row["path"].partition("#")[0]
            refused.setdefault(file, Counter())[row["reason"]] += 1
            details.setdefault(file, []).append(row["detail"])
        return Taken(done.table, Counter(PurePosixPath(source).name for source in sources), refused, details, grown.mb)

    return taken


@pytest.fixture(scope="module")
def text_files(take: Callable[[Mapping[str, Kind]], Taken]) -> Taken:
    return take(TEXTS)


@pytest.fixture(scope="module")
def parquet_files(take: Callable[[Mapping[str, Kind]], Taken]) -> Taken:
    return take(PARQUETS)


@pytest.mark.parametrize("name", TEXTS)
def test_of_a_strange_text_the_rows_that_can_be_read_are_kept(text_files: Taken, name: str) -> None:
    hold(text_files, TEXTS[name])


@pytest.mark.parametrize("name", PARQUETS)
def test_of_a_strange_parquet_file_the_rows_that_can_be_read_are_kept(parquet_files: Taken, name: str) -> None:
    hold(parquet_files, PARQUETS[name])


def hold(taken: Taken, kind: Kind) -> None:
    details = taken.details.get(kind.file, [])
    found = (taken.num_kept.get(kind.file, 0), dict(taken.refused.get(kind.file, {})))
    assert found == (kind.num_kept, dict(kind.refused)), details
    assert all(len(detail) > 10 for detail in details), "a refusal says what was found"
    assert not any("Traceback" in detail for detail in details)


def test_values_of_any_kind_stay(text_files: Taken) -> None:
    read = text_files.table.to_table(["filename", "v", "json", "source"]).to_pylist()
    of_values = [row for row in read if row["source"].startswith("v0") and row["filename"] == "b"]
    kept = [row["v"] if row["v"] is not None else json.loads(row["json"])["v"] for row in of_values]

    assert len(kept) == 8
    assert any(value == "NaN" or (isinstance(value, float) and math.isnan(value)) for value in kept)
    assert str(2**64) in map(str, kept)


def test_both_folders_cost_a_bounded_memory(text_files: Taken, parquet_files: Taken) -> None:
    assert text_files.grown_mb + parquet_files.grown_mb < ALLOWED_MB
    assert len(TEXTS) + len(PARQUETS) >= 120
