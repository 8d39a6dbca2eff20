"""`refresh`: which columns are stale and why, and that they are what their steps would make afterwards."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import clipdata as cd
from clipdata.errors import GateFailedError
from clipdata.lance_io import rows
from clipdata.origin import lineage_of
from clipdata.schema import key_field
from clipdata.step_protocol import BaseStep
from pipelines.cli.app import main
from pipelines.cli.commands.refresh import refresh as refresh_verb
from pipelines.cli.json_output import schema_of
from tests.json_schemas import check_schema
from tests.tables import append_numbers, number_table

STEPS_FILE = """
import clipdata

@clipdata.step(reads="number", returns="int64", version="1")
def doubled(number):
    if number == 3:
        raise ValueError("three")
    return 2 * number
"""


def sheet(folder: Path, labels: list[str]) -> cd.Table:
    """Labels, their places, scores and what is picked of them."""
    fields = [key_field("path"), pa.field("label", pa.string()), pa.field("scores", pa.list_(pa.float32()))]
    table = rows.create_table(folder / "t.lance", pa.schema([*fields, pa.field("sha256", pa.string())]))
    add(table, 0, labels)
    cd.map_column(table, cd.steps.LabelIndex("label"), "place")
    cd.map_column(table, cd.steps.Pick("scores", "place"), "picked")
    return cd.open_table(table.uri)


def add(table: cd.Table, start: int, labels: list[str]) -> None:
    names = [f"{n:03d}" for n in range(start, start + len(labels))]
    scores = pa.array([[0.1, 0.9]] * len(labels), pa.list_(pa.float32()))
    rows.upsert(table, pa.table({"path": names, "label": labels, "scores": scores, "sha256": names}))


def test_rows_that_were_added_are_filled_inputs_first_and_nothing_else_is_touched(tmp_path: Path) -> None:
    table = sheet(tmp_path, ["A", "B"])
    assert not cd.refresh(table, dry_run=True).stale
    add(table, 2, ["B", "A", "?"])

    told = cd.refresh(table.uri, dry_run=True)

    assert [(state.column, state.pending, state.waiting) for state in told.stale] == [("place", 3, 0), ("picked", 0, 3)]
    assert told.overwrites == ()
    with pytest.raises(GateFailedError, match="2 of 2 columns are stale: place, picked"):
        told.hold()

    done = cd.refresh(table)

    assert [(made.column, made.computed) for made in done.made] == [("place", 3), ("picked", 2)]
    read = table.to_table(["path", "place", "picked"]).sort_by("path").to_pydict()
    assert read["place"] == [0, 1, 1, 0, None]
    assert [value is not None for value in read["picked"]] == [True, True, True, True, False]
    done.hold()
    again = cd.refresh(table, dry_run=True)
    assert not again.stale
    assert again.states[0].failed == 1


def test_a_column_made_anew_makes_all_that_reads_it_stale(tmp_path: Path) -> None:
    table = sheet(tmp_path, ["A", "B"])
    cd.map_column(table, cd.steps.LabelIndex("label", classes=["B", "A"]), "place", overwrite=True)

    told = cd.refresh(table, ["picked"], dry_run=True)

    assert told.overwrites == ("picked",)
    assert "column 'place' that it reads was made anew" in str(told)
    before = table.version
    done = cd.refresh(table)
    assert [made.column for made in done.made] == ["picked"]
    assert table.to_table(["path", "picked"]).sort_by("path")["picked"].to_pylist() == pytest.approx([0.9, 0.1])
    assert cd.open_table(table.uri, version=before).to_table(["picked"])["picked"].null_count == 0
    assert not cd.refresh(table, dry_run=True).stale


def test_newer_code_of_a_step_makes_its_column_stale_and_a_split_keeps_every_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = sheet(tmp_path, ["A", "B"] * 10)
    cd.map_column(table, cd.steps.ClassSplit(table, label_index="place", test_share=0.3), "split")
    sides = table.to_table(["path", "split"]).sort_by("path")
    add(table, 20, ["A", "B"])
    monkeypatch.setattr(cd.steps.ClassSplit, "version", "9")

    told = cd.refresh(table, dry_run=True)

    assert "ClassSplit is at version 9, the column was made at" in str(told)
    cd.refresh(table)
    now = table.to_table(["path", "split"]).sort_by("path")
    assert now.slice(0, 20).equals(sides)
    assert now["split"].null_count == 0
    assert not cd.refresh(table, dry_run=True).stale


def test_what_cannot_be_made_again_is_skipped_and_said_and_the_rest_is_made(tmp_path: Path) -> None:
    table = number_table(tmp_path, 3)
    doubled = cd.step(reads="number", returns="int64", version="1")(lambda number: 2 * number)
    cd.map_column(table, doubled, "doubled")
    cd.map_column(table, cd.steps.Prompt("n {doubled}"), "prompt")
    cd.map_column(table, cd.steps.Prompt("n {number}"), "other")
    append_numbers(table, 3, 5)

    done = cd.refresh(table)

    assert [made.column for made in done.made] == ["other"]
    assert list(dict(done.skipped)) == ["doubled"]
    assert "function of your own" in dict(done.skipped)["doubled"]
    with pytest.raises(GateFailedError):
        done.hold()
    assert [made.computed for made in cd.refresh(table, steps=[doubled]).made] == [2, 2]
    assert not cd.refresh(table, dry_run=True).stale
    assert lineage_of(table, doubled).fingerprint == table.lineage("doubled").fingerprint


def test_the_command_asks_before_it_overwrites_and_check_is_a_gate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = sheet(tmp_path, ["A", "B"])
    cd.map_column(table, cd.steps.LabelIndex("label", classes=["B", "A"]), "place", overwrite=True)

    for words, code in ((["--check"], 7), (["--dry-run"], 0), ([], 2), (["--yes"], 0), (["--check"], 0), ([], 0)):
        assert main(["refresh", table.uri, *words, "--json"]) == code
        found = json.loads(capsys.readouterr().out)
        check_schema(found, schema_of("refresh", refresh_verb.found))
    assert main(["refresh", table.uri]) == 0
    assert "2 of 2 columns that steps made are up to date" in capsys.readouterr().out


def test_failed_rows_and_functions_are_taken_up_on_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = number_table(tmp_path, 5)
    file = tmp_path / "steps.py"
    file.write_text(STEPS_FILE)
    assert main(["map", table.uri, f"{file}:doubled", "doubled"]) == 0
    assert main(["refresh", table.uri, "--check"]) == 0
    assert "doubled: 1 row failed before" in capsys.readouterr().out
    file.write_text(STEPS_FILE.replace('raise ValueError("three")', "return 6"))

    assert main(["refresh", table.uri, "--retry-failed", "--step", f"{file}:doubled"]) == 0

    assert sorted(table.latest().to_table(["doubled"])["doubled"].to_pylist()) == [0, 2, 4, 6, 8]


def test_map_check_says_whether_a_column_is_what_the_step_would_make(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = number_table(tmp_path, 2)
    words = ["map", table.uri, "prompt", "said", "-p", "template=n {number}"]
    told = [(words, 7, "there is no such column"), (words, 0, "up to date"), (words, 7, "1 row has no value yet")]

    for step, (typed, code, said) in enumerate(told):
        assert main([*typed, "--check"]) == code
        assert said in capsys.readouterr().out
        if step == 0:
            assert main(words) == 0
        if step == 1:
            append_numbers(table, 2, 3)
    assert main([*words[:-1], "template=m {number}", "--check"]) == 7
    assert "parameter template" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nowhere.lance"], 3, "there is no table"),
        (["{table}", "nosuch"], 2, "no column 'nosuch'"),
        (["{table}", "number"], 2, "it came with the data"),
        (["{table}", "--step", "nofile.py:f"], 3, "there is no file"),
        (["{table}", "--step", "nothing"], 2, "FILE.py:function"),
    ],
)
def test_what_is_wrong_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    table = number_table(tmp_path, 2)

    assert main(["refresh", *(word.format(table=table.uri) for word in words)]) == code

    told = capsys.readouterr().err
    assert said in told
    assert "Traceback" not in told


def test_rows_that_a_map_left_out_by_its_condition_are_not_stale(tmp_path: Path) -> None:
    table = number_table(tmp_path, 4)
    cd.map_column(table, cd.steps.Prompt("a{number}"), "one", where="number < 2")
    assert not cd.refresh(table, dry_run=True).stale
    append_numbers(table, -1, 0)

    (state,) = cd.refresh(table, dry_run=True).stale
    assert (state.pending, state.where) == (1, "number < 2")

    cd.refresh(table)
    assert not cd.refresh(table, dry_run=True).stale
    read = table.to_table(["number", "one"]).sort_by("number").to_pydict()
    assert read["one"] == ["a-1", "a0", "a1", None, None]
    cd.map_column(table, cd.steps.Prompt("a{number}"), "one")
    append_numbers(table, 4, 5)
    assert cd.refresh(table, dry_run=True).stale[0].pending == 1


class _Installed(BaseStep):
    """A step whose version hangs on what is installed."""

    name = "Installed"
    returns = pa.int64()
    at = "1"

    def __init__(self, number: str = "number") -> None:
        self.version, self.reads = f"1-library-{self.at}", (number,)

    def compute(self, batch: pa.RecordBatch, prepared: None) -> pa.Array:
        return batch.column(0)


def test_a_step_whose_version_hangs_on_what_is_installed_is_asked_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cd.steps, "Installed", _Installed, raising=False)
    monkeypatch.setattr(cd.steps, "__all__", [*cd.steps.__all__, "Installed"])
    table = number_table(tmp_path, 2)
    cd.map_column(table, _Installed(), "same")
    assert not cd.refresh(table, dry_run=True).stale
    monkeypatch.setattr(_Installed, "at", "2")

    (state,) = cd.refresh(table, dry_run=True).stale

    assert "1-library-2" in state.reasons[0]
    assert [done.computed for done in cd.refresh(table).made] == [2]


@settings(max_examples=6, deadline=None)
@given(st.lists(st.sampled_from(["append", "labels", "words", "drop"]), min_size=1, max_size=5))
def test_after_any_history_a_refresh_leaves_every_cell_what_its_step_makes_of_its_inputs(
    tmp_path_factory: pytest.TempPathFactory, history: list[str]
) -> None:
    table = number_table(tmp_path_factory.mktemp("history"), 2)
    cd.map_column(table, cd.steps.Prompt("a{number}"), "one")
    cd.map_column(table, cd.steps.Prompt("{one}!"), "two")
    cd.map_column(table, cd.steps.Prompt("{two}{one}"), "three")
    letter, count = "a", 2
    for place, event in enumerate(history):
        if event == "append":
            append_numbers(table, count, count + 1)
            count += 1
        elif event == "drop":
            table.latest().dataset.delete(f"number = {count - 1}")  # of no row, where none is left
            count = max(count - 1, 0)
        else:
            letter = f"{event[0]}{place}"
            cd.map_column(table, cd.steps.Prompt(letter + "{number}"), "one", overwrite=True)
        if place % 2:
            cd.refresh(table, ["two"])

    done = cd.refresh(table)

    assert done.skipped == ()
    assert not cd.refresh(table, dry_run=True).stale
    read = table.to_table(["number", "one", "two", "three"]).to_pylist()
    assert len(read) == count
    for row in read:
        one = f"{letter}{row['number']}"
        assert (row["one"], row["two"], row["three"]) == (one, f"{one}!", f"{one}!{one}")
