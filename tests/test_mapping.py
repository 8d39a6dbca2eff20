"""Map: what it computes, what it leaves alone, and what it refuses."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

import clipdata as cd
from clipdata.engines.local import LocalEngine
from clipdata.engines.task import FragmentDone, FragmentTask
from clipdata.errors import LineageMismatchError, SchemaError, StepError, UsageError
from clipdata.lance_io import rows
from clipdata.lance_io.history import log
from clipdata.lance_io.table import open_table
from clipdata.progress import Counter
from clipdata.schema import key_field
from tests.tables import append_numbers, number_table


class Doubler:
    """A step that remembers what it was asked."""

    name, version, model = "Doubler", "1", None
    reads: tuple[str, ...] = ("number",)
    returns = pa.int64()

    def __init__(self, factor: int = 2, fail_on: frozenset[int] = frozenset(), die_after: int | None = None) -> None:
        self.parameters = {"factor": factor}
        self.factor, self.fail_on, self.die_after = factor, fail_on, die_after
        self.seen: list[int] = []

    def check(self, schema: pa.Schema) -> None:
        pass

    def prepare(self, batch: pa.RecordBatch) -> None:
        return None

    def compute(self, batch: pa.RecordBatch, prepared: object):
        numbers = batch.column("number").to_pylist()
        if self.die_after is not None and len(self.seen) + len(numbers) > self.die_after:
            raise KeyboardInterrupt
        self.seen += numbers
        values = [None if n in self.fail_on else n * self.factor for n in numbers]
        return pa.array(values, pa.int64()), [f"cannot: {n}" if n in self.fail_on else None for n in numbers]


class Checkpointing(LocalEngine):
    """The local engine, with checkpoints as often as a test needs them."""

    def __init__(self, every_s: float = 3600.0, every_bytes: int = 1 << 40) -> None:
        self.settings = {"checkpoint_every_s": every_s, "checkpoint_bytes": every_bytes}

    def run(self, tasks: Iterable[FragmentTask], counter: Counter) -> Iterator[FragmentDone]:
        return super().run((replace(task, **self.settings) for task in tasks), counter)


def values(table: cd.Table, column: str) -> dict[int, int | None]:
    read = open_table(table.uri).to_table(["number", column])
    return dict(zip(read["number"].to_pylist(), read[column].to_pylist(), strict=True))


def test_map_fills_every_row_of_every_fragment(tmp_path: Path) -> None:
    table = number_table(tmp_path, 30, rows_per_write=7)
    done = cd.map_column(table, Doubler(), "double", batch_rows=3)
    assert done.computed == 30
    assert values(table, "double") == {n: 2 * n for n in range(30)}
    assert table.version == done.version == open_table(table.uri).version


def test_map_fills_only_rows_added_since_last_time(tmp_path: Path) -> None:
    table = number_table(tmp_path, 20)
    cd.map_column(table, Doubler(), "double")
    append_numbers(table, 20, 120)
    again = Doubler()
    done = cd.map_column(table, again, "double")
    assert sorted(again.seen) == list(range(20, 120))
    assert (done.computed, done.kept) == (100, 20)
    assert values(table, "double") == {n: 2 * n for n in range(120)}


def test_map_again_computes_nothing_and_makes_no_version(tmp_path: Path) -> None:
    table = number_table(tmp_path, 5)
    first = cd.map_column(table, Doubler(), "double")
    again = Doubler()
    second = cd.map_column(table, again, "double")
    assert again.seen == []
    assert second.version == first.version
    assert "nothing to compute" in str(second)


def test_other_parameters_on_the_same_column_are_refused_and_named(tmp_path: Path) -> None:
    table = number_table(tmp_path, 5)
    cd.map_column(table, Doubler(2), "double")
    with pytest.raises(LineageMismatchError, match=r"Doubler\(number, factor=2\).*Doubler\(number, factor=3\)"):
        cd.map_column(table, Doubler(3), "double")


def test_overwrite_makes_a_new_version_and_leaves_the_old_one_readable(tmp_path: Path) -> None:
    table = number_table(tmp_path, 9, rows_per_write=4)
    before = cd.map_column(table, Doubler(2), "double")
    cd.map_column(table, Doubler(3), "double", overwrite=True)
    assert values(table, "double") == {n: 3 * n for n in range(9)}
    old = open_table(table.uri, version=before.version)
    assert sorted(old.to_table(["double"])["double"].to_pylist()) == [2 * n for n in range(9)]
    lineage = open_table(table.uri).lineage("double")
    assert lineage is not None
    assert lineage.parameters == {"factor": 3}


def test_overwrite_may_change_the_type(tmp_path: Path) -> None:
    table = number_table(tmp_path, 4)
    cd.map_column(table, Doubler(), "made")

    @cd.step(reads="number", returns="string")
    def spelled(number: int) -> str:
        return str(number)

    cd.map_column(table, spelled, "made", overwrite=True)
    assert values(table, "made") == {n: str(n) for n in range(4)}


def test_failed_rows_stay_null_with_a_reason_and_are_tried_again_on_request_only(tmp_path: Path) -> None:
    table = number_table(tmp_path, 10, rows_per_write=4)
    done = cd.map_column(table, Doubler(fail_on=frozenset({3, 7})), "double")
    assert done.failed == {"cannot": 2}
    assert values(table, "double")[3] is None
    assert values(table, "double__error")[3] == "cannot: 3"
    assert values(table, "double__error")[4] is None
    again = Doubler()
    cd.map_column(table, again, "double")
    assert again.seen == []
    cd.map_column(table, again, "double", retry_failed=True)
    assert sorted(again.seen) == [3, 7]
    assert values(table, "double")[7] == 14
    assert values(table, "double__error")[7] is None


def test_an_interrupted_map_goes_on_where_it_stopped(tmp_path: Path) -> None:
    table = number_table(tmp_path, 40, rows_per_write=10)
    with pytest.raises(KeyboardInterrupt):
        cd.map_column(table, Doubler(die_after=25), "double", batch_rows=5)
    again = Doubler()
    cd.map_column(table, again, "double", batch_rows=5)
    assert sorted(again.seen) == list(range(25, 40))
    assert values(table, "double") == {n: 2 * n for n in range(40)}
    assert not (tmp_path / "t.lance.state" / "map").exists() or not any((tmp_path / "t.lance.state" / "map").iterdir())


def test_work_within_a_fragment_is_checkpointed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = number_table(tmp_path, 40)
    engine = Checkpointing(every_s=0.0)
    monkeypatch.setattr("clipdata.engines.fill._Work.save", lambda self: None)  # as if killed: nothing can be saved
    with pytest.raises(KeyboardInterrupt):
        cd.map_column(table, Doubler(die_after=25), "double", batch_rows=5, engine=engine)
    again = Doubler()
    cd.map_column(table, again, "double", batch_rows=5)
    assert sorted(again.seen) == list(range(25, 40))
    assert values(table, "double") == {n: 2 * n for n in range(40)}


def test_records_of_rows_that_were_replaced_meanwhile_do_not_count(tmp_path: Path) -> None:
    table = number_table(tmp_path, 20, rows_per_write=10)
    with pytest.raises(KeyboardInterrupt):
        cd.map_column(table, Doubler(die_after=15), "double", batch_rows=5)
    changed = pa.table({"path": ["000003"], "number": [1000], "text": ["other"]})
    rows.upsert(table, changed, changed="number")
    cd.map_column(table, Doubler(), "double")
    assert values(table, "double") == {n: 2 * n for n in range(20) if n != 3} | {1000: 2000}


def test_rows_appended_by_another_writer_meanwhile_are_computed_too(tmp_path: Path) -> None:
    table = number_table(tmp_path, 10)

    class Slow(Doubler):
        def compute(self, batch: pa.RecordBatch, prepared: object):
            if not self.seen:
                writer = threading.Thread(target=append_numbers, args=(open_table(table.uri), 10, 15))
                writer.start()
                writer.join()
            return super().compute(batch, prepared)

    cd.map_column(table, Slow(), "double")
    assert values(table, "double") == {n: 2 * n for n in range(15)}


def test_rows_deleted_before_and_while_mapping_leave_the_others_right(tmp_path: Path) -> None:
    table = number_table(tmp_path, 30, rows_per_write=15)
    rows.delete_keys(table, ["000004", "000020"])

    class Slow(Doubler):
        def compute(self, batch: pa.RecordBatch, prepared: object):
            if not self.seen:
                rows.delete_keys(open_table(table.uri), ["000021"])
            return super().compute(batch, prepared)

    cd.map_column(table, Slow(), "double", batch_rows=4)
    assert values(table, "double") == {n: 2 * n for n in range(30) if n not in (4, 20, 21)}
    open_table(table.uri).dataset.validate()


def test_rows_whose_input_is_null_wait_until_it_is_there(tmp_path: Path) -> None:
    table = number_table(tmp_path, 6)
    cd.map_column(table, Doubler(fail_on=frozenset({2})), "double")

    class OfDouble(Doubler):
        name, reads = "OfDouble", ("double",)

        def compute(self, batch: pa.RecordBatch, prepared: object):
            return pa.compute.add(batch.column("double"), 1)

    first = cd.map_column(table, OfDouble(), "more")
    assert (first.computed, first.kept, first.waiting) == (5, 0, 1)
    assert values(table, "more")[2] is None
    cd.map_column(table, Doubler(), "double", retry_failed=True)
    cd.map_column(table, OfDouble(), "more")
    assert values(table, "more") == {n: 2 * n + 1 for n in range(6)}


def test_a_column_made_from_an_overwritten_one_is_stale_and_refused(tmp_path: Path) -> None:
    table = number_table(tmp_path, 3)

    @cd.step(reads="double", returns="int64")
    def plus_one(double: int) -> int:
        return double + 1

    cd.map_column(table, Doubler(2), "double")
    cd.map_column(table, plus_one, "more")
    cd.map_column(table, Doubler(3), "double", overwrite=True)
    with pytest.raises(LineageMismatchError):
        cd.map_column(table, plus_one, "more")


def test_a_step_that_names_a_missing_column_is_told_the_near_names(tmp_path: Path) -> None:
    table = number_table(tmp_path, 3)

    @cd.step(reads="nubmer", returns="int64")
    def same(number: int) -> int:
        return number

    with pytest.raises(SchemaError, match="did you mean number"):
        cd.map_column(table, same, "copy")


def test_a_step_that_breaks_its_contract_is_named(tmp_path: Path) -> None:
    table = number_table(tmp_path, 3)

    @cd.step(reads="number", returns="int64", batch=True)
    def short(numbers: pa.Array) -> pa.Array:
        return numbers[:1]

    with pytest.raises(StepError, match=r"short returned 1 values of int64 for 3 rows"):
        cd.map_column(table, short, "copy")


def test_a_function_that_raises_fails_that_row_alone(tmp_path: Path) -> None:
    table = number_table(tmp_path, 4)

    @cd.step(reads="number", returns="float64")
    def inverse(number: int) -> float:
        return 1 / number

    done = cd.map_column(table, inverse, "inverse")
    assert done.failed == {"ZeroDivisionError": 1}
    assert values(table, "inverse") == {0: None, 1: 1.0, 2: 0.5, 3: 1 / 3}


def test_a_step_may_not_write_what_it_reads(tmp_path: Path) -> None:
    table = number_table(tmp_path, 3)
    with pytest.raises(UsageError, match="cannot be written"):
        cd.map_column(table, Doubler(), "number")


def test_the_history_says_what_map_did(tmp_path: Path) -> None:
    table = number_table(tmp_path, 3)
    cd.map_column(table, Doubler(), "double")
    last = log(table.uri)[-1]
    assert last.properties is not None
    assert last.properties.verb == "map"
    assert last.properties.parameters["column"] == "double"
    assert last.properties.rows == {"computed": 3, "failed": 0}


def image_table(folder: Path, image_bytes: int, *, num_fragments: int = 4) -> cd.Table:
    """Ten rows a fragment, with images that no codec makes smaller."""
    schema = pa.schema([key_field("path"), pa.field("image", pa.large_binary()), pa.field("number", pa.int64())])
    table = rows.create_table(folder / f"{image_bytes}.lance", schema)
    for start in range(0, 10 * num_fragments, 10):
        numbers = list(range(start, start + 10))
        images = [os.urandom(image_bytes) for _ in numbers]
        rows.upsert(table, pa.table({"path": [f"{n:03d}" for n in numbers], "image": images, "number": numbers}))
    return open_table(table.uri)


def test_map_writes_the_column_alone(tmp_path: Path) -> None:
    table = image_table(tmp_path, 200_000)
    size_before = sum(f.stat().st_size for f in tmp_path.rglob("*") if f.is_file())
    cd.map_column(table, Doubler(), "double")
    size_after = sum(f.stat().st_size for f in tmp_path.rglob("*") if f.is_file())
    assert size_before > 8_000_000
    assert size_after - size_before < 1.1 * 40 * 8 + 4 * 65_536


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="the kernel counts no bytes a process here")
def test_map_reads_no_image_byte_for_a_step_that_names_no_image(tmp_path: Path) -> None:
    def bytes_read() -> int:
        """By the whole process so far, through whatever handle."""
        return int(Path("/proc/self/io").read_text().split("rchar: ")[1].split()[0])

    read = {}
    for image_bytes in (2_000, 20_000, 400_000):  # the first loads what is loaded once
        table = image_table(tmp_path, image_bytes)
        before = bytes_read()
        cd.map_column(table, Doubler(), "double")
        read[image_bytes] = bytes_read() - before
    before = bytes_read()
    assert sum(batch.num_rows for batch in table.scan(["image"])) == 40
    assert bytes_read() - before >= 40 * 400_000, "the kernel does not count what Lance reads"
    assert abs(read[400_000] - read[20_000]) < 20_000, "what is read grows with the images"
    assert read[400_000] < 400_000


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (len, "the step is the function 'len'"),
        (cd.steps.LabelIndex, r"class LabelIndex(.|\n)*brackets: LabelIndex\("),
        ("label-index", "the step is 'label-index'"),
        (None, "the step is None"),
    ],
)
def test_what_is_no_step_is_refused_and_named(tmp_path: Path, step: object, said: str) -> None:
    with pytest.raises(UsageError, match=said) as refused:
        cd.map_column(number_table(tmp_path, 2), step, "found")
    assert refused.value.hint


@pytest.mark.parametrize(
    "argument",
    [
        {"batch_rows": -1},
        {"batch_rows": 0},
        {"batch_rows": 1.5},
        {"batch_rows": True},
        {"engine": "x"},
        {"engine": LocalEngine},
        {"progress": True},
        {"progress": cd.progress_bar},
    ],
)
def test_an_argument_of_another_kind_is_refused_by_its_name(tmp_path: Path, argument: dict) -> None:
    table = number_table(tmp_path, 2)
    with pytest.raises(UsageError, match=f"map: {next(iter(argument))} is"):
        cd.map_column(table, Doubler(), "found", **argument)
    assert "found" not in table.latest().schema.names


def test_a_refusal_says_what_differs_where_both_steps_read_alike(tmp_path: Path) -> None:
    table = number_table(tmp_path, 3)
    cd.map_column(table, Doubler(2), "first")
    after = cd.step(reads="first", returns="int64")(lambda first: first + 1)
    cd.map_column(table, after, "second")
    cd.map_column(table, Doubler(3), "first", overwrite=True)

    with pytest.raises(LineageMismatchError, match="column 'first' that it reads was made anew") as refused:
        cd.map_column(table, after, "second")
    assert "None" not in str(refused.value)
    with pytest.raises(LineageMismatchError, match="other code of the function"):
        cd.map_column(table, cd.step(reads="first", returns="int64")(lambda first: first + 2), "second")
