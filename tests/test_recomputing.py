"""`why`: a cell computed again is equal, stale or different, or it is said why nobody can tell."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import clipdata as cd
from clipdata.errors import GateFailedError, LineageMismatchError, UsageError
from clipdata.lance_io import rows
from clipdata.recomputing import TOLERANCE, difference_of
from clipdata.schema import image_schema, key_field
from pipelines.cli.app import main
from pipelines.cli.commands.why import why as why_verb
from pipelines.cli.json_output import schema_of
from tests.json_schemas import check_schema
from tests.pictures import encoded
from tests.tables import append_numbers, number_table
from tests.tiny_models import tiny_encoder

CHOICES = ["a red circle", "a blue square", "a line"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("why")


@pytest.fixture(scope="module")
def encoder(folder: Path) -> cd.Encoder:
    return tiny_encoder(folder)


@pytest.fixture(scope="module")
def contest(folder: Path, encoder: cd.Encoder) -> cd.Table:
    """Scores from the pictures; the last picture cannot be decoded, and one is a reference to a file."""
    fields = [pa.field("caption_choices", pa.list_(pa.string())), pa.field("label", pa.string())]
    table = rows.create_table(folder / "contest.lance", image_schema(fields))
    data = [*(encoded(number) for number in range(3)), b"no picture"]
    (folder / "aside.jpg").write_bytes(encoded(9))
    fresh = {
        "path": ["a's", "b", "c", "d", "e"],
        "image": [*data, None],
        "uri": [None, None, None, None, str(folder / "aside.jpg")],
        "caption_choices": [CHOICES] * 5,
        "label": list("ABCAB"),
    }
    rows.upsert(table, pa.table(fresh))
    table = cd.open_table(table.uri)
    cd.map_column(table, cd.steps.ChoiceScores(encoder), "scores")
    cd.map_column(table, cd.steps.LabelIndex("label"), "place")
    cd.map_column(table, cd.steps.Pick("scores", "place"), "prob")
    return table


def test_a_row_is_named_by_its_picture_too_and_a_name_of_several_rows_is_refused(tmp_path: Path) -> None:
    table = rows.create_table(
        tmp_path / "merged.lance", pa.schema([key_field("id"), ("path", pa.string()), ("n", pa.int64())])
    )
    rows.upsert(table, pa.table({"id": ["a1", "b2", "c3"], "path": ["one.png", "two.png", "two.png"], "n": [1, 2, 3]}))
    table = cd.open_table(table.uri)
    twice = cd.step(reads="n", returns="int64", version="1")(lambda n: 2 * n)
    cd.map_column(table, twice, "twice")

    assert [cd.why(table, name, "twice", steps=[twice]).value for name in ("one.png", "b2", "#2")] == [
        "2",
        "4",
        "6",
    ]
    with pytest.raises(UsageError, match=r"two\.png"):
        cd.why(table, "two.png", "twice", steps=[twice])


@pytest.mark.parametrize("column", ["scores", "place", "prob"])
@pytest.mark.parametrize("row", ["a's", "c", "d", "e"])
def test_a_cell_that_was_computed_from_what_is_there_is_equal(
    contest: cd.Table, encoder: cd.Encoder, row: str, column: str
) -> None:
    told = cd.why(contest, row, column, models=[encoder])

    assert told.verdict == "equal", told
    assert told.hold() is told
    has_value = row != "d" or column == "place"
    assert (told.value is not None) is has_value
    assert told.value == told.recomputed or told.difference <= TOLERANCE
    if column == "scores" and has_value:
        assert told.inputs["image"].startswith("JPEG 64×48")
    if row == "d" and column == "scores":
        assert "gives no value" in told.reasons[0]


def test_an_input_made_anew_makes_a_cell_stale_and_an_older_version_is_what_it_was(
    folder: Path, contest: cd.Table, encoder: cd.Encoder
) -> None:
    before = contest.version
    cd.map_column(contest, cd.steps.LabelIndex("label", classes=["C", "B", "A"]), "place", overwrite=True)

    told = cd.why(contest, "a's", "prob", models=[encoder])
    same = cd.why(contest, "b", "prob", models=[encoder])

    assert told.verdict == same.verdict == "stale"
    assert told.reasons == (
        "column 'place' that it reads was made anew, in another way, since",
        "the value would change",
    )
    assert same.reasons[1] == "the value would stay"
    with pytest.raises(GateFailedError, match="stale"):
        told.hold()
    assert cd.why(contest.pinned(before), "a's", "prob", models=[encoder]).verdict == "equal"
    cd.refresh(contest, ["prob"], models=[encoder])
    assert cd.why(contest, "a's", "prob", models=[encoder]).verdict == "equal"


def test_a_model_that_is_gone_is_named_with_both_identities(
    folder: Path, contest: cd.Table, encoder: cd.Encoder, tmp_path: Path
) -> None:
    Path(encoder.name).rename(folder / "moved")
    other = tiny_encoder(tmp_path, seed=3)
    Path(other.name).rename(encoder.name)
    try:
        told = cd.why(contest, "b", "scores")
    finally:
        Path(encoder.name).rename(tmp_path / "other")
        (folder / "moved").rename(encoder.name)

    assert told.verdict == "untold"
    assert encoder.identity[:12] in told.reasons[0]
    assert other.identity[:12] in told.reasons[0]
    with pytest.raises(LineageMismatchError):
        told.hold()


def test_values_that_another_tool_changed_are_different_by_as_much(tmp_path: Path) -> None:
    table = number_table(tmp_path, 4)
    half = cd.step(reads="number", returns="float64", version="1")(lambda number: number / 2)
    cd.map_column(table, half, "half")
    table.dataset.update({"number": "100"}, where="path = '000002'")
    table = table.latest()

    told = cd.why(table, "000002", "half", steps=[half])

    assert (told.verdict, told.value, told.recomputed) == ("different", "1", "50")
    assert told.difference == pytest.approx(49 / 50)
    assert "0.98" in told.reasons[0]
    assert cd.why(table, "000001", "half", steps=[half]).verdict == "equal"
    untold = cd.why(table, "000001", "half")
    assert untold.verdict == "untold"
    assert "function of your own" in untold.reasons[0]
    assert cd.why(table, "000001", "number").verdict == "untold"


def test_rows_not_computed_yet_newer_code_and_retried_failures_are_told(tmp_path: Path) -> None:
    table = number_table(tmp_path, 3)

    def strict(number: int) -> int:
        if number == 1:
            raise ValueError("one")
        return number

    first = cd.step(reads="number", returns="int64", version="1")(strict)
    cd.map_column(table, first, "strict")
    append_numbers(table, 3, 4)
    table = table.latest()

    assert cd.why(table, "000003", "strict", steps=[first]).reasons == ("it was not computed yet",)
    assert cd.why(table, "000001", "strict", steps=[first]).verdict == "equal"
    mended = cd.step(reads="number", returns="int64", version="2")(lambda number: number)
    mended.name = "strict"
    told = cd.why(table, "000001", "strict", steps=[mended])
    assert told.verdict == "stale"
    assert "version 2" in told.reasons[0]


def test_a_split_reads_the_whole_table_and_keeps_its_sides(tmp_path: Path) -> None:
    table = number_table(tmp_path, 20)
    cd.map_column(table, cd.steps.PairSplit(table, "text", picture="number"), "split")
    append_numbers(table, 20, 30)
    table = table.latest()

    assert {cd.why(table, f"{n:06d}", "split").verdict for n in range(0, 20, 5)} == {"equal"}


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([0.5, 0.5], [0.5, 0.5 + 5e-5], (5e-5, True)),
        ([0.5, 0.5], [0.5, 0.6], (0.1, False)),
        ([1e6], [1e6 + 1], (1e-6, True)),
        ([float("nan")], [float("nan")], (0.0, True)),
        ([float("nan")], [0.0], (np.inf, False)),
        ([0.1], [0.1, 0.2], (None, False)),
        ([None], [0.1], (None, False)),
        (None, None, (0.0, True)),
    ],
)
def test_floats_may_round_otherwise_and_nothing_else_may_differ(
    one: list | None, other: list | None, expected: tuple
) -> None:
    kind = pa.list_(pa.float64())

    difference, alike = difference_of(pa.array([one], kind), pa.array([other], kind))

    assert alike is expected[1]
    assert difference == (pytest.approx(expected[0], rel=1e-6) if expected[0] is not None else None)


def test_the_command_prints_a_verdict_and_ends_with_its_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = number_table(tmp_path, 3)
    assert main(["map", table.uri, "prompt", "said", "-p", "template=n {number}"]) == 0
    table.latest().dataset.update({"number": "7"}, where="path = '000001'")
    capsys.readouterr()

    for row, code, verdict in (("000000", 0, "equal"), ("000001", 7, "different")):
        assert main(["why", table.uri, row, "said", "--json"]) == code
        found = json.loads(capsys.readouterr().out)
        check_schema(found, schema_of("why", why_verb.found))
        assert found["verdict"] == verdict
    assert main(["why", table.uri, "000001", "said", "--version", str(table.latest().version - 1)]) == 0
    assert "said of row 000001 at version" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nowhere.lance", "1", "said"], 3, "there is no table"),
        (["{table}", "nosuch", "text"], 3, "has no row 'nosuch' in path"),
        (["{table}", "000001", "nosuch"], 2, "no column 'nosuch'"),
        (["{table}", "000001", "text"], 1, "came with the data"),
        (["{table}", "000001", "text", "--version", "nosuch"], 3, "no tag 'nosuch'"),
    ],
)
def test_what_is_wrong_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    table = number_table(tmp_path, 2)

    assert main(["why", *(word.format(table=table.uri) for word in words)]) == code

    told = capsys.readouterr().err
    assert said in told
    assert "Traceback" not in told
