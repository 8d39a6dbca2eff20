"""SourceContract: what every way in must pass, whatever it reads.

In each test a folder `in` holds two files in two folders, of one name: `a/x` and `b/x`. The class list wants its files
in class folders, which these are.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import clipdata as cd
from clipdata.errors import ClipdataError
from clipdata.lance_io import rows as lance_rows
from tests.contracts.sources import CASES, Case

pytestmark = pytest.mark.parametrize("case", CASES, ids=str)


@cd.step(reads="filename", returns="int64")
def length(filename: str) -> int:
    return len(filename)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "t.lance"


def filled(case: Case, folder: Path) -> None:
    for number, name in enumerate(("a/x", "b/x"), start=1):
        case.put(folder, name, number)


def contents(table: Path) -> list[dict[str, Any]]:
    """All that a table says, but for when and from where it came."""
    found = cd.open_table(table)
    names = [name for name in found.schema.names if name not in ("etag", "mtime", "uri")]
    return sorted(found.to_table(names).to_pylist(), key=lambda row: str(row[found.key]))


def versions(table: Path) -> dict[str, int]:
    """Newest version of the table and of each one beside it."""
    return {place.name: cd.open_table(place).version for place in table.parent.glob("t*.lance")}


def rejects(table: Path) -> list[tuple[str, str]]:
    place = table.with_name("t.rejects.lance")
    if not place.exists():
        return []
    return [(row["path"], row["reason"]) for row in cd.open_table(place).to_table(["path", "reason"]).to_pylist()]


def with_column(table: Path) -> list[dict[str, Any]]:
    """Contents once a step made a column, which is lost with a row that is replaced."""
    cd.map_column(table, length, "length")
    assert cd.open_table(table).count_nulls("length") == 0
    return contents(table)


def test_files_of_one_name_in_two_folders_are_two_files(case: Case, folder: Path, table: Path) -> None:
    filled(case, folder)
    done = case.run(folder, table)
    assert done.table.num_rows == 2 * case.rows
    assert not rejects(table)


def test_a_second_run_reads_and_writes_nothing(case: Case, folder: Path, table: Path) -> None:
    filled(case, folder)
    case.run(folder, table)
    before = versions(table)
    again = case.run(folder, table)
    assert (again.read, again.written.any) == (0, False)
    assert versions(table) == before


def test_a_new_time_of_change_costs_a_read_and_no_column(case: Case, folder: Path, table: Path) -> None:
    filled(case, folder)
    case.run(folder, table)
    before = with_column(table)
    version = cd.open_table(table).version
    for place in folder.rglob(f"*{case.suffix}"):
        os.utime(place, (1, 1))

    done = case.run(folder, table)
    assert not done.written.any
    assert contents(table) == before
    assert cd.open_table(table).version == version
    again = case.run(folder, table)
    assert again.read == 0


def test_a_file_that_changes_changes_its_own_rows_alone(case: Case, folder: Path, table: Path) -> None:
    filled(case, folder)
    case.run(folder, table)
    with_column(table)
    case.put(folder, "a/x", 7)
    done = case.run(folder, table)
    assert done.table.num_rows == 2 * case.rows
    assert done.table.count_nulls("length") == case.rows


def test_a_second_source_of_the_same_names_replaces_nothing(case: Case, folder: Path, table: Path) -> None:
    filled(case, folder)
    case.run(folder, table)
    before = with_column(table)
    other = folder.parent / "other" / "in"
    case.put(other, "a/x", 8)
    case.put(other, "c/y", 9)

    done = case.run(other, table)

    assert done.refused == {"other_source": 1}
    assert done.table.num_rows == 3 * case.rows
    assert [row for row in contents(table) if row in before] == before
    assert case.run(other, table).usable
    prefixed = case.run(other, table, prefix="other")
    assert prefixed.table.num_rows == 5 * case.rows if case.rows == 1 else prefixed.table.num_rows >= 4 * case.rows
    assert case.run(folder, table).read == 0


def test_a_copy_of_the_folder_elsewhere_changes_nothing(case: Case, folder: Path, table: Path) -> None:
    filled(case, folder)
    case.run(folder, table)
    before = with_column(table)
    copy = folder.parent / "copy" / "in"
    shutil.copytree(folder, copy)
    done = case.run(copy, table)
    assert (dict(done.refused), done.written.any) == ({}, False)
    assert contents(table) == before


def test_a_file_that_is_cut_short_and_mended_loses_no_row(case: Case, folder: Path, table: Path) -> None:
    if not case.breaks:
        pytest.skip("a text that ends early is a shorter text")
    filled(case, folder)
    case.run(folder, table)
    before = with_column(table)
    place = folder / f"a/x{case.suffix}"
    whole = place.read_bytes()
    place.write_bytes(whole[: len(whole) // 2])

    cut = case.run(folder, table)
    assert cut.num_refused >= 1
    assert len(rejects(table)) == cut.num_refused
    if case.rows > 1:
        assert contents(table) == before

    place.write_bytes(whole)
    case.run(folder, table)
    assert cd.open_table(table).num_rows == 2 * case.rows
    assert not rejects(table)
    if case.rows > 1:
        assert contents(table) == before


def test_a_file_that_goes_away_and_comes_back_keeps_its_rows(case: Case, folder: Path, table: Path) -> None:
    filled(case, folder)
    case.run(folder, table)
    before = with_column(table)
    place = folder / f"b/x{case.suffix}"
    hidden = folder.parent / "hidden"
    place.rename(hidden)

    gone = case.run(folder, table)
    assert contents(table) == before
    assert gone.num_vanished or gone.num_refused

    hidden.rename(place)
    case.run(folder, table)
    assert contents(table) == before
    assert not rejects(table)


def test_what_is_refused_is_refused_quietly_until_it_is_mended_or_gone(case: Case, folder: Path, table: Path) -> None:
    if not case.breaks:
        pytest.skip("a text that ends early is a shorter text")
    filled(case, folder)
    bad = case.put(folder, "a/bad", 5)
    whole = bad.read_bytes()
    bad.write_bytes(whole[:60])
    case.run(folder, table)
    assert len(rejects(table)) == 1
    before = versions(table)
    again = case.run(folder, table)
    assert (again.refused_before, again.num_refused) == (1, 0)
    assert versions(table) == before

    bad.write_bytes(whole)
    assert case.run(folder, table).table.num_rows == 3 * case.rows
    assert not rejects(table)

    bad.write_bytes(whole[:50])
    case.run(folder, table)
    assert len(rejects(table)) == 1
    bad.unlink()
    if case.name != "captions":  # its list still names the file
        case.run(folder, table)
        assert not rejects(table)


def test_another_option_reads_again(case: Case, folder: Path, table: Path) -> None:
    if case.options is None:
        pytest.skip("no option shapes its rows")
    filled(case, folder)
    case.run(folder, table)
    assert case.run(folder, table, **case.options).read == 2
    assert case.run(folder, table).read == 2


@pytest.mark.parametrize("commits", range(4))
def test_killed_at_a_commit_it_goes_on_and_ends_in_the_same_table(
    case: Case, commits: int, folder: Path, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(case, folder)
    expected = table.with_name("expected.lance")
    case.run(folder, expected)
    left = [commits]

    def dying(verb: Any) -> Any:
        def commit(*given: Any, **named: Any) -> Any:
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            return verb(*given, **named)

        return commit

    with monkeypatch.context() as patch:
        for name in ("create_table", "upsert", "delete_keys", "close_verb"):
            patch.setattr(lance_rows, name, dying(getattr(lance_rows, name)))
        with suppress(KeyboardInterrupt):  # a source of few commits may be through before
            case.run(folder, table)

    done = case.run(folder, table)
    assert contents(table) == contents(expected)
    assert done.table.num_rows == 2 * case.rows
    assert case.run(folder, table).read == 0


def test_a_dry_run_says_what_would_be_read_and_leaves_nothing(case: Case, folder: Path, table: Path) -> None:
    filled(case, folder)
    done = case.run(folder, table, dry_run=True)
    assert (done.read, done.dry_run) == (2, True)
    assert "dry run" in str(done)
    assert not table.exists()
    case.run(folder, table)
    before = versions(table)
    assert case.run(folder, table, dry_run=True).read == 0
    assert versions(table) == before


def test_a_limit_and_a_sample_take_so_many_rows(case: Case, folder: Path, table: Path) -> None:
    filled(case, folder)
    assert case.run(folder, table, limit=1).table.num_rows == 1
    assert case.run(folder, table).table.num_rows == 2 * case.rows
    one = case.run(folder, table.with_name("one.lance"), sample=1, seed=3)
    same = case.run(folder, table.with_name("same.lance"), sample=1, seed=3)
    assert one.table.num_rows == 1
    assert contents(table.with_name("one.lance")) == contents(table.with_name("same.lance"))
    assert same.table.num_rows == 1


def test_a_prefix_that_is_no_folder_is_refused(case: Case, folder: Path, table: Path) -> None:
    filled(case, folder)
    with pytest.raises(ClipdataError, match="prefix"):
        case.run(folder, table, prefix="../up")


def test_a_source_of_which_another_one_has_all_names_is_of_no_use(case: Case, folder: Path, table: Path) -> None:
    filled(case, folder)
    case.run(folder, table)
    other = folder.parent / "other" / "in"
    case.put(other, "a/x", 8)
    assert not case.run(other, table).usable
