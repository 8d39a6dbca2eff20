"""`errors`: failures of steps and refusals of ingest in one view, counted by reason, and tried again on request."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import clipdata as cd
from clipdata.errors import SchemaError
from clipdata.lance_io.refused import read_refused
from clipdata.storage import Storage
from ingest.updating.rejects import Rejects
from ingest.updating.source import Reject
from pipelines.cli.app import main
from pipelines.cli.commands.errors import errors as errors_verb
from pipelines.cli.json_output import schema_of
from tests.json_schemas import check_schema
from tests.tables import append_numbers, number_table

STEPS_FILE = """
import clipdata

@clipdata.step(reads="number", returns="int64", version="1")
def checked(number):
    if number % 3 == 0:
        raise ValueError(f"divisible: {number}")
    return number if number != 4 else None
"""


@pytest.fixture
def table(tmp_path: Path) -> cd.Table:
    """Ten numbers, on five of which a step failed, and three files that were refused."""
    made = number_table(tmp_path, 10)
    (tmp_path / "steps.py").write_text(STEPS_FILE)
    assert main(["map", made.uri, f"{tmp_path}/steps.py:checked", "checked"]) == 0
    rejects = Rejects(made.uri, Storage())
    for path, reason in (("z.jpg", "truncated"), ("y.jpg", "it's empty"), ("x.jpg", "truncated")):
        rejects.add(Reject(path, "", reason, f"of {path}"), "here")
    rejects.flush()
    return made.latest()


def test_failures_and_refusals_are_counted_by_reason_with_examples(table: cd.Table) -> None:
    found = cd.list_errors(table, examples=2)

    told = {(one.column, one.reason): (one.count, sorted(row for row, _ in one.examples)) for one in found.failures}
    assert told == {
        ("checked", "ValueError"): (4, ["000000", "000003"]),
        ("checked", "the step gave no value"): (1, ["000004"]),
        (None, "truncated"): (2, ["x.jpg", "z.jpg"]),
        (None, "it's empty"): (1, ["y.jpg"]),
    }
    assert (found.num_failed, found.num_refused, found.columns) == (5, 3, ("checked",))
    assert "checked: 5 rows without a value" in str(found)
    assert "refused: 3 rows" in str(found)
    assert [one.column for one in cd.list_errors(table, ["checked"]).failures] == ["checked", "checked"]
    assert cd.list_errors(table, ["number"]).failures == ()


def test_rows_that_failed_are_computed_again_and_others_stay_as_they_are(
    tmp_path: Path, table: cd.Table, capsys: pytest.CaptureFixture[str]
) -> None:
    append_numbers(table, 20, 21)  # waits for no retry, and is filled as of every map
    steps = tmp_path / "steps.py"
    assert main(["errors", table.uri, "--retry", "--json"]) == 7
    found = json.loads(capsys.readouterr().out)
    assert "function of your own" in found["skipped"]["checked"]
    steps.write_text(STEPS_FILE.replace("number % 3 == 0", "number == 9"))

    assert main(["errors", table.uri, "--retry", "--step", f"{steps}:checked", "--json"]) == 0

    found = json.loads(capsys.readouterr().out)
    check_schema(found, schema_of("errors", errors_verb.found))
    assert (found["num_failed"], found["num_refused"]) == (2, 3)
    values = table.latest().to_table(["number", "checked"]).sort_by("number").to_pydict()
    assert values["checked"] == [0, 1, 2, 3, None, 5, 6, 7, 8, None, 20]


def test_a_table_without_errors_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = number_table(tmp_path, 1)

    assert main(["errors", table.uri]) == 0
    assert "no step failed on a row, and none was refused" in capsys.readouterr().out
    assert main(["errors", table.uri, "--retry"]) == 0


def test_rejects_are_listed_by_reason_and_path_and_a_condition_on_them_is_held_to_their_columns(
    table: cd.Table, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = read_refused(table, limit=2)
    assert [one["path"] for one in listed.rejects] == ["y.jpg", "x.jpg"]
    assert listed.num_rejects == 3
    with pytest.raises(SchemaError, match="nosuch") as refused:
        read_refused(table, where="nosuch = 1")
    assert "path, reason, detail" in str(refused.value.hint)
    capsys.readouterr()
    assert main(["rejects", table.uri, "--limit", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["num_rejects"], len(found["rejects"])) == (3, 1)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["errors", "nowhere.lance"], 3, "there is no table"),
        (["errors", "{table}", "nosuch"], 2, "no column 'nosuch'"),
        (["errors", "{table}", "--examples", "-1"], 2, "--examples"),
        (["errors", "{table}", "--retry", "--step", "nofile.py:f"], 3, "there is no file"),
        (["rejects", "{table}", "--where", "nonsense"], 2, "a condition on rejects may name path, reason"),
    ],
)
def test_what_is_wrong_is_said(
    table: cd.Table, capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    assert main([word.format(table=table.uri) for word in words]) == code

    told = capsys.readouterr().err
    assert said in told
    assert "Traceback" not in told
