"""An overwrite is the column anew: whoever else writes meanwhile, values and lineage belong together."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest

import clipdata as cd
import clipdata.map_job
import ingest
from clipdata.errors import ConcurrentChangeError, LineageMismatchError, UsageError
from clipdata.lance_io import rows
from clipdata.lance_io.history import log
from clipdata.lance_io.table import open_table
from clipdata.schema import key_field
from clipdata.step_protocol import BaseStep
from tests.pictures import write_pictures
from tests.tables import append_numbers, number_table


class Plus(BaseStep):
    """number + offset; another actor may act while it computes."""

    name, returns, reads = "Plus", pa.int64(), ("number",)

    def __init__(
        self,
        offset: int,
        fail_on: tuple[int, ...] = (),
        meanwhile: Callable[[], None] | None = None,
        always: bool = False,
    ) -> None:
        self.version, self.offset, self.fail_on = str(offset), offset, fail_on
        self.meanwhile, self.always = meanwhile, always

    def compute(self, batch: pa.RecordBatch, prepared: object):
        act, self.meanwhile = self.meanwhile, self.meanwhile if self.always else None
        if act is not None:
            act()
        numbers = batch.column(self.reads[0]).to_pylist()
        values = [None if n in self.fail_on else n + self.offset for n in numbers]
        return pa.array(values, pa.int64()), [f"cannot: {n}" if n in self.fail_on else None for n in numbers]


class PlusOfMade(Plus):
    """The same of the column that another map made."""

    name, reads = "PlusOfMade", ("made",)


def read(table: cd.Table, *names: str) -> dict[str, list[object]]:
    return table.latest().to_table(list(names)).to_pydict()


def compact(table: cd.Table) -> None:
    table.latest().dataset.optimize.compact_files()


def offset_of(table: cd.Table, column: str = "made") -> int:
    lineage = table.latest().lineage(column)
    assert lineage is not None
    return int(lineage.step_version)


def test_a_compaction_during_an_overwrite_leaves_no_old_value_under_the_new_lineage(tmp_path: Path) -> None:
    table = number_table(tmp_path, 8, rows_per_write=4)
    cd.map_column(table, Plus(100), "made")

    done = cd.map_column(table, Plus(900, meanwhile=lambda: compact(table)), "made", overwrite=True)

    assert read(table, "made") == {"made": [900 + n for n in range(8)]}
    assert (offset_of(table), done.computed) == (900, 8)


def test_an_overwrite_leaves_no_old_value_where_an_input_is_null(tmp_path: Path) -> None:
    schema = pa.schema([key_field("path"), pa.field("number", pa.int64())])
    table = rows.create_table(tmp_path / "t.lance", schema)
    rows.upsert(table, pa.table({"path": ["a", "b", "c", "d"], "number": [1, None, 3, 4]}))
    cd.map_column(table, Plus(100), "made")
    # Another tool takes an input away, and leaves what was made of it.
    table.latest().dataset.update({"number": "cast(null as bigint)"}, where="number = 4")

    done = cd.map_column(table, Plus(900), "made", overwrite=True)

    assert dict(zip(*read(table, "path", "made").values(), strict=True)) == {"a": 901, "b": None, "c": 903, "d": None}
    assert (done.computed, done.waiting) == (2, 2)


def test_reasons_go_with_the_column_they_belong_to(tmp_path: Path) -> None:
    table = number_table(tmp_path, 4)
    cd.map_column(table, Plus(100, fail_on=(2,)), "made")

    done = cd.map_column(table, Plus(900), "made", overwrite=True)

    assert "made__error" not in table.latest().schema.names
    for version in range(1, table.version + 1):
        names = open_table(table.uri, version=version).schema.names
        assert "made__error" not in names or "made" in names, f"version {version} has reasons of no column"
    assert (done.computed, done.failed, done.waiting) == (4, {}, 0)
    assert cd.map_column(table, Plus(900), "made").waiting == 0


def test_a_column_dropped_by_hand_takes_its_reasons_out_of_another_steps_way(tmp_path: Path) -> None:
    table = number_table(tmp_path, 4)
    cd.map_column(table, Plus(100, fail_on=(2,)), "made")
    table.latest().dataset.drop_columns(["made"])

    done = cd.map_column(table, Plus(900), "made")

    assert done.computed == 4
    assert read(table, "made") == {"made": [900, 901, 902, 903]}


def test_a_column_of_the_users_own_is_not_taken_for_reasons(tmp_path: Path) -> None:
    table = number_table(tmp_path, 2)
    table.dataset.add_columns({"made__error": "'theirs'"})

    with pytest.raises(cd.ClipdataError, match="made__error"):
        cd.map_column(table, Plus(100), "made")

    assert read(table, "made__error") == {"made__error": ["theirs", "theirs"]}


def test_of_two_overwrites_at_once_one_is_refused_and_the_others_values_stand(tmp_path: Path) -> None:
    table = number_table(tmp_path, 4)
    cd.map_column(table, Plus(100), "made")

    def other() -> None:
        cd.map_column(open_table(table.uri), Plus(5000), "made", overwrite=True)

    with pytest.raises(ConcurrentChangeError, match=r"made anew|replaced") as refused:
        cd.map_column(table, Plus(900, meanwhile=other), "made", overwrite=True)

    assert refused.value.exit_code == 5
    assert read(table, "made") == {"made": [5000, 5001, 5002, 5003]}
    assert offset_of(table) == 5000


def test_a_map_beside_anothers_overwrite_reports_no_row_that_was_not_committed(tmp_path: Path) -> None:
    table = number_table(tmp_path, 6)
    cd.map_column(table, Plus(100), "made")
    append_numbers(table, 6, 12)

    def other() -> None:
        cd.map_column(open_table(table.uri), Plus(5000), "made", overwrite=True)

    with pytest.raises(ConcurrentChangeError, match="not written"):
        cd.map_column(table, Plus(100, meanwhile=other), "made")

    assert read(table, "made") == {"made": [5000 + n for n in range(12)]}


def test_of_two_steps_that_make_one_new_column_the_slower_is_refused(tmp_path: Path) -> None:
    table = number_table(tmp_path, 4)
    cd.map_column(open_table(table.uri), Plus(100), "made")
    append_numbers(table, 4, 5)

    with pytest.raises(LineageMismatchError, match=r"Plus\(number\)"):
        cd.map_column(table, Plus(900), "made")

    assert read(table, "number", "made") == {"number": [0, 1, 2, 3, 4], "made": [100, 101, 102, 103, None]}


def test_a_column_dropped_and_made_by_another_step_meanwhile_gets_nothing_of_the_first(tmp_path: Path) -> None:
    table = number_table(tmp_path, 4)

    def other() -> None:
        table.latest().dataset.drop_columns(["made"])
        cd.map_column(open_table(table.uri), Plus(900, fail_on=(0, 1)), "made")

    with pytest.raises(ConcurrentChangeError):
        cd.map_column(table, Plus(100, meanwhile=other), "made")

    assert read(table, "made") == {"made": [None, None, 902, 903]}
    assert offset_of(table) == 900


def test_an_input_overwritten_while_it_is_read_is_noticed_and_the_same_command_mends_it(tmp_path: Path) -> None:
    table = number_table(tmp_path, 4)
    cd.map_column(table, Plus(100), "made")

    def other() -> None:
        cd.map_column(open_table(table.uri), Plus(900), "made", overwrite=True)

    with pytest.raises(ConcurrentChangeError, match="'made', an input of 'more'"):
        cd.map_column(table, PlusOfMade(1, meanwhile=other), "more")
    cd.map_column(table, PlusOfMade(1), "more")

    assert read(table, "more") == {"more": [901, 902, 903, 904]}
    lineage, origin = table.latest().lineage("more"), table.latest().lineage("made")
    assert lineage is not None
    assert origin is not None
    assert lineage.upstream == {"made": origin.fingerprint}


def test_an_input_dropped_while_it_is_read_is_said(tmp_path: Path) -> None:
    table = number_table(tmp_path, 4)

    with pytest.raises(ConcurrentChangeError, match=r"column 'number'.*dropped") as refused:
        cd.map_column(
            table, Plus(100, meanwhile=lambda: table.latest().dataset.drop_columns(["number"])), "made", batch_rows=2
        )

    assert refused.value.exit_code == 5


def test_a_version_cleaned_away_while_it_is_read_is_said(tmp_path: Path) -> None:
    table = number_table(tmp_path, 3000, rows_per_write=1500)

    def clean() -> None:
        compact(table)
        table.latest().dataset.cleanup_old_versions(older_than=timedelta(0), delete_unverified=True)

    with suppress(ConcurrentChangeError):  # Lance may have read all of it before; any other error fails
        cd.map_column(table, Plus(100, meanwhile=clean), "made", batch_rows=100)
    cd.map_column(table, Plus(100), "made")
    assert sorted(read(table, "made")["made"]) == [100 + n for n in range(3000)]


def test_a_table_that_changes_in_every_round_ends_in_an_error_that_counts_what_is_left(tmp_path: Path) -> None:
    table = number_table(tmp_path, 8, rows_per_write=2)
    added = [1000]

    def churn() -> None:
        added[0] += 1
        append_numbers(open_table(table.uri), added[0], added[0] + 1)
        compact(table)

    with pytest.raises(ConcurrentChangeError, match=r"[1-9]\d* rows of .* have no 'made' yet") as refused:
        cd.map_column(table, Plus(100, meanwhile=churn, always=True), "made")
    assert refused.value.exit_code == 5

    cd.map_column(table, Plus(100), "made")
    found = read(table, "number", "made")
    assert found["made"] == [n + 100 for n in found["number"]]


def test_the_log_counts_what_was_committed_not_what_was_computed(tmp_path: Path) -> None:
    table = number_table(tmp_path, 8, rows_per_write=4)

    done = cd.map_column(
        table, Plus(100, meanwhile=lambda: rows.delete_keys(open_table(table.uri), ["000001"])), "made"
    )

    said = [
        entry.properties.rows
        for entry in log(table.uri, all=True)
        if entry.properties and entry.properties.verb == "map"
    ]
    assert sum(entry["computed"] for entry in said) == done.computed == 8
    assert done.kept >= 0


def test_an_input_patched_in_place_while_it_is_read_is_read_again(tmp_path: Path) -> None:
    table = number_table(tmp_path, 6, rows_per_write=3)

    def patch() -> None:
        rest = table.latest().to_table(["path", "number"])
        rest = rest.set_column(1, "number", pa.compute.add(rest.column("number"), 1000))
        builder = table.latest().dataset.merge_insert("path").when_matched_update_all()
        builder.write_mode("rewrite_columns").execute(rest)

    cd.map_column(table, Plus(100, meanwhile=patch), "made")

    found = read(table, "number", "made")
    assert min(found["number"]) == 1000
    assert found["made"] == [n + 100 for n in found["number"]]


def test_an_input_replaced_between_two_rounds_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = number_table(tmp_path, 4)
    cd.map_column(table, Plus(100), "made")
    commit = clipdata.map_job.commit_finished

    def then_replace(*arguments: object) -> object:
        done = commit(*arguments)
        monkeypatch.setattr(clipdata.map_job, "commit_finished", commit)
        append_numbers(open_table(table.uri), 4, 8)
        cd.map_column(open_table(table.uri), Plus(900), "made", overwrite=True)
        return done

    monkeypatch.setattr(clipdata.map_job, "commit_finished", then_replace)
    with pytest.raises(ConcurrentChangeError, match="'made'"):
        cd.map_column(table, PlusOfMade(1), "more")

    assert read(table, "more") == {"more": [101, 102, 103, 104, *[None] * 4]}


def test_an_empty_column_of_another_step_is_not_taken_without_a_word(tmp_path: Path) -> None:
    table = number_table(tmp_path, 2)
    cd.map_column(table, Plus(100, fail_on=(0, 1)), "made")

    with pytest.raises(LineageMismatchError):
        cd.map_column(table, Plus(900), "made")


@pytest.mark.parametrize("column", ["etag", "image", "sha256", "filename"])
def test_what_an_ingest_says_of_a_picture_is_no_steps_to_overwrite(tmp_path: Path, column: str) -> None:
    write_pictures(tmp_path / "in", 1)
    table = ingest.from_images(tmp_path / "in", into=tmp_path / "t.lance").table

    @cd.step(reads="path", returns="string")
    def letters(path: str) -> str:
        return path

    with pytest.raises(UsageError, match="cannot be written"):
        cd.map_column(table, letters, column, overwrite=True)
    assert ingest.from_images(tmp_path / "in", into=tmp_path / "t.lance").unchanged == 1
