"""Arguments of another kind than expected: one line that says what was found and what to type, never a traceback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import clipdata as cd
from clipdata.errors import NotFoundError, SchemaError, StorageError, UsageError
from clipdata.stream import Stream
from tests.contests import contest_table
from tests.tables import number_table
from tests.test_overwrite import Plus
from tests.tiny_models import tiny_encoder

Given = Callable[[cd.Table, Path], Any]

WRONG: dict[str, tuple[Given, str]] = {
    "head of a text": (lambda t, _: t.head("2"), "head: num_rows is '2'"),
    "head of half a row": (lambda t, _: t.head(1.5), "num_rows is 1.5"),
    "head of another column": (lambda t, _: t.head(columns=["q"]), "no column 'q'; it has path"),
    "pandas of another column": (lambda t, _: t.to_pandas(["zz"]), "no column 'zz'; it has path"),
    "take before the first": (lambda t, _: t.take([-1], ["number"]), "take holds -1; the table has 4"),
    "take behind the last": (lambda t, _: t.take([0, 4], ["number"]), "take holds 4; the table has 4"),
    "take of halves": (lambda t, _: t.take([0.5], ["number"]), "expected whole numbers"),
    "a DataFrame of the table itself": (lambda t, _: pd.DataFrame(t), "a table is no array"),
    "an array of the table itself": (lambda t, _: np.asarray(t), "a table is no array"),
    "a blank condition, counted": (lambda t, _: t.count_rows(""), "where is ''; expected an SQL condition"),
    "a blank condition, read": (lambda t, _: t.to_table(where=" "), "where is ' '"),
    "a condition that is no text": (lambda t, _: t.offsets(True), "where is True"),
    "a blank condition, compared": (lambda t, _: cd.compare(t, "number", "path", where=""), "where is ''"),
    "a blank condition on training": (lambda t, _: cd.compare(t, "number", "path", trained_where=" "), "where is ' '"),
    "a blank condition, streamed": (lambda t, _: Stream(t, ["number"], batch_size=2, where=""), "where is ''"),
    "a stream of nothing": (lambda t, _: Stream(t, [], batch_size=2), "a stream of no columns"),
    "batches of a text": (lambda t, _: Stream(t, ["number"], batch_size="2"), "batch_size is '2'"),
    "batches of nothing": (lambda t, _: Stream(t, ["number"], batch_size=0), "batch_size is 0"),
    "an empty state": (lambda t, _: Stream(t, ["number"], batch_size=2).load_state_dict({}), "no state of a stream"),
    "no state": (lambda t, _: Stream(t, ["number"], batch_size=2).load_state_dict(None), "no state of a stream"),
    "a model of no name": (lambda t, _: cd.load_encoder(None), "None names no model"),
    "a version as a text": (lambda t, _: cd.open_table(t.uri, version="1"), "no tag '1' of .*a number"),
}


@pytest.mark.parametrize("given", WRONG)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, given: str) -> None:
    ask, said = WRONG[given]
    with pytest.raises((UsageError, SchemaError, NotFoundError), match=said):
        ask(number_table(tmp_path, 4), tmp_path)


TRAININGS: dict[str, tuple[dict[str, Any], str]] = {
    "a model's name": ({"encoder": "starter"}, "encoder is 'starter'; expected Encoder"),
    "a dict": ({"config": {"epochs": 1}}, "expected TrainConfig"),
    "a recipe without brackets": ({"config": cd.recipes.caption_contest}, "its brackets were forgotten"),
    "a truth value": ({"progress": True}, "progress is True"),
    "a bar without brackets": ({"progress": cd.progress_bar}, "its brackets were forgotten"),
    "a blank condition": ({"where": ""}, "where is ''"),
}


@pytest.mark.parametrize("given", TRAININGS)
def test_a_training_says_what_it_expected(tmp_path: Path, given: str) -> None:
    wrong, said = TRAININGS[given]
    with pytest.raises(UsageError, match=said) as caught:
        cd.train(
            contest_table(tmp_path),
            **{"encoder": tiny_encoder(), "config": cd.recipes.caption_contest(), **wrong},
            out=tmp_path / "run",
        )
    assert caught.value.hint
    assert not (tmp_path / "run").exists()


def test_a_file_where_the_records_of_a_table_would_lie_is_named(tmp_path: Path) -> None:
    table = number_table(tmp_path, 4)
    Path(f"{table.uri}.state").write_text("a file")

    with pytest.raises(StorageError, match=r"t\.lance\.state.*a file stands where the folder should be"):
        cd.map_column(table, Plus(1), "made")


def test_rows_are_taken_in_the_order_that_was_asked_for(tmp_path: Path) -> None:
    table = number_table(tmp_path, 4)

    assert table.take([3, 0, 3], ["number"]).column("number").to_pylist() == [3, 0, 3]
    assert table.take([], ["number"]).num_rows == 0
