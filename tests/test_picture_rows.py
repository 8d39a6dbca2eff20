"""Merged rows that refer to the rows of another table for their pictures."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import clipdata as cd
import ingest
from clipdata.errors import ClipdataError, NotFoundError
from clipdata.lance_io.pictures import ROW, TABLE
from clipdata.lance_io.referring import referred_by
from clipdata.lance_io.rows import Written, delete_keys
from clipdata.lance_io.table import Table
from clipdata.stream.dataset import Stream
from tests.pictures import encoded, write_pictures
from tests.tiny_models import tiny_encoder

NUM, CAPTIONS = 6, 3


@pytest.fixture
def sides(tmp_path: Path) -> Path:
    """Six pictures with three captions each."""
    write_pictures(tmp_path / "in", NUM)
    take_captions(tmp_path)
    ingest.from_images(tmp_path / "in", into=tmp_path / "images.lance")
    return tmp_path


def take_captions(folder: Path, *, first: str = "caption") -> None:
    names = [f"{number:04d}.jpg" for number in range(NUM) for _ in range(CAPTIONS)]
    captions = [f"{first} {place}" for place in range(len(names))]
    choices = [[f"a {place}", "a cat"] for place in range(len(names))]
    columns = {"filename": names, "caption": captions, "caption_choices": choices, "label_ind": [0] * len(names)}
    pq.write_table(pa.table(columns), folder / "meta.parquet")
    ingest.from_parquet(folder / "meta.parquet", into=folder / "meta.lance")


def merged(folder: Path, into: str = "contest.lance", images: str = "images.lance", **options: object) -> Table:
    return ingest.merge(folder / images, folder / "meta.lance", into=folder / into, **options)


def both(folder: Path) -> tuple[Table, Table]:
    return merged(folder, copy_images=False), merged(folder, "copies.lance", copy_images=True)


def pictures_of(table: Table) -> dict[str, bytes]:
    rows = table.to_table([*(["path"] if "path" in table else []), "image"]).to_pylist()
    return {row["path"]: row["image"] for row in rows}


def replace_picture(folder: Path, number: int, seed: int) -> None:
    (folder / "in" / f"{number:04d}.jpg").write_bytes(encoded(seed))
    ingest.from_images(folder / "in", into=folder / "images.lance")


def compact(folder: Path, name: str = "images.lance") -> None:
    lance.dataset(str(folder / name)).optimize.compact_files()


def clean(folder: Path, name: str = "images.lance") -> None:
    dataset = lance.dataset(str(folder / name))
    dataset.cleanup_old_versions(older_than=timedelta(0), delete_unverified=True, error_if_tagged_old_versions=False)


def test_merged_rows_refer_to_pictures_and_every_way_of_reading_fills_them(sides: Path) -> None:
    refers, copies = both(sides)
    want = copies.to_table(["path", "caption", "image"])

    stored = lance.dataset(refers.uri).to_table(["image", ROW, TABLE])
    assert stored["image"].null_count == refers.num_rows == NUM * CAPTIONS
    assert len(set(stored[ROW].to_pylist())) == NUM

    assert refers.to_table(["path", "caption", "image"]).equals(want)
    assert refers.take(np.array([7, 2, 7]), ["image"]).equals(copies.take(np.array([7, 2, 7]), ["image"]))
    assert pa.Table.from_batches(refers.scan(["path", "caption", "image"], batch_rows=4)).equals(want)
    assert refers.head(5, ["image"]).equals(copies.head(5, ["image"]))
    assert refers["image"].equals(copies["image"])
    assert refers.to_pandas(["image"]).equals(copies.to_pandas(["image"]))
    assert pa.table(refers)["image"].equals(want["image"])


def test_a_filled_reader_gives_the_columns_that_were_asked_for_and_no_other(sides: Path) -> None:
    refers, _ = both(sides)
    assert refers.reader(["image", "caption"]).schema.names == ["image", "caption"]
    assert refers.take(np.array([0]), ["image"]).column_names == ["image"]
    assert refers.to_table(["caption"]).column_names == ["caption"]
    assert refers.to_table().column_names == refers.schema.names
    assert refers.to_table(["image"], where="caption = 'caption 4'")["image"][0].as_py() == encoded(1)


def test_the_neighbours_of_one_picture_take_it_once(sides: Path) -> None:
    refers, _ = both(sides)
    taken = []

    class Counted(Table):
        def take_ids(self, ids: np.ndarray, columns: list[str]) -> pa.Table:
            taken.append(ids.tolist())
            return super().take_ids(ids, columns)

    images = refers.pictures.table(refers.to_table([TABLE])[TABLE][0].as_py())
    images.__class__ = Counted
    refers.take(np.arange(CAPTIONS), ["image"])
    refers.to_table(["image"])
    assert [len(ids) for ids in taken] == [1, NUM]


def test_a_merged_table_takes_no_room_for_pictures(sides: Path) -> None:
    for number in range(NUM):
        picture = sides / "in" / f"{number:04d}.jpg"
        picture.write_bytes(picture.read_bytes() + bytes(100_000))
    ingest.from_images(sides / "in", into=sides / "images.lance")
    merged(sides)
    size = sum(file.stat().st_size for file in (sides / "contest.lance").rglob("*") if file.is_file())
    assert size < 100_000


def test_map_gives_the_same_scores_as_with_copies(sides: Path) -> None:
    refers, copies = both(sides)
    encoder = tiny_encoder()
    for table in (refers, copies):
        done = cd.map_column(table, cd.steps.ChoiceScores(encoder), "scores")
        assert done.computed == NUM * CAPTIONS and not done.failed
    assert refers.to_table(["id", "scores"]).equals(copies.to_table(["id", "scores"]))


@pytest.mark.parametrize("shuffle", [True, False])
def test_a_stream_gives_the_same_batches_as_with_copies_also_after_a_resume(sides: Path, shuffle: bool) -> None:
    prepare = tiny_encoder().prepare
    streams = [
        Stream(table, ["image", "caption"], batch_size=4, prepare=prepare, shuffle=shuffle, clump_rows=2, window_rows=8)
        for table in both(sides)
    ]
    found, expected = (list(stream) for stream in streams)
    assert len(found) == len(expected) == 4
    for batch, other in zip(found, expected, strict=True):
        assert batch["caption"] == other["caption"]
        assert (batch["image"] == other["image"]).all()
    streams[0].load_state_dict({"epoch": 0, "batch": 2})
    assert all((a["image"] == b["image"]).all() for a, b in zip(streams[0], expected[2:], strict=True))
