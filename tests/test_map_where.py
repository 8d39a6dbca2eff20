"""Map of the rows that meet a condition: what is computed, and that the rest is as if nobody had asked."""

from __future__ import annotations

import json
from pathlib import Path

import lance
import pyarrow as pa
import pytest

import clipdata as cd
from clipdata.errors import SchemaError, UsageError
from clipdata.lance_io import rows
from clipdata.lance_io.history import log
from clipdata.lance_io.table import open_table
from clipdata.schema import key_field
from pipelines.cli.app import main
from tests.tables import append_numbers, number_table
from tests.test_map_limit import files_beside, filled
from tests.test_mapping import Checkpointing, Doubler, values

ODD = "number % 2 = 1"


def test_only_rows_that_meet_the_condition_are_computed_and_the_next_call_does_the_rest(tmp_path: Path) -> None:
    table = number_table(tmp_path, 20, rows_per_write=6)
    step = Doubler(fail_on=frozenset({5}))

    first = cd.map_column(table, step, "double", where="number < 8 AND number % 2 = 1")
    assert (first.computed, first.num_failed, first.kept, first.pending, first.waiting) == (4, 1, 0, 16, 0)
    assert step.seen == [1, 3, 5, 7]
    assert "16 rows are left to the next run" in str(first)
    assert log(table)[-1].properties.parameters["where"] == "number < 8 AND number % 2 = 1"  # type: ignore[union-attr]

    nothing = cd.map_column(table, step, "double", where="number < 8 AND number % 2 = 1")
    assert (nothing.computed, nothing.pending, nothing.version) == (0, 16, first.version)
    assert "16 are left to the next run" in str(nothing)

    second = cd.map_column(table, step, "double", where=ODD, limit=4)
    assert (second.computed, second.kept, second.pending) == (4, 3, 12)
    assert step.seen == [1, 3, 5, 7, 9, 11, 13, 15]

    last = cd.map_column(table, step, "double")
    assert (last.computed, last.pending, last.failed_before) == (12, 0, 1)
    assert values(table, "double") == {n: None if n == 5 else 2 * n for n in range(20)}
    lineage, whole = table.lineage("double"), cd.Lineage("Doubler", "1", {"factor": 2}, inputs=("number",))
    assert lineage is not None
    assert lineage.fingerprint == whole.fingerprint
    assert not list(Path(f"{table.uri}.state").rglob("*.json"))


def test_a_condition_may_ask_for_the_rows_that_failed_in_one_way(tmp_path: Path) -> None:
    table = number_table(tmp_path, 12, rows_per_write=5)
    cd.map_column(table, Doubler(fail_on=frozenset({1, 4, 9})), "double")
    again = Doubler()

    done = cd.map_column(table, again, "double", where="double__error LIKE '%: 9'", retry_failed=True)

    assert (again.seen, done.failed_before) == ([9], 2)
    assert [n for n in range(12) if n not in filled(table)] == [1, 4]


@pytest.mark.parametrize("kind", [pa.int64(), pa.binary()], ids=["numbers", "bytes"])
def test_rows_that_wait_for_an_input_are_told_from_those_left_out(tmp_path: Path, kind: pa.DataType) -> None:
    schema = pa.schema([key_field("path"), pa.field("n", pa.int64()), pa.field("held", kind)])
    table = rows.create_table(tmp_path / "t.lance", schema)
    held = [None if n % 3 == 0 else n if kind == pa.int64() else str(n).encode() for n in range(12)]
    paths = [f"{n:02d}" for n in range(12)]
    rows.upsert(table, pa.table({"path": paths, "n": range(12), "held": pa.array(held, kind)}))

    @cd.step(reads="held", returns="int64")
    def whole(held: int | bytes) -> int:
        return int(held)

    done = cd.map_column(table.uri, whole, "made", where="n < 6")

    assert (done.computed, done.pending + done.waiting) == (4, 8)
    if kind == pa.int64():  # of bytes, only reading them tells
        assert (done.pending, done.waiting) == (4, 4)
    assert cd.map_column(table.uri, whole, "made").computed == 4


@pytest.mark.parametrize("first", [None, ODD], ids=["everything", "some rows"])
@pytest.mark.parametrize("then", [None, ODD, "number % 2 = 0"], ids=["everything", "the same rows", "other rows"])
def test_whatever_was_asked_of_a_killed_map_the_next_one_repeats_nothing_and_forgets_nothing(
    tmp_path: Path, first: str | None, then: str | None
) -> None:
    table = number_table(tmp_path, 30, rows_per_write=10)
    killed = Doubler(die_after=7)
    with pytest.raises(KeyboardInterrupt):
        cd.map_column(table, killed, "double", where=first, batch_rows=2, engine=Checkpointing(every_s=0.0))
    told = cd.map_column(table, Doubler(), "double", where=then, dry_run=True)

    again = Doubler()
    done = cd.map_column(table, again, "double", where=then)

    assert set(again.seen).isdisjoint(killed.seen)
    wanted = {n for n in range(30) if then is None or n % 2 == (then == ODD)}
    assert wanted <= set(filled(table)) <= wanted | set(killed.seen)
    assert done.computed <= told.pending <= done.computed + len(killed.seen)  # what is stored is not computed again
    last = Doubler()
    assert cd.map_column(table, last, "double").pending == 0
    assert sorted([*killed.seen, *again.seen, *last.seen]) == filled(table) == list(range(30))


