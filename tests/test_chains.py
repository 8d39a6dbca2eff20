"""DataChain both ways."""

from __future__ import annotations

import tracemalloc
from datetime import date
from pathlib import Path

import lance
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import clipdata as cd
import ingest
from clipdata.errors import SchemaError
from clipdata.lance_io import rows
from clipdata.lance_io.history import log
from clipdata.lance_io.rows import Written
from clipdata.schema import key_field
from ingest.chains import ChainRows
from tests.pictures import encoded, write_pictures

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


def test_values_of_every_kind_go_to_a_chain_and_back_and_what_it_cannot_hold_is_named(tmp_path: Path) -> None:
    numbers = [2**60 + 1, None, -5]
    columns = {
        "whole": (pa.array(numbers, pa.int64()), numbers),
        "share": (pa.array([0.1, None, float("nan")], pa.float64()), [0.1, None, None]),
        "text": (pa.array(["a", None, ""]), ["a", None, ""]),
        "flag": (pa.array([True, None, False]), [True, None, False]),
        "texts": (pa.array([["x", None], None, []], pa.list_(pa.string())), [["x", None], None, []]),
        "vector": (pa.array([[1.5, 2], None, [3, 4]], pa.list_(pa.float32(), 2)), [[1.5, 2.0], None, [3.0, 4.0]]),
        "nested": (pa.array([[[1]], None, [[2, 3], []]], pa.list_(pa.list_(pa.int64()))), [[[1]], None, [[2, 3], []]]),
        "held": (pa.array([b"x", None, b""], pa.binary()), [b"x", None, b""]),
        "day": (pa.array([date(2024, 2, 1), None, None]), ["2024-02-01", None, None]),
        "about": (pa.array([{"a": 1}, None, {"a": None}]), ['{"a": 1}', None, '{"a": null}']),
    }
    keys = ["0", "1", "2"]
    schema = pa.schema([key_field("key"), *(pa.field(name, values.type) for name, (values, _) in columns.items())])
    table = rows.create_table(tmp_path / "t.lance", schema)
    rows.upsert(table, pa.table({"key": keys, **{name: values for name, (values, _) in columns.items()}}))

    back = ingest.from_chain(cd.to_datachain(table.uri), into=tmp_path / "back.lance").table

    read = back.to_table().sort_by("key")
    for name, (_, expected) in columns.items():
        assert read[name].to_pylist() == expected, name

    large = rows.create_table(tmp_path / "u.lance", pa.schema([key_field("key"), pa.field("u", pa.uint64())]))
    rows.upsert(large, pa.table({"key": ["0"], "u": pa.array([2**63], pa.uint64())}))
    with pytest.raises(SchemaError, match="column 'u' holds 9223372036854775808"):
        cd.to_datachain(large.uri).count()


def test_rows_that_left_a_saved_dataset_are_told(tmp_path: Path) -> None:
    import datachain

    datachain.read_values(word=["a", "b", "c"]).save("words")
    ingest.from_chain(datachain.read_dataset("words"), into=tmp_path / "t.lance")
    datachain.read_values(word=["b", "d"]).save("words")
    done = ingest.from_chain(datachain.read_dataset("words"), into=tmp_path / "t.lance")
    assert (done.written.inserted, done.unchanged, len(done.vanished)) == (1, 1, 2)
    assert set(done.table.to_table(["source"])["source"].to_pylist()) == {"datachain dataset words"}


def tutorial(folder: Path):
    """The tutorial's own chain, as it is, over files here."""
    import datachain
    from datachain import C
    from datachain.func import path

    questions = {
        "filename": ["0000.jpg", "0001.jpg", "0001.jpg", "0009.jpg"],
        "caption_choices": [["a", "b"], ["c", "d"], ["e", "f"], ["g", "h"]],
        "label": ["A", "B", "A", "B"],
    }
    pq.write_table(pa.table(questions), folder / "new_yorker_meta.parquet")
    img_dc = datachain.read_storage(str(folder / "images"), type="image", update=True)
    meta_dc = datachain.read_parquet(str(folder / "new_yorker_meta.parquet"), update=True)
    return img_dc.mutate(filename=path.name(C("file.path"))).merge(meta_dc, on="filename")


def test_the_tutorials_own_chain_goes_in_as_it_is(tmp_path: Path) -> None:
    write_pictures(tmp_path / "images", 3)

    done = ingest.from_chain(tutorial(tmp_path), into=tmp_path / "t.lance")

    rows = done.table.to_table().sort_by("path").to_pylist()
    assert [(row["path"], row["filename"]) for row in rows] == [
        ("0000.jpg", "0000.jpg"),
        ("0001.jpg", "0001.jpg"),
        ("0001.jpg#1", "0001.jpg"),
        ("0002.jpg", "0002.jpg"),
    ]
    assert rows[0]["caption_choices"] == ["a", "b"]
    assert (rows[3]["caption_choices"], rows[3]["label"]) == (None, None), "no question of this picture"
    assert done.notes["renamed"] == "'filename' is 'meta_filename'"
    assert done.notes["left out, where DataChain read the rows"] == "source"


def test_the_tutorials_chain_shuffled_limited_and_mapped_again_changes_nothing(tmp_path: Path) -> None:
    write_pictures(tmp_path / "images", 3)

    def prepared():
        chain = tutorial(tmp_path).shuffle().limit(10).settings(prefetch=0)
        chain = chain.map(label_ind=lambda label: "AB".find(label or "?"), params=["label"], output=int)
        return chain.map(
            scores=lambda label_ind: [0.25 * label_ind, 0.5], params=["label_ind"], output={"scores": list[float]}
        )

    first = ingest.from_chain(prepared(), into=tmp_path / "t.lance")
    (tmp_path / "new_yorker_meta.parquet").touch()
    again = ingest.from_chain(prepared(), into=tmp_path / "t.lance")

    assert (first.written.inserted, again.read, again.table.version) == (4, 0, first.table.version)


