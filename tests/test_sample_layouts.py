"""The sample in the documents' formats: whole, split without a leak, and as the library's own ways in read it."""

from __future__ import annotations

import csv
import hashlib
import io
from pathlib import Path

import lance
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import ingest
from pipelines import sample
from pipelines.sample import layouts


@pytest.fixture
def few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """Laying out is to be quick here: a few pictures of either split."""
    table = pq.read_table(sample.names_path())
    chosen = [row for split in layouts.SPLITS for row in [r for r in table.to_pylist() if r["split"] == split][:6]]
    path = tmp_path / "names.parquet"
    pq.write_table(pa.Table.from_pylist(chosen, table.schema), path)
    monkeypatch.setattr(sample, "names_path", lambda: path)
    return chosen


def digests_of(folder: Path, pattern: str) -> set[str]:
    return {hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob(pattern)}


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_class_folders_hold_the_original_files_by_split_and_class(few, tmp_path: Path) -> None:
    folder = layouts.class_folders(tmp_path / "folders")

    for row in few:
        path = folder / row["split"] / row["class_name"] / row["filename"]
        assert path.read_bytes() == (sample.images_path() / row["drawn_by"] / row["filename"]).read_bytes()
    assert len(list(folder.rglob("*.png"))) == len(few)
    done = ingest.from_class_list(folder, into=tmp_path / "t.lance")
    found = done.table.to_table(["filename", "class_name", "split"]).to_pylist()
    assert {tuple(row.values()) for row in found} == {(r["filename"], r["class_name"], r["split"]) for r in few}


def test_class_lists_name_jpegs_by_stem_as_the_document_reads_them(few, tmp_path: Path) -> None:
    folder = layouts.class_lists(tmp_path / "lists")

    listed = {split: (folder / "meta" / f"{split}.txt").read_text().split() for split in layouts.SPLITS}
    assert not set(listed["train"]) & set(listed["test"])
    for split, entries in listed.items():
        assert len(entries) == 6
        for entry in entries:
            with Image.open(folder / "images" / f"{entry}.jpg") as picture:
                assert (picture.format, picture.mode, picture.size) == ("JPEG", "RGB", (64, 64))
        wanted = {(row["class_name"], Path(row["filename"]).stem) for row in few if row["split"] == split}
        assert {tuple(entry.split("/")) for entry in entries} == wanted
    done = ingest.from_class_list(folder / "images", lists=folder / "meta", into=tmp_path / "t.lance")
    assert done.table.num_rows == 12


def test_what_is_transparent_is_white_in_a_jpeg(tmp_path: Path) -> None:
    encoded = io.BytesIO()
    Image.new("RGBA", (64, 64), (0, 0, 0, 0)).save(encoded, "PNG")

    with Image.open(io.BytesIO(layouts._as_jpeg(encoded.getvalue()))) as picture:
        assert picture.getpixel((32, 32)) == (255, 255, 255)


def test_caption_pairs_hold_every_caption_once_and_paths_that_are_there(few, tmp_path: Path) -> None:
    folder = layouts.caption_pairs(tmp_path / "pairs")

    train, test = (rows_of(folder / f"{split}.csv") for split in layouts.SPLITS)
    assert sorted(map(str, train + test)) == sorted(map(str, rows_of(folder / "captions.csv")))
    assert len(train + test) == sum(len(row["captions"]) for row in few)
    assert all((folder / row["path"]).is_file() for row in train + test)
    assert not {row["path"] for row in train} & {row["path"] for row in test}
    assert not {row["caption"] for row in train} & {row["caption"] for row in test}
    splits = {split: str(folder / f"{split}.txt") for split in layouts.SPLITS}
    done = ingest.from_captions(folder, folder / "captions.csv", splits=splits, into=tmp_path / "t.lance")
    found = {row["filename"]: row for row in done.table.to_table(["filename", "captions", "split"]).to_pylist()}
    assert {name: (row["captions"], row["split"]) for name, row in found.items()} == {
        row["filename"]: (row["captions"], row["split"]) for row in few
    }


def test_the_flickr_table_is_as_lances_own_example_writes_it(few, tmp_path: Path) -> None:
    written = {split: lance.dataset(str(layouts.flickr_table(tmp_path / split, split))) for split in layouts.SPLITS}

    for dataset in written.values():
        assert dataset.schema.names == ["image_id", "image", "captions"]
        assert not any(field.metadata for field in dataset.schema)
        assert all(text.endswith("\n") for texts in dataset.to_table()["captions"].to_pylist() for text in texts)
    train, test = (dataset.to_table(["image_id", "image"]).to_pydict() for dataset in written.values())
    assert not set(train["image_id"]) & set(test["image_id"])
    assert not set(train["image"]) & set(test["image"])
    assert lance.dataset(str(layouts.flickr_table(tmp_path / "all"))).count_rows() == len(few)


def test_url_lists_are_chinese_and_name_a_server_or_files_that_are_there(few, tmp_path: Path) -> None:
    served = layouts.url_list(tmp_path / "served", "http://127.0.0.1:8000/")
    train, test = (rows_of(served / f"{split}.csv") for split in layouts.SPLITS)

    assert [row["text"] for row in train] == [row["caption_zh"] for row in few if row["split"] == "train"]
    assert not {row["text"] for row in train} & {row["text"] for row in test}
    for row in train + test:
        assert (sample.images_path() / row["url"].removeprefix("http://127.0.0.1:8000/")).is_file()
    assert not (served / "images").exists()
    layouts.url_list(served, "http://127.0.0.1:9000")
    assert rows_of(served / "test.csv")[0]["url"].startswith("http://127.0.0.1:9000/")
    local = layouts.url_list(tmp_path / "local")
    assert {row["filename"] for row in rows_of(local / "train.csv")} < {p.name for p in (local / "images").iterdir()}


def test_a_folder_that_was_laid_out_stays_as_it_is_and_a_failure_leaves_none(
    few, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = layouts.caption_pairs(tmp_path / "pairs")
    (folder / "captions.csv").write_text("mine")
    assert layouts.caption_pairs(folder) == folder
    assert (folder / "captions.csv").read_text() == "mine"
    few[0]["filename"] = "none.png"
    monkeypatch.setattr(layouts, "_rows", lambda split=None: few)

    with pytest.raises(FileNotFoundError):
        layouts.class_folders(tmp_path / "broken")

    assert not list(tmp_path.glob("*broken*"))


@pytest.mark.slow
def test_the_whole_sample_shares_no_picture_between_the_splits_of_a_layout(tmp_path: Path) -> None:
    folder = layouts.class_folders(tmp_path / "folders")
    train, test = (digests_of(folder / split, "*.png") for split in layouts.SPLITS)
    assert (len(train) > 1000, len(test) > 300) == (True, True)
    assert not train & test
