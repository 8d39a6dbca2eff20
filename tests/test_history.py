"""The history: every verb's commit, once, with what it did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lance
import pytest

from clipdata.errors import StorageError
from clipdata.lance_io import rows
from clipdata.lance_io.history import Properties, commit, log, properties_of
from clipdata.lance_io.table import Table
from tests.tables import append_numbers, number_table


def nothing(_: Any) -> Any:
    return lance.LanceOperation.Append([])


def test_a_commit_says_which_verb_made_it(tmp_path: Path) -> None:
    table = number_table(tmp_path, 3)
    said = Properties("map", {"column": "score"}, {"computed": 3}, first_version=table.version)

    made, _ = commit(table, nothing, said)

    assert properties_of(made) == said
    assert properties_of(table) is None
    last = log(tmp_path / "t.lance")[-1]
    assert (last.version, last.num_rows, last.properties, last.tags) == (made.version, 3, said, ())
    assert last.to_dict()["touched"] == {"computed": 3}


def test_secrets_in_parameters_are_masked(tmp_path: Path) -> None:
    table = number_table(tmp_path, 1)
    where = "https://host/list.csv?X-Amz-Signature=0123456789abcdef"

    made, _ = commit(table, nothing, Properties("ingest urls", {"from": where}))

    assert "0123456789abcdef" not in str(made.dataset.read_transaction(made.version).transaction_properties)


def test_a_commit_whose_answer_was_lost_is_found_and_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = number_table(tmp_path, 3)
    real, calls = lance.LanceDataset.commit, []

    def landed_but_lost(*given: Any, **named: Any) -> Any:
        calls.append(real(*given, **named).version)
        append_numbers(table, 100, 101)  # and somebody else goes on
        raise OSError("error sending request: connection reset")

    monkeypatch.setattr(lance.LanceDataset, "commit", landed_but_lost)
    made, _ = commit(table, nothing, Properties("map"))

    assert calls == [made.version]
    found = [entry.version for entry in log(tmp_path / "t.lance", all=True) if entry.properties is not None]
    assert found == [made.version]


def test_an_operation_is_built_anew_on_the_newest_version_after_a_conflict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = number_table(tmp_path, 3)
    real, seen = lance.LanceDataset.commit, []

    def conflicting_once(*given: Any, **named: Any) -> Any:
        if len(seen) == 1:
            append_numbers(table, 100, 101)
            raise OSError("Commit conflict for version 3: incompatible with concurrent transaction")
        return real(*given, **named)

    def build(dataset: Any) -> Any:
        seen.append(dataset.version)
        return nothing(dataset)

    monkeypatch.setattr(lance.LanceDataset, "commit", conflicting_once)
    made, _ = commit(table, build, Properties("map"))

    assert seen == [table.version, table.version + 1]
    assert made.num_rows == 4


def test_nothing_to_commit_makes_no_version(tmp_path: Path) -> None:
    table = number_table(tmp_path, 3)

    assert commit(table, lambda _: None, Properties("map"))[0].version == table.version


def test_other_faults_are_raised_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = number_table(tmp_path, 1)
    calls = []

    def full(*_: Any, **__: Any) -> Any:
        calls.append(1)
        raise OSError("No space left on device (os error 28)")

    monkeypatch.setattr(lance.LanceDataset, "commit", full)
    with pytest.raises(StorageError, match=r"committing to .*No space left"):
        commit(table, nothing, Properties("map"))
    assert calls == [1]


def test_tags_show_in_the_history(tmp_path: Path) -> None:
    table = number_table(tmp_path, 2, rows_per_write=1)
    table.tag("kept")

    assert {entry.version: entry.tags for entry in log(tmp_path / "t.lance", all=True)}[table.version] == ("kept",)


def units(table: Table, *starts: int) -> None:
    for start in starts:
        append_numbers(table, start, start + 2)


def test_what_one_call_of_a_verb_committed_is_told_as_one(tmp_path: Path) -> None:
    table = number_table(tmp_path, 0)
    units(table, 0, 10, 20)
    table.latest().tag("kept")
    rows.close_verb(table, Properties("ingest", {"from": "a"}, {"inserted": 6}, first_version=1))
    units(table, 30)  # another tool's, or of a verb that was killed
    rows.close_verb(table, Properties("tidy", {}, {}))

    told = log(table.uri)

    assert [(entry.properties and entry.properties.verb, entry.commits, entry.tags) for entry in told] == [
        (None, (1,), ()),
        ("ingest", (2, 3, 4, 5), ("kept",)),
        (None, (6,), ()),
        ("tidy", (7,), ()),
    ]
    assert (told[1].version, told[1].num_rows, told[1].to_dict()["commits"]) == (5, 6, [2, 3, 4, 5])
    assert [entry.version for entry in log(table.uri, all=True)] == [1, 2, 3, 4, 5, 6, 7]


def test_rounds_of_one_map_are_told_as_one_with_their_rows_together(tmp_path: Path) -> None:
    table = number_table(tmp_path, 3)
    for computed in (2, 1):
        said = {"column": "score", "notes": {"cut": computed}}
        rows.close_verb(table, Properties("map", said, {"computed": computed, "failed": 0}, first_version=2))

    last = log(table.uri)[-1]

    assert (last.commits, last.properties and last.properties.rows) == ((3, 4), {"computed": 3, "failed": 0})


def test_of_two_verbs_at_once_each_is_told_once_and_no_commit_is_lost(tmp_path: Path) -> None:
    table = number_table(tmp_path, 0)
    units(table, 0, 10)
    rows.close_verb(table, Properties("ingest", {"from": "a"}, {}, first_version=1))
    units(table, 20)
    rows.close_verb(table, Properties("ingest", {"from": "b"}, {}, first_version=1))

    assert [entry.commits for entry in log(table.uri)] == [(1,), (2, 3, 4), (5, 6)]
