"""DataChain both ways."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import clipdata as cd
import ingest
from clipdata.errors import SchemaError
from clipdata.lance_io.history import log
from clipdata.lance_io.rows import Written
from tests.pictures import write_pictures

pytestmark = pytest.mark.usefixtures("datachain_root")


def chain_of(folder: Path):
    import datachain

    return datachain.read_storage(str(folder), type="image", update=True)


def test_the_files_of_a_chain_become_image_rows_and_its_signals_columns(tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 4)
    chain = chain_of(tmp_path / "in").settings(prefetch=0).map(size=lambda file: file.size, output=int)
    done = ingest.from_chain(chain, into=tmp_path / "t.lance")
    read = done.table.to_table().sort_by("path")
    assert read["path"].to_pylist() == [f"{n:04d}.jpg" for n in range(4)]
    assert read["image"][2].as_py() == (tmp_path / "in" / "0002.jpg").read_bytes()
    assert read["size"].to_pylist() == read["bytes"].to_pylist()


def test_a_chain_of_more_files_than_are_planned_in_memory_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.updating.spool.ITEMS_IN_MEMORY", 0)
    monkeypatch.setattr("ingest.updating.planning._ITEMS_AT_ONCE", 1)
    write_pictures(tmp_path / "in", 3)
    assert ingest.from_chain(chain_of(tmp_path / "in"), into=tmp_path / "t.lance").written.inserted == 3


def test_a_filtered_and_limited_chain_brings_just_its_rows(tmp_path: Path) -> None:
    from datachain import C

    write_pictures(tmp_path / "in", 6)
    chain = chain_of(tmp_path / "in").filter(C("file.path") > "0002.jpg").order_by("file.path").limit(2)
    done = ingest.from_chain(chain, into=tmp_path / "t.lance")
    assert done.table.to_table(["path"])["path"].to_pylist() == ["0003.jpg", "0004.jpg"]


def test_the_tutorials_merged_chain_becomes_one_row_a_question(tmp_path: Path) -> None:
    import datachain
    from datachain import C
    from datachain.func import path

    write_pictures(tmp_path / "in", 2)
    questions = {"filename": ["0000.jpg", "0001.jpg", "0001.jpg"], "caption_choices": [["a", "b"], ["c"], ["d"]]}
    pq.write_table(pa.table(questions), tmp_path / "meta.parquet")
    left = chain_of(tmp_path / "in").mutate(filename=path.name(C("file.path")))
    right = datachain.read_parquet(str(tmp_path / "meta.parquet"), source=False)
    merged = left.merge(right, on="filename", inner=True).select_except("filename", "right_filename")
    done = ingest.from_chain(merged, into=tmp_path / "t.lance")
    read = done.table.to_table(["path", "filename", "caption_choices"]).sort_by("path").to_pylist()
    assert [(row["path"], row["filename"]) for row in read] == [
        ("0000.jpg", "0000.jpg"),
        ("0001.jpg", "0001.jpg"),
        ("0001.jpg#1", "0001.jpg"),
    ]
    assert sorted(row["caption_choices"] for row in read) == [["a", "b"], ["c"], ["d"]]


def test_the_same_chain_again_changes_nothing_and_a_bad_file_is_refused(tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 3)
    (tmp_path / "in" / "bad.jpg").write_bytes(b"no picture")
    first = ingest.from_chain(chain_of(tmp_path / "in"), into=tmp_path / "t.lance")
    assert first.num_refused == 1
    again = ingest.from_chain(chain_of(tmp_path / "in"), into=tmp_path / "t.lance")
    assert again.written == Written()
    assert again.table.version == first.table.version


def test_a_saved_datasets_name_and_version_are_in_the_log(tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 2)
    saved = chain_of(tmp_path / "in").save("drawings")
    done = ingest.from_chain(saved, into=tmp_path / "t.lance")
    last = log(done.table.uri)[-1].properties
    assert last is not None
    assert last.parameters["from"] == f"datachain dataset drawings@{saved.version}"


def test_a_chain_without_files_becomes_metadata_rows(tmp_path: Path) -> None:
    import datachain

    chain = datachain.read_values(filename=["a.jpg", "b.jpg"], votes=[3, 4], texts=[["x"], ["y", "z"]])
    done = ingest.from_chain(chain, into=tmp_path / "t.lance")
    read = done.table.to_table(["filename", "votes", "texts"]).sort_by("filename").to_pylist()
    assert read == [
        {"filename": "a.jpg", "votes": 3, "texts": ["x"]},
        {"filename": "b.jpg", "votes": 4, "texts": ["y", "z"]},
    ]


def test_a_table_goes_to_a_chain_and_back_without_loss(tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 3)
    table = ingest.from_images(tmp_path / "in", into=tmp_path / "t.lance").table

    @cd.step(reads="bytes", returns=pa.list_(pa.float32()))
    def halves(num_bytes: int) -> list[float]:
        return [num_bytes / 2, num_bytes / 4]

    cd.map_column(table, halves, "halves")
    chain = cd.to_datachain(table, where="path <> '0001.jpg'")
    assert chain.count() == 2
    back = ingest.from_chain(cd.to_datachain(table), into=tmp_path / "back.lance").table
    left, right = (t.to_table().sort_by("path") for t in (cd.open_table(table.uri), back))
    assert left.schema.names == right.schema.names
    for column in left.schema.names:
        assert left[column].to_pylist() == right[column].to_pylist(), column


def test_a_signal_that_no_column_can_hold_is_named(tmp_path: Path) -> None:
    import datachain

    chain = datachain.read_values(filename=["a.jpg"], about=[{"x": 1}], output={"filename": str, "about": dict})
    with pytest.raises(SchemaError, match="signal 'about'"):
        ingest.from_chain(chain, into=tmp_path / "t.lance")


def test_rows_that_left_a_saved_dataset_are_told(tmp_path: Path) -> None:
    import datachain

    datachain.read_values(word=["a", "b", "c"]).save("words")
    ingest.from_chain(datachain.read_dataset("words"), into=tmp_path / "t.lance")
    datachain.read_values(word=["b", "d"]).save("words")
    done = ingest.from_chain(datachain.read_dataset("words"), into=tmp_path / "t.lance")
    assert (done.written.inserted, done.unchanged, len(done.vanished)) == (1, 1, 2)
    assert set(done.table.to_table(["source"])["source"].to_pylist()) == {"datachain dataset words"}
