"""Columns go by one commit, with what hangs on them, and never those that tell a row."""

from __future__ import annotations

from pathlib import Path

import lance
import pyarrow as pa
import pytest

import clipdata as cd
import ingest
from clipdata.errors import ConcurrentChangeError, SchemaError, UsageError
from clipdata.lance_io.columns import mark_of
from clipdata.lance_io.history import properties_of
from clipdata.lance_io.state import StateFolder, map_folder
from tests.pictures import write_pictures
from tests.tables import append_numbers, number_table


@cd.step(returns=pa.int64(), version="1")
def twice(number: int) -> int:
    return 2 * number if number != 3 else 1 // 0


@cd.step(returns=pa.int64(), version="1")
def again(twice: int) -> int:
    return 2 * twice


@cd.step(reads="filename", returns=pa.int64(), version="1")
def length(filename: str) -> int:
    return len(filename)


def mapped_table(folder: Path) -> cd.Table:
    table = number_table(folder, 6, rows_per_write=3)
    cd.map_column(table, twice, "twice")
    cd.map_column(table, again, "four")
    return table


def test_a_column_goes_with_its_reasons_indices_and_records_and_is_made_anew_afterwards(tmp_path: Path) -> None:
    table = mapped_table(tmp_path)
    table.dataset.create_scalar_index("four", "BTREE")
    table = table.latest()
    records = StateFolder(table, map_folder("twice", mark_of(table.schema.field("twice"))))
    records.write_json("done-0-x", {})
    before = table.version

    told = cd.drop(table, ["twice", "four"], dry_run=True)
    assert (told.reasons, told.indices, told.stale) == (("twice__error",), ("four_idx",), {})
    assert table.latest().version == before
    done = cd.drop(table, ["twice", "four"])

    assert table.schema.names == ["path", "number", "text"]
    assert (done.version, table.version) == (before + 1, before + 1), "by one commit"
    said = properties_of(table)
    assert said is not None
    assert (said.verb, said.parameters) == ("drop", {"columns": ["twice", "four"]})
    assert (records.names(), table.dataset.describe_indices()) == ([], [])
    assert cd.open_table(table.uri, version=before).to_table(["four"]).num_rows == 6
    append_numbers(table, 6, 8)
    cd.map_column(table, twice, "twice")
    assert table.to_table(["twice"]).column(0).to_pylist() == [0, 2, 4, None, 8, 10, 12, 14]
    table.dataset.validate()


def test_what_others_were_computed_from_goes_only_when_that_is_meant(tmp_path: Path) -> None:
    table = mapped_table(tmp_path)
    with pytest.raises(UsageError, match="four from twice"):
        cd.drop(table, "twice")
    assert cd.drop(table, "twice", yes=True).stale == {"four": ("twice",)}
    assert table.to_table(["four"]).column(0).to_pylist() == [0, 4, 8, None, 16, 20]


def test_an_append_meanwhile_loses_nothing_and_a_column_made_anew_meanwhile_stays(tmp_path: Path) -> None:
    table = mapped_table(tmp_path)
    commit = lance.LanceDataset.commit

    def beside(act: object) -> None:
        done: list[object] = []

        def late(*args: object, **kwargs: object) -> object:
            if not done:
                done.append(None)
                act()  # type: ignore[operator]
            return commit(*args, **kwargs)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(lance.LanceDataset, "commit", staticmethod(late))
            cd.drop(table, "four")

    beside(lambda: append_numbers(table, 6, 8))
    assert (table.num_rows, "four" in table.schema.names) == (8, False)
    cd.map_column(table, again, "four")
    with pytest.raises(ConcurrentChangeError, match=r"column 'four' of .* was made anew by another writer meanwhile"):
        beside(lambda: cd.map_column(table.uri, again, "four", overwrite=True))
    assert table.latest().count_rows("four IS NOT NULL") == 5


@pytest.mark.parametrize("column", ["path", "image", "sha256", "etag", "uri"])
def test_what_tells_a_row_or_its_picture_is_never_dropped(tmp_path: Path, column: str) -> None:
    write_pictures(tmp_path / "in", 1)
    table = ingest.from_images(tmp_path / "in", into=tmp_path / "t.lance").table
    with pytest.raises(UsageError, match=f"column '{column}' of .* cannot be dropped"):
        cd.drop(table, column, yes=True)
    assert cd.drop(table, ["width", "height"]).version == table.version


def test_what_a_source_gave_stays_dropped_for_only_new_rows_would_have_it(tmp_path: Path) -> None:
    def take_in(num: int) -> tuple[ingest.Ingested, ingest.Ingested, ingest.Merged]:
        write_pictures(tmp_path / "in", num)
        rows = [f"{number:04d}.jpg,caption {number},{number}" for number in range(num)]
        (tmp_path / "m.csv").write_text("\n".join(["filename,caption,number", *rows, ""]))
        images = ingest.from_images(tmp_path / "in", into=tmp_path / "i.lance")
        facts = ingest.from_parquet(tmp_path / "m.csv", into=tmp_path / "m.lance")
        return images, facts, ingest.merge_report(images.table, facts.table, on="filename", into=tmp_path / "t.lance")

    first, columns = take_in(2), ("width", "number", "caption")
    before = first[2].table.version
    for done, column in zip(first, columns, strict=True):
        said = cd.drop(done.table, column)
        assert said.left_out == (column,)
        assert f"no ingest or merge brings {column} back; a restore of that version does" in str(said)
    again = take_in(3)  # the pictures are written anew, which makes no other content
    assert [(done.written.inserted, done.written.updated) for done in again[:2]] == [(1, 0), (1, 0)]
    for done, column in zip(again, columns, strict=True):
        assert done.table.num_rows == 3
        assert column not in done.table.schema.names
        assert f"columns dropped by hand, and left out: {column} (" in str(done)
    cd.restore(tmp_path / "t.lance", before)
    assert take_in(3)[2].table.count_rows("caption IS NOT NULL") == 3


def test_a_column_that_a_step_made_is_no_source_s_to_leave_out(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("filename,number\na.jpg,1\n")
    table = ingest.from_parquet(tmp_path / "m.csv", into=tmp_path / "m.lance").table
    cd.map_column(table, length, "length")
    assert cd.drop(table, "length").left_out == ()
    cd.drop(table, "number")
    cd.map_column(table, length, "number")
    (tmp_path / "m.csv").write_text("filename,number,length\na.jpg,1,7\nb.jpg,2,9\n")
    table = ingest.from_parquet(tmp_path / "m.csv", into=tmp_path / "m.lance").table
    assert sorted(table.schema.names) == ["filename", "length", "number", "row_key", "source"]
    assert table.to_table(["number", "length"]).to_pylist() == [{"number": None, "length": text} for text in "79"]


def test_columns_that_are_not_there_and_none_at_all_are_refused(tmp_path: Path) -> None:
    table = number_table(tmp_path, 1)
    with pytest.raises(SchemaError, match="no column 'numbr'"):
        cd.drop(table, ["number", "numbr"])
    with pytest.raises(UsageError, match="no column is named"):
        cd.drop(table, [])
    lance.write_dataset(pa.table({"a": [1]}), tmp_path / "foreign.lance")
    with pytest.raises(UsageError, match=r"no column of .* would be left"):
        cd.drop(tmp_path / "foreign.lance", "a")
