"""Lineage: what made a column."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from clipdata.errors import UsageError
from clipdata.lance_io import columns, rows
from clipdata.lineage import METADATA_KEY, Lineage
from tests.tables import number_table

SCORES = Lineage(
    step="ChoiceScores",
    step_version="1",
    parameters={"scale": 14.28571, "probabilities": True},
    model="9794dd63d28a" + "0" * 52,
    inputs=("image", "caption_choices"),
    upstream={"caption_choices": "f" * 64},
    table_version=3,
    made_at="2026-01-01T00:00:00+00:00",
    made_by="clipdata 0.1",
)


@pytest.mark.parametrize(
    "changed",
    [
        {"step": "PairScore"},
        {"step_version": "2"},
        {"parameters": {"scale": 100, "probabilities": True}},
        {"model": "a" * 64},
        {"inputs": ("caption_choices", "image")},
        {"upstream": {}},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_what_decides_the_values_changes_the_fingerprint(changed: dict[str, Any]) -> None:
    assert replace(SCORES, **changed).fingerprint != SCORES.fingerprint


def test_when_and_where_it_was_made_does_not() -> None:
    again = replace(SCORES, table_version=9, made_at="2027-01-01T00:00:00+00:00", made_by="clipdata 9")
    assert again.fingerprint == SCORES.fingerprint


def test_it_comes_back_from_a_table_as_it_went_in(tmp_path: Path) -> None:
    table = number_table(tmp_path, 3)
    column = pa.field("scores", pa.float32(), metadata={METADATA_KEY: SCORES.to_json().encode()})
    described = columns.add(table, column)
    assert described.lineage("scores") == SCORES

    rows.delete_keys(described, ["000001"])
    described.latest().dataset.optimize.compact_files()

    assert described.latest().lineage("scores") == SCORES
    assert described.latest().lineage("number") is None


def test_what_a_later_version_says_beyond_it_is_left_out() -> None:
    later = json.dumps({**SCORES.to_dict(), "cost": 7})
    assert Lineage.from_json(later) == SCORES


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"step": "PairScore"}, "step: 'ChoiceScores' in the column, 'PairScore' in this run"),
        ({"step_version": "2"}, "version of the step: 1 in the column, 2 in this run"),
        (
            {"parameters": {**SCORES.parameters, "scale": 14.285711}},
            "parameter scale: 14.28571 in the column, 14.285711",
        ),
        ({"parameters": {"scale": 14.28571}}, "parameter probabilities: True in the column, none in this run"),
        ({"model": None}, "in the column, 'none' in this run"),
        ({"inputs": ("image",)}, "columns read: 'image, caption_choices' in the column, 'image' in this run"),
        ({"upstream": {}}, "column 'caption_choices' that it reads was made anew, in another way, since"),
    ],
)
def test_two_lineages_differ_in_one_line_for_each_difference(changed: dict[str, Any], said: str) -> None:
    (line,) = SCORES.differences(replace(SCORES, **changed))
    assert said in line
    assert SCORES.differences(SCORES) == []


def test_another_python_and_other_code_are_told_apart() -> None:
    column = replace(SCORES, step_version="python3.11-aaa")
    assert "other code of the function" in column.differences(replace(column, step_version="python3.11-bbb"))[0]
    assert "another Python" in column.differences(replace(column, step_version="python3.12-aaa"))[0]


def test_parameters_of_other_kinds_read_differently() -> None:
    assert len({replace(SCORES, parameters={"k": k}).describe() for k in (1, 1.0, "1", True)}) == 4


def test_a_long_list_is_told_by_how_it_begins_and_by_where_it_differs() -> None:
    classes = [f"class {number}" for number in range(1000)]
    column = replace(SCORES, parameters={"classes": classes})
    other = replace(SCORES, parameters={"classes": [*classes[:700], "cat", *classes[701:]]})

    assert "'class 5', … 1,000 in all]" in column.describe()
    assert len(column.describe()) < 200
    assert "(entry 700: 'class 700') in the column" in column.differences(other)[0]
    assert "(entry 700: 'cat') in this run" in column.differences(other)[0]
    shorter = replace(SCORES, parameters={"classes": classes[:3]})
    assert "['class 0', 'class 1', 'class 2'] (entry 3: none)" in shorter.differences(column)[0]
    assert "(entry 3: 'class 3')" in column.differences(shorter)[0]


def test_it_is_one_line_for_people() -> None:
    expected = "ChoiceScores(image, caption_choices, scale=14.2857, probabilities=True) with 9794dd63d28a"
    assert SCORES.describe() == expected


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (np.zeros(5000), np.eye(1, 5000, 2500)[0]),  # an array's text leaves out its middle
        (np.zeros(4, np.float32), np.zeros(4, np.float64)),
        (np.zeros((2, 3)), np.zeros((3, 2))),
        (b"one", b"two"),
        ({"deep": [np.array([1])]}, {"deep": [np.array([2])]}),
        ({1, 2}, {1, 3}),
    ],
)
def test_parameters_that_differ_anywhere_give_another_fingerprint(first: object, second: object) -> None:
    one, other = (Lineage("s", "1", {"w": value}) for value in (first, second))

    assert one.fingerprint != other.fingerprint
    assert Lineage.from_json(one.to_json()).fingerprint == one.fingerprint


def test_a_parameter_whose_value_nothing_tells_is_refused() -> None:
    with pytest.raises(UsageError, match="nothing tells its value"):
        _ = Lineage("s", "1", {"f": lambda: 1}).fingerprint