def test_what_a_killed_map_stored_outlives_a_map_of_other_rows_and_of_none(tmp_path: Path) -> None:
    table = number_table(tmp_path, 30, rows_per_write=10)
    killed = Doubler(die_after=12)
    with pytest.raises(KeyboardInterrupt):
        cd.map_column(
            table, killed, "double", where="number >= 20 OR number < 4", batch_rows=1, engine=Checkpointing(0.0)
        )
    cd.map_column(table, Doubler(), "double", where="number = 15")
    cd.map_column(table, Doubler(), "double", where="number = 100")
    last = Doubler()
    cd.map_column(table, last, "double")
    assert set(last.seen).isdisjoint(killed.seen)
    assert values(table, "double") == {n: 2 * n for n in range(30)}


def test_an_overwrite_of_some_rows_empties_the_rest_and_is_gone_on_with(tmp_path: Path) -> None:
    table = number_table(tmp_path, 12, rows_per_write=5)
    cd.map_column(table, Doubler(2), "double")
    cd.map_column(table, Doubler(3), "double", overwrite=True, where=ODD)
    assert values(table, "double") == {n: 3 * n if n % 2 else None for n in range(12)}
    cd.map_column(table, Doubler(3), "double", overwrite=True, where="number % 2 = 0")
    assert values(table, "double") == {n: 3 * n for n in range(12)}


def test_rows_that_come_while_some_are_mapped_are_held_to_the_condition_too(tmp_path: Path) -> None:
    table = number_table(tmp_path, 10, rows_per_write=5)

    class Meanwhile(Doubler):
        """Rows come in between, and another map of other rows."""

        name, begun = "Doubler", False

        def compute(self, batch: pa.RecordBatch, prepared: object):
            if not self.begun:
                self.begun = True
                append_numbers(open_table(table.uri), 10, 16)
                cd.map_column(table.uri, Doubler(), "double", where="number IN (2, 12)")
            return super().compute(batch, prepared)

    cd.map_column(table, Meanwhile(), "double", where=ODD)

    assert filled(table) == [1, 2, 3, 5, 7, 9, 11, 12, 13, 15]


@pytest.mark.parametrize("where", [ODD, "number < 0", "text = 'number'"])
def test_a_dry_run_tells_the_rows_that_meet_the_condition(tmp_path: Path, where: str) -> None:
    table = number_table(tmp_path, 20, rows_per_write=6)
    cd.map_column(table, Doubler(), "double", where="number IN (1, 2)")
    before = files_beside(table)

    told = cd.map_column(table, Doubler(), "double", where=where, dry_run=True)

    assert (told.pending, told.kept, told.waiting) == (9 if where == ODD else 0, 2, 0)
    assert files_beside(table) == before


@pytest.mark.parametrize(
    ("where", "overwrite", "error", "said"),
    [
        ("numbr = 1", False, SchemaError, "numbr"),
        ("number =", False, SchemaError, "number ="),
        ("1 = 1) OR (1 = 1", False, UsageError, "brackets do not match"),
        (" ", False, UsageError, "expected an SQL condition"),
        (3, False, UsageError, "expected an SQL condition"),
        ("double > 3", True, UsageError, "overwrite empties"),
        ("`double__error` IS NULL", True, UsageError, "overwrite empties"),
    ],
)
def test_a_condition_that_cannot_be_meant_is_refused_before_anything_is_written(
    tmp_path: Path, where: str, overwrite: bool, error: type[Exception], said: str
) -> None:
    table = number_table(tmp_path, 6)
    cd.map_column(table, Doubler(2), "double")
    before = files_beside(table)
    with pytest.raises(error, match=said):
        cd.map_column(table, Doubler(3), "double", where=where, overwrite=overwrite)
    assert files_beside(table) == before
    assert values(table, "double") == {n: 2 * n for n in range(6)}


def test_the_command_takes_a_condition_and_a_batch_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = number_table(tmp_path, 9)
    (tmp_path / "own.py").write_text(
        "import clipdata as cd\n\n"
        "@cd.step(reads='number', returns='int64', batch=True)\n"
        "def given(number):\n    return [len(number)] * len(number)\n"
    )
    words = ["map", table.uri, f"{tmp_path}/own.py:given", "given", "--where", ODD, "--batch-size", "3", "--json"]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["computed"], found["pending"]) == (4, 5)
    assert values(table, "given") == {n: {1: 3, 3: 3, 5: 3, 7: 1}.get(n) for n in range(9)}
    assert main([*words[:5], "wrong ="]) == 2
    assert main([*words[:4], "--batch-size", "0"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_condition_that_no_row_meets_is_no_failure_though_some_rows_wait(tmp_path: Path) -> None:
    uri = str(tmp_path / "t.lance")
    lance.write_dataset(pa.table({"number": pa.array([1, None, 3], pa.int64())}), uri)

    done = cd.map_column(uri, Doubler(), "double", where="number > 9")

    assert (done.computed, done.pending, done.waiting) == (0, 2, 1)
    assert done.hold() is done
    waiting = cd.map_column(uri, Doubler(), "double")
    assert waiting.hold().computed == 2
