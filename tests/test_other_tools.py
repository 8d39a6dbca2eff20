"""Other tools write to the table while a map works, or after it: no value lies, and the same command mends the rest."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import clipdata as cd
import clipdata.map_job
from clipdata.engines import fill
from clipdata.errors import ConcurrentChangeError, NotFoundError, StorageError
from clipdata.lance_io.column_file import write_column
from clipdata.lance_io.presence import Runs
from clipdata.lance_io.table import open_table
from tests.tables import append_numbers, number_table
from tests.test_overwrite import Plus, read

Act = Callable[[cd.Table], None]


def patch_in_place(table: cd.Table) -> None:
    dataset = lance.dataset(table.uri)
    patch = pa.table({"path": ["000000", "000001"], "number": [5000, 5001]})
    fragment, fields = dataset.get_fragments()[0].update_columns(patch, left_on="path", right_on="path")
    update = lance.LanceOperation.Update(updated_fragments=[fragment], fields_modified=fields)
    lance.LanceDataset.commit(dataset.uri, update, read_version=dataset.version)


def replace_file(table: cd.Table) -> None:
    dataset = lance.dataset(table.uri)
    fragment, field = dataset.get_fragments()[0], dataset.schema.field("number")
    values = [(np.arange(4), pa.array([9000, 9001, 9002, 9003]))]
    file = lance.fragment.DataFile.create(dataset, write_column(table.latest(), field, fragment, lambda: [values]))
    group = lance.LanceOperation.DataReplacementGroup(fragment.fragment_id, file)
    lance.LanceDataset.commit(dataset.uri, lance.LanceOperation.DataReplacement([group]), read_version=dataset.version)


def update_rows(table: cd.Table) -> None:
    lance.dataset(table.uri).update({"number": "number + 7000"}, where="number < 2")


def add_column(table: cd.Table) -> None:
    lance.dataset(table.uri).add_columns({"twice": "number * 2"})


def just_before_the_commit(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Let somebody act between the last check of a map and its commit, once."""
    commit = lance.LanceDataset.commit

    def after_act(*given: Any, **named: Any) -> Any:
        monkeypatch.setattr(lance.LanceDataset, "commit", commit)
        act()
        return commit(*given, **named)

    monkeypatch.setattr(lance.LanceDataset, "commit", after_act)


def own_number_file(table: cd.Table) -> None:
    """Give the input a data file of its own, so that another tool can replace it whole."""
    dataset = lance.dataset(table.uri)
    dataset.add_columns({"copy": "number"})
    dataset.drop_columns(["number"])
    lance.dataset(table.uri).alter_columns({"path": "copy", "name": "number"})


@pytest.mark.parametrize("act", [patch_in_place, replace_file, update_rows, add_column])
def test_an_input_changed_between_the_last_check_and_the_commit_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, act: Act
) -> None:
    table = number_table(tmp_path, 8, rows_per_write=4)
    own_number_file(table)
    just_before_the_commit(monkeypatch, lambda: act(table))

    cd.map_column(table, Plus(100), "made")

    found = read(table, "number", "made")
    assert found["made"] == [n + 100 for n in found["number"]]
    assert act is add_column or found["number"] != list(range(8))


def swap_names(table: cd.Table) -> None:
    for old, new in (("number", "spare"), ("other", "number"), ("spare", "other")):
        lance.dataset(table.uri).alter_columns({"path": old, "name": new})


@pytest.fixture
def two_numbers(tmp_path: Path) -> cd.Table:
    """A table with two plain columns of one type in one file."""
    columns = {"number": list(range(8)), "other": list(range(1000, 1008))}
    lance.write_dataset(pa.table(columns), tmp_path / "t.lance", max_rows_per_file=4)
    return cd.open_table(tmp_path / "t.lance")


def test_columns_that_swap_names_while_one_is_read_are_noticed(two_numbers: cd.Table) -> None:
    with pytest.raises(ConcurrentChangeError, match="'number', an input of 'made'"):
        cd.map_column(two_numbers, Plus(100, meanwhile=lambda: swap_names(two_numbers)), "made")

    assert read(two_numbers, "made") == {"made": [None] * 8}


def killed_before_the_commit(table: cd.Table, step: Plus, monkeypatch: pytest.MonkeyPatch, **how: bool) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(clipdata.map_job, "commit_finished", die)
        with pytest.raises(KeyboardInterrupt):
            cd.map_column(table, step, "made", **how)