def test_several_file_signals_and_rows_without_a_file(tmp_path: Path) -> None:
    from datachain import C
    from datachain.func import path

    write_pictures(tmp_path / "left", 2)
    write_pictures(tmp_path / "right", 2, first=1)
    left, right = (chain_of(tmp_path / side).mutate(filename=path.name(C("file.path"))) for side in ("left", "right"))
    merged = left.merge(right, on="filename", full=True)

    done = ingest.from_chain(merged, into=tmp_path / "t.lance")

    rows = done.table.to_table(["path", "right_file"]).sort_by("path").to_pylist()
    assert [row["path"] for row in rows] == ["0000.jpg", "0001.jpg"]
    assert [row["right_file"] for row in rows] == [None, str(tmp_path / "right" / "0001.jpg")]
    assert done.refused == {"missing": 1}, "0002.jpg is on the right only"
    renamed = merged.mutate(one=C("file"), two=C("right_file")).select("one", "two")
    with pytest.raises(SchemaError, match=r"2 file signals \(one, two\)"):
        ingest.from_chain(renamed, into=tmp_path / "u.lance")
    chosen = ingest.from_chain(renamed, into=tmp_path / "u.lance", file="two")
    assert sorted(chosen.table.to_table(["path"]).column(0).to_pylist()) == ["0001.jpg", "0002.jpg"]


def test_nested_signals_and_names_of_ours_become_columns(tmp_path: Path) -> None:
    import datachain
    from pydantic import BaseModel

    class Box(BaseModel):
        label: str
        more: dict[str, int]

    chain = datachain.read_values(
        word=["a", "b"],
        source=["x", None],
        etag=["1", "2"],
        box=[Box(label="cat", more={"k": 1}), Box(label="dog", more={})],
        boxes=[[Box(label="cat", more={})], []],
        output={"word": str, "source": str | None, "etag": str, "box": Box, "boxes": list[Box]},
    )

    done = ingest.from_chain(chain, into=tmp_path / "t.lance")

    row = done.table.to_table(["word", "meta_source", "meta_etag", "box", "boxes"], where="word = 'a'").to_pylist()[0]
    assert (row["meta_source"], row["meta_etag"]) == ("x", "1")
    assert row["box"] == {"label": "cat", "more": '{"k": 1}'}
    assert row["boxes"] == [{"label": "cat", "more": "{}"}]


def test_a_row_that_is_there_twice_is_two_rows_every_time(tmp_path: Path) -> None:
    import datachain

    for _ in range(2):
        chain = datachain.read_values(word=["a", "b", "a"], votes=[1, 2, 1])
        done = ingest.from_chain(chain, into=tmp_path / "t.lance")
    assert (done.table.num_rows, done.read) == (3, 0)


def test_a_new_signal_without_values_changes_no_row(tmp_path: Path) -> None:
    import datachain

    ingest.from_chain(datachain.read_values(word=["a", "b"]), into=tmp_path / "t.lance")
    wider = datachain.read_values(word=["a", "b"], votes=[None, None], output={"word": str, "votes": int | None})
    done = ingest.from_chain(wider, into=tmp_path / "t.lance")
    assert (done.read, done.table.num_rows) == (0, 2)


def test_images_that_a_chain_holds_are_checked_like_any(tmp_path: Path) -> None:
    import datachain

    good = encoded(1)
    chain = datachain.read_values(
        path=["a.jpg", "b.jpg", "c.jpg"], image=[good, b"no image", good[:200]], votes=[1, 2, 3]
    )
    done = ingest.from_chain(chain, into=tmp_path / "t.lance")
    (row,) = done.table.to_table(["path", "format", "width", "votes"]).to_pylist()
    assert row == {"path": "a.jpg", "format": "jpeg", "width": 64, "votes": 1}
    assert done.refused == {"not_an_image": 1, "truncated": 1}


def test_a_file_that_is_gone_is_tried_again_and_a_mended_one_is_forgiven(tmp_path: Path) -> None:
    paths = write_pictures(tmp_path / "in", 2)
    chain = chain_of(tmp_path / "in").save("gone")
    data = paths[0].read_bytes()
    paths[0].unlink()
    first = ingest.from_chain(chain, into=tmp_path / "t.lance")
    paths[0].write_bytes(data)
    again = ingest.from_chain(chain, into=tmp_path / "t.lance")
    assert (first.refused, again.written.inserted, again.refused) == ({"missing": 1}, 1, {})
    assert cd.open_table(tmp_path / "t.rejects.lance").num_rows == 0


def test_rows_of_a_chain_wait_on_disk(tmp_path: Path) -> None:
    table = cd.open_table(heavy_table(tmp_path))
    source = ChainRows(cd.to_datachain(table))
    tracemalloc.start()
    items = list(source.items())
    listing = tracemalloc.get_traced_memory()[1]
    read = [batch.num_rows for batch in source.read(items, pytest.fail)]
    tracemalloc.stop()
    assert [item.key for item in items] == [f"{n:02d}" for n in range(16)]
    assert listing < 8 << 20, "of 16 MiB"
    assert sum(read) == 16


def heavy_table(folder: Path) -> Path:
    rows = {"path": [f"{n:02d}" for n in range(16)], "image": [encoded(n % 3) + bytes(1 << 20) for n in range(16)]}
    lance.write_dataset(pa.table(rows), folder / "heavy.lance")
    return folder / "heavy.lance"
