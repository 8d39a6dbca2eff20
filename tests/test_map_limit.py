"""Map of some rows only, and the dry run of a map: what they compute, and that the rest is as if they had not been."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

import clipdata as cd
from clipdata.errors import LineageMismatchError, SchemaError, UsageError
from clipdata.lance_io import rows
from clipdata.lance_io.table import open_table
from clipdata.schema import key_field
from clipdata.step_protocol import BaseStep
from tests.tables import append_numbers, number_table
from tests.test_mapping import Checkpointing, Doubler, values


def filled(table: cd.Table, column: str = "double") -> list[int]:
    return sorted(number for number, value in values(table, column).items() if value is not None)


def files_beside(table: cd.Table) -> set[str]:
    place = Path(table.uri)
    return {str(path) for folder in (place, Path(f"{place}.state")) for path in folder.rglob("*")}


def test_a_limit_computes_the_first_rows_and_the_next_call_goes_on_with_the_rest(tmp_path: Path) -> None:
    table = number_table(tmp_path, 20, rows_per_write=6)
    step = Doubler()

    first = cd.map_column(table, step, "double", limit=8)
    assert (first.computed, first.kept, first.pending, first.waiting) == (8, 0, 12, 0)
    assert step.seen == filled(table) == list(range(8))

    second = cd.map_column(table, step, "double", limit=5)
    assert (second.computed, second.kept, second.pending) == (5, 8, 7)
    assert filled(table) == list(range(13))

    last = cd.map_column(table, step, "double")
    assert (last.computed, last.kept, last.pending) == (7, 13, 0)
    assert step.seen == list(range(20))
    assert values(table, "double") == {n: 2 * n for n in range(20)}
    assert cd.map_column(table, step, "double", limit=3).computed == 0


def test_a_limit_beyond_the_rows_computes_them_all_and_leaves_no_records(tmp_path: Path) -> None:
    table = number_table(tmp_path, 9, rows_per_write=4)
    done = cd.map_column(table, Doubler(), "double", limit=100)
    assert (done.computed, done.pending) == (9, 0)
    assert not list(Path(f"{table.uri}.state").rglob("*.json"))


def test_rows_that_fail_count_and_are_neither_pending_nor_waiting(tmp_path: Path) -> None:
    table = number_table(tmp_path, 10, rows_per_write=10)
    done = cd.map_column(table, Doubler(fail_on=frozenset({1, 2})), "double", limit=4)
    assert (done.computed, done.num_failed, done.pending, done.waiting) == (4, 2, 6, 0)

    again = Doubler()
    done = cd.map_column(table, again, "double", limit=4)
    assert again.seen == [4, 5, 6, 7]
    assert (done.failed_before, done.pending) == (2, 2)
    cd.map_column(table, again, "double", retry_failed=True)
    assert filled(table) == list(range(10))


@pytest.mark.parametrize("kind", [pa.int64(), pa.binary()], ids=["numbers", "bytes"])
def test_rows_that_wait_for_an_input_take_nothing_of_the_limit(tmp_path: Path, kind: pa.DataType) -> None:
    schema = pa.schema([key_field("path"), pa.field("number", kind)])
    table = rows.create_table(tmp_path / "t.lance", schema)
    for start in range(0, 30, 5):
        numbers = [None if n % 5 < 3 or n < 5 else n for n in range(start, start + 5)]
        held = numbers if kind == pa.int64() else [None if n is None else str(n).encode() for n in numbers]
        keys = [f"{n:03d}" for n in range(start, start + 5)]
        rows.upsert(table, pa.table({"path": keys, "number": pa.array(held, kind)}))

    @cd.step(reads="number", returns="int64")
    def whole(number: int | bytes) -> int:
        return int(number)

    done = cd.map_column(open_table(table.uri), whole, "made", limit=7)

    assert done.computed == 7
    read = open_table(table.uri).to_table(["path", "made"]).sort_by("path").column("made").drop_null().to_pylist()
    assert read == [8, 9, 13, 14, 18, 19, 23]


def test_a_limited_map_that_was_killed_ends_where_it_would_have_ended(tmp_path: Path) -> None:
    table = number_table(tmp_path, 30, rows_per_write=10)
    with pytest.raises(KeyboardInterrupt):
        cd.map_column(table, Doubler(die_after=14), "double", limit=17, batch_rows=2, engine=Checkpointing(every_s=0.0))
    again = Doubler()
    done = cd.map_column(table, again, "double", limit=17)
    assert filled(table) == list(range(17))
    assert again.seen == [14, 15, 16]
    assert done.pending == 13


def test_a_limit_keeps_what_a_killed_map_computed_beyond_it(tmp_path: Path) -> None:
    table = number_table(tmp_path, 30, rows_per_write=10)
    with pytest.raises(KeyboardInterrupt):
        cd.map_column(table, Doubler(die_after=8), "double", batch_rows=2, engine=Checkpointing(every_s=0.0))
    append_numbers(table, 30, 40)
    again = Doubler()
    assert cd.map_column(table, again, "double", limit=5).computed == 0
    assert (again.seen, filled(table)) == ([], list(range(8)))


def test_two_maps_with_a_limit_at_once_repeat_nothing_that_is_committed(tmp_path: Path) -> None:
    table = number_table(tmp_path, 30, rows_per_write=10)
    other = Doubler()

    class Meanwhile(Doubler):
        """Another map comes in between, once."""

        name, begun = "Doubler", False

        def compute(self, batch: pa.RecordBatch, prepared: object):
            if not self.begun:
                self.begun = True
                cd.map_column(table.uri, other, "double", limit=12)
            return super().compute(batch, prepared)

    done = cd.map_column(table, Meanwhile(), "double", limit=12)

    assert done.computed == 12
    assert values(table, "double") == {n: 2 * n if n < 24 else None for n in range(30)}


def test_an_overwrite_with_a_limit_is_gone_on_with_by_the_same_call(tmp_path: Path) -> None:
    table = number_table(tmp_path, 12, rows_per_write=5)
    cd.map_column(table, Doubler(2), "double")
    for stop in (5, 10, 12):
        cd.map_column(table, Doubler(3), "double", overwrite=True, limit=5)
        assert values(table, "double") == {n: 3 * n if n < stop else None for n in range(12)}


def test_a_limit_is_a_whole_number_above_zero(tmp_path: Path) -> None:
    table = number_table(tmp_path, 3)
    for wrong in (0, -1, 2.0, True):
        with pytest.raises(UsageError, match="map: limit is"):
            cd.map_column(table, Doubler(), "double", limit=wrong)  # type: ignore[arg-type]


def test_a_dry_run_tells_rows_bytes_and_time_and_writes_nothing(tmp_path: Path) -> None:
    table = number_table(tmp_path, 20, rows_per_write=6)
    before, version, step = files_beside(table), table.version, Doubler()

    told = cd.map_column(table, step, "double", dry_run=True)

    assert (told.dry_run, told.computed, told.pending, told.kept) == (True, 0, 20, 0)
    assert told.read_bytes == {"number": 160}
    assert told.estimate_s is not None
    assert told.estimate_s > 0
    assert len(step.seen) <= 9
    assert "20 rows to compute" in str(told)
    assert "nothing was written" in str(told)
    assert files_beside(table) == before
    assert open_table(table.uri).version == version
    assert cd.map_column(table, step, "double", limit=5, dry_run=True).read_bytes == {"number": 40}


def test_a_dry_run_of_a_column_that_is_begun_counts_what_is_left(tmp_path: Path) -> None:
    table = number_table(tmp_path, 20, rows_per_write=6)
    cd.map_column(table, Doubler(fail_on=frozenset({2})), "double", limit=8)
    before = files_beside(table)

    told = cd.map_column(table, Doubler(fail_on=frozenset({9})), "double", dry_run=True)
    assert (told.pending, told.kept, told.failed_before, told.waiting) == (12, 7, 1, 0)
    assert told.notes == {"rows tried": 4, "failed: cannot": 1}
    again = cd.map_column(table, Doubler(), "double", dry_run=True, retry_failed=True)
    assert (again.pending, again.waiting) == (13, 0)
    anew = cd.map_column(table, Doubler(3), "double", dry_run=True, overwrite=True)
    assert (anew.pending, anew.kept) == (20, 0)
    assert files_beside(table) == before
    assert filled(table) == [0, 1, 3, 4, 5, 6, 7]


def test_a_dry_run_refuses_what_the_map_would_refuse(tmp_path: Path) -> None:
    table = number_table(tmp_path, 6)
    cd.map_column(table, Doubler(2), "double")
    with pytest.raises(LineageMismatchError):
        cd.map_column(table, Doubler(3), "double", dry_run=True)

    class OfOther(BaseStep):
        name, version, reads, returns = "OfOther", "1", ("other",), pa.int64()

        def compute(self, batch: pa.RecordBatch, prepared: None) -> pa.Array:
            return batch.column(0)

    with pytest.raises(SchemaError, match="other"):
        cd.map_column(table, OfOther(), "made", dry_run=True)


def test_a_dry_run_of_rows_that_all_wait_promises_no_time(tmp_path: Path) -> None:
    table = number_table(tmp_path, 4)
    cd.map_column(table, Doubler(fail_on=frozenset(range(4))), "double")

    class OfDouble(Doubler):
        name, reads = "OfDouble", ("double",)

    told = cd.map_column(table, OfDouble(), "more", dry_run=True)

    assert (told.pending, told.waiting, told.estimate_s, told.read_bytes) == (0, 4, None, {})
    assert told.hold() is told