def test_what_was_computed_before_columns_swapped_names_does_not_count(
    two_numbers: cd.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_before_the_commit(two_numbers, Plus(100), monkeypatch)
    swap_names(two_numbers)

    cd.map_column(two_numbers, Plus(100), "made")

    assert read(two_numbers, "made") == {"made": list(range(1100, 1108))}


def test_what_was_computed_of_images_that_lay_elsewhere_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, content in (("old", b"123"), ("new", b"1234567")):
        (tmp_path / name).write_bytes(content)
    image = pa.field("image", pa.large_binary(), metadata={"clipdata.image": "1"})
    schema = pa.schema([image, pa.field("uri", pa.string())])
    lance.write_dataset(pa.table([[None], [str(tmp_path / "old")]], schema=schema), tmp_path / "t.lance")
    table = cd.open_table(tmp_path / "t.lance")

    @cd.step(reads="image", returns="int64")
    def size_of(image: bytes) -> int:
        return len(image)

    killed_before_the_commit(table, size_of, monkeypatch)
    lance.dataset(table.uri).drop_columns(["uri"])
    lance.dataset(table.uri).add_columns({"uri": f"'{tmp_path / 'new'}'"})
    cd.map_column(table, size_of, "made")

    assert read(table, "made") == {"made": [7]}


def test_an_overwrite_makes_anew_what_the_same_step_made_of_inputs_that_changed_since(tmp_path: Path) -> None:
    table = number_table(tmp_path, 4)
    cd.map_column(table, Plus(100), "made")
    update_rows(table)
    assert cd.map_column(table, Plus(100), "made").computed == 0

    assert cd.map_column(table, Plus(100), "made", overwrite=True).computed == 4

    found = read(table, "number", "made")
    assert found["made"] == [n + 100 for n in found["number"]]


def test_an_interrupted_overwrite_by_the_same_step_is_gone_on_with_and_not_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = number_table(tmp_path, 8, rows_per_write=4)
    cd.map_column(table, Plus(100), "made")
    killed_before_the_commit(table, Plus(100), monkeypatch, overwrite=True)

    gone_on = cd.map_column(table, Plus(100), "made", overwrite=True)

    assert (gone_on.computed, gone_on.kept) == (0, 8)
    assert cd.map_column(table, Plus(100), "made", overwrite=True).computed == 8


@pytest.mark.parametrize("deleted", ["number = 2", "number = 0"])
def test_rows_that_come_back_with_an_earlier_version_get_their_value(tmp_path: Path, deleted: str) -> None:
    table = number_table(tmp_path, 4)

    @cd.step(reads="number", returns="string")
    def word(number: int) -> str:
        return f"word {number}"

    lance.dataset(table.uri).delete(deleted)
    cd.map_column(table, word, "made")
    assert open_table(table.uri).count_rows("made IS NULL") == 0
    # The rows come back beside the values of now.
    dataset = lance.dataset(table.uri)
    fragments = [fragment.metadata for fragment in dataset.get_fragments()]
    for fragment in fragments:
        fragment.deletion_file = None
    restored = lance.LanceOperation.Overwrite(dataset.lance_schema, fragments)
    lance.LanceDataset.commit(dataset.uri, restored, read_version=dataset.version)

    cd.map_column(table, word, "made")

    assert read(table, "made") == {"made": [f"word {n}" for n in range(4)]}


def test_a_column_whose_file_was_cleaned_away_is_named_and_an_overwrite_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = number_table(tmp_path, 4)
    everything = {"older_than": timedelta(0), "delete_unverified": True}
    just_before_the_commit(monkeypatch, lambda: lance.dataset(table.uri).cleanup_old_versions(**everything))
    for _ in range(2):
        with pytest.raises(StorageError, match="is gone") as caught:
            cd.map_column(table, Plus(100), "made")
        assert "--overwrite" in str(caught.value.hint)

    cd.map_column(table, Plus(100), "made", overwrite=True)

    assert read(table, "made") == {"made": [100, 101, 102, 103]}


def test_what_was_committed_counts_although_another_writer_cleaned_its_version_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = number_table(tmp_path, 4)
    commit = lance.LanceDataset.commit

    def then_others(*given: Any, **named: Any) -> Any:
        monkeypatch.setattr(lance.LanceDataset, "commit", commit)
        made = commit(*given, **named)
        append_numbers(open_table(table.uri), 4, 6)
        lance.dataset(table.uri).cleanup_old_versions(older_than=timedelta(0), delete_unverified=True)
        return made

    monkeypatch.setattr(lance.LanceDataset, "commit", then_others)
    assert cd.map_column(table, Plus(100), "made").computed == 6


def test_a_table_that_is_removed_while_it_is_read_is_said_to_be(tmp_path: Path) -> None:
    table = number_table(tmp_path, 8, rows_per_write=4)
    with pytest.raises((NotFoundError, ConcurrentChangeError), match=r"removed|no Lance table"):
        cd.map_column(table, Plus(100, meanwhile=lambda: shutil.rmtree(table.uri)), "made", batch_rows=2)


@pytest.mark.parametrize("content", [{"fragment_id": 0}, [1], "x", None])
def test_a_record_of_another_shape_is_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: object
) -> None:
    table = number_table(tmp_path, 4)
    killed_before_the_commit(table, Plus(100), monkeypatch)
    (record,) = Path(f"{table.uri}.state").rglob("done-*.json")
    record.write_text(json.dumps(content))

    assert cd.map_column(table.latest(), Plus(100), "made").computed == 4


def test_runs_count_places_and_join_where_they_meet() -> None:
    rng = np.random.default_rng(0)
    missing = np.flatnonzero(rng.random(500) < 0.3)
    runs = Runs()
    for part in np.array_split(missing, 7):
        runs.add(part)
    text = runs.to_json()
    assert text is not None
    read_back = Runs(json.loads(text))
    for places in (np.arange(500), np.arange(0, 500, 3), np.empty(0, np.int64)):
        assert read_back.count(places) == np.isin(places, missing).sum()
    assert len(read_back) == len(missing)
    assert len(json.loads(text)) == 1 + (np.diff(missing) > 1).sum()
    assert Runs().count(np.arange(3)) == 0


def test_a_step_is_given_fewer_rows_where_its_values_are_wide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fill, "BATCH_BYTES", 100_000)
    table, sizes = number_table(tmp_path, 300), []

    class Wide(Plus):
        returns = pa.string()

        def compute(self, batch: pa.RecordBatch, prepared: object) -> pa.Array:
            sizes.append(batch.num_rows)
            return pc.binary_repeat(pa.array(["x"] * batch.num_rows), 10_000)

    cd.map_column(table, Wide(1), "made")

    assert sum(sizes) == 300
    assert max(sizes[5:]) <= 10
