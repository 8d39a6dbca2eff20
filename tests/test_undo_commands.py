"""The verbs that name, compare, come back to and remove: what they say, what they ask, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

import clipdata as cd
from pipelines.cli.app import VERBS, main
from pipelines.cli.json_output import schema_of
from tests.json_schemas import check_schema
from tests.tables import append_numbers, number_table

FOUND = {verb.words: verb.found for verb in VERBS}


@cd.step(returns=pa.int64(), version="1")
def twice(number: int) -> int:
    return 2 * number


@pytest.fixture
def table(tmp_path: Path) -> cd.Table:
    made = number_table(tmp_path, 6, rows_per_write=3)
    cd.map_column(made, twice, "twice")
    append_numbers(made, 6, 8)
    return made.latest()


def run(capsys: pytest.CaptureFixture[str], verb: str, *words: str) -> tuple[int, dict[str, object], str]:
    code = main([verb, *words, "--json"])
    told = capsys.readouterr()
    found = json.loads(told.out)
    check_schema(found, schema_of(verb, FOUND[verb]))
    assert "Traceback" not in told.err
    return code, found, told.err


def test_what_is_named_changed_and_removed_comes_back(table: cd.Table, capsys: pytest.CaptureFixture[str]) -> None:
    uri, old = table.uri, table.to_table()
    assert run(capsys, "tag", uri, "raw")[1]["done"] == "made"
    assert run(capsys, "tag", uri)[1]["tags"][0]["name"] == "raw"  # type: ignore[index]
    for verb, words in (("drop", ["twice"]), ("delete", ["--where", "number > 4"])):
        code, found, told = run(capsys, verb, uri, *words, "--dry-run")
        assert (code, found["version"]) == (0, None)
        code, found, told = run(capsys, verb, uri, *words)
        assert code == 2
        assert "would d" in told, "it says first what it would do"
        assert found["error"]["hint"] == "type it again with --yes"  # type: ignore[index]
        assert cd.open_table(uri).version == table.version + (0 if verb == "drop" else 1)
        code, found, told = run(capsys, verb, uri, *words, "--yes")
        assert (code, str(found["next"]).startswith(f"clipdata restore {uri}")) == (0, True)
    assert run(capsys, "compact", uri, "--dry-run")[1]["version"] is None
    code, found, told = run(capsys, "compact", uri)
    assert (code, found["next"]) == (0, f"clipdata clean {uri} --dry-run")
    code, found, told = run(capsys, "diff", uri, "raw")
    assert (code, found["rows_removed"], found["any"]) == (0, 3, True)
    assert [column["name"] for column in found["columns"]] == ["twice"]  # type: ignore[attr-defined]
    assert run(capsys, "restore", uri, "raw", "--dry-run")[1]["rows_back"] == 3
    code, found, told = run(capsys, "restore", uri, "raw")
    assert (code, found["undone"][0]["verb"]) == (0, "drop")  # type: ignore[index]
    assert cd.open_table(uri).to_table().equals(old)
    assert run(capsys, "restore", uri, "raw")[1]["changes"] is False
    assert run(capsys, "tag", uri, "--delete", "raw")[1]["before"] == table.version


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("tag NONE raw", 3, "there is no table at"),
        ("tag TABLE 7", 2, "a number is the version of that number"),
        ("tag TABLE raw --version 99", 3, "there is no version 99"),
        ("tag TABLE raw --version old", 3, "there is no tag 'old'"),
        ("tag TABLE raw --list", 2, "expected one of NAME, --list and --delete"),
        ("tag TABLE --move", 2, "no name is given"),
        ("tag TABLE --delete raw", 3, "there is no tag 'raw'"),
        ("diff NONE", 3, "there is no table at"),
        ("diff TABLE 99", 3, "there is no version 99"),
        ("diff TABLE 2 old", 3, "there is no tag 'old'"),
        ("diff TABLE --columns nope", 2, "has no column 'nope'"),
        ("diff TABLE --on nope", 2, "has no column 'nope'"),
        ("diff TABLE --other NONE", 3, "there is no table at"),
        ("diff TABLE --examples -1", 2, "--examples"),
        ("restore NONE 1", 3, "there is no table at"),
        ("restore TABLE", 2, "Missing argument"),
        ("restore TABLE 99", 3, "there is no version 99"),
        ("restore TABLE -1", 2, "-1"),
        ("drop NONE twice --yes", 3, "there is no table at"),
        ("drop TABLE --yes", 2, "Missing argument"),
        ("drop TABLE nope --yes", 2, "has no column 'nope'"),
        ("drop TABLE path --yes", 2, "it is the table's key"),
        ("delete NONE --where number=1 --yes", 3, "there is no table at"),
        ("delete TABLE --yes", 2, "expected a condition"),
        ("delete TABLE --where nope=1 --yes", 2, "nope"),
        ("delete TABLE --where number=1 --forget", 2, "and not both"),
        ("compact NONE", 3, "there is no table at"),
        ("compact TABLE --rows-per-fragment 0", 2, "--rows-per-fragment"),
        ("compact TABLE --rows-per-fragment x", 2, "--rows-per-fragment"),
        ("clean NONE --yes", 3, "there is no table at"),
    ],
)
def test_what_cannot_be_is_refused_in_words_and_nothing_is_written(
    table: cd.Table, capsys: pytest.CaptureFixture[str], words: str, code: int, said: str
) -> None:
    verb, *rest = words.replace("NONE", f"{table.uri}.none").replace("TABLE", table.uri).split(" ")

    found_code, found, _ = run(capsys, verb, *rest)

    assert found_code == code
    assert said in found["error"]["message"], found["error"]  # type: ignore[index]
    assert cd.open_table(table.uri).version == table.version
