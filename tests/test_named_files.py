"""Which files no version names is found without reading more versions than it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lance
import pytest

import clipdata as cd
from clipdata.lance_io.named_files import named_at, unnamed_by_versions
from clipdata.lance_io.version_numbers import version_numbers
from tests.damaging import manifest
from tests.tables import number_table

NUM_VERSIONS = 90


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> cd.Table:
    """A table of many versions, of which the first alone names one file, and all others another."""
    made = number_table(tmp_path_factory.mktemp("named"), 3)
    dataset = lance.write_dataset(made.to_table(), made.uri, mode="overwrite")
    for number in range(NUM_VERSIONS):
        update = lance.LanceOperation.UpdateMap({"number": str(number)}, replace=False)
        operation = lance.LanceOperation.UpdateConfig(table_metadata_updates=update)
        dataset = lance.LanceDataset.commit(dataset, operation, read_version=dataset.version)
    return cd.open_table(made.uri)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of the versions that are opened."""
    real, found = lance.LanceDataset.checkout_version, list[int]()

    def counted(self: Any, version: int) -> Any:
        found.append(version)
        return real(self, version)

    monkeypatch.setattr(lance.LanceDataset, "checkout_version", counted)
    return found


def test_versions_are_numbered_by_their_names_newest_first(table: cd.Table) -> None:
    assert version_numbers(table.uri, table.storage) == list(range(table.version, 0, -1))


def test_what_the_newest_names_is_found_without_the_old_ones(table: cd.Table, opened: list[int]) -> None:
    names = named_at(table, table.version)
    opened.clear()

    assert unnamed_by_versions(table, names) == set()
    assert len(opened) <= 40  # some are begun before the first is read


def test_what_an_old_version_alone_names_is_named_and_what_none_names_is_not(table: cd.Table) -> None:
    old = named_at(table, 2)
    assert old
    assert not old & named_at(table, table.version)

    assert unnamed_by_versions(table, old | {"nobodys.lance"}) == {"nobodys.lance"}


def test_where_nothing_is_asked_about_nothing_is_read(table: cd.Table, opened: list[int]) -> None:
    assert unnamed_by_versions(table, set()) == set()
    assert opened == []


def test_a_version_that_another_clean_up_took_away_meanwhile_names_nothing(tmp_path: Path) -> None:
    table = number_table(tmp_path, 3)
    cd.tag(table, "now")
    assert table.version > 1
    manifest(table.uri, 1).unlink()

    assert named_at(table, 1) == set()
