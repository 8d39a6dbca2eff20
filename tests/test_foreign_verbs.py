"""Every verb on a table that another tool made: {image_id, image, captions[]}, with bytes as each tool keeps them."""

from __future__ import annotations

import tarfile
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pytest

import clipdata as cd
import ingest
from clipdata.exports.selection import NO_PICTURE
from tests.pictures import encoded
from tests.tiny_models import tiny_encoder

NUM = 6


@pytest.fixture(params=["binary", "blobs", "blobs of the second kind"])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> cd.Table:
    data = [encoded(n // 2) for n in range(NUM)]
    layouts = {
        "binary": (pa.field("image", pa.binary()), pa.array(data, pa.binary()), "2.0"),
        "blobs": (
            pa.field("image", pa.large_binary(), metadata={"lance-encoding:blob": "true"}),
            pa.array(data, pa.large_binary()),
            "2.1",
        ),
        "blobs of the second kind": (lance.blob_field("image"), lance.blob_array(data), "2.2"),
    }
    field, image, version = layouts[request.param]
    others = {
        "image_id": pa.array([n // 2 for n in range(NUM)]),
        "captions": pa.array([[f"picture {n}", "a drawing"] for n in range(NUM)]),
        "before": pa.array([0.5] * NUM),
        "after": pa.array(np.linspace(0, 1, NUM)),
    }
    fields = [field, *(pa.field(name, column.type) for name, column in others.items())]
    rows = pa.table([image, *others.values()], schema=pa.schema(fields))
    lance.write_dataset(rows, tmp_path / "theirs.lance", data_storage_version=version, max_rows_per_file=4)
    return cd.open_table(tmp_path / "theirs.lance")


def test_rows_taken_have_the_bytes_of_their_images_in_the_order_asked_for(table: cd.Table) -> None:
    rows = table.take(np.array([5, 0, 5]), ["image_id", "image"])

    assert rows.column("image").to_pylist() == [encoded(2), encoded(0), encoded(2)]
    assert rows.column("image_id").to_pylist() == [2, 0, 2]
    assert table.take(np.array([], np.int64), ["image"]).num_rows == 0


def test_export_finds_images_and_captions(table: cd.Table, tmp_path: Path) -> None:
    done = cd.export(table, tmp_path / "out")

    with tarfile.open(tmp_path / "out" / "00000.tar") as archive:
        found = {info.name: archive.extractfile(info).read() for info in archive}  # type: ignore[union-attr]
    assert found["00000004.jpg"] == encoded(2)
    assert found["00000004.txt"] == b"picture 4"
    assert (done.num_rows, done.refused, done.left_out) == (NUM, {}, ())
    back = ingest.from_shards(tmp_path / "out", into=tmp_path / "back.lance").table
    assert back.to_table(["captions"]).column(0).to_pylist()[1] == ["picture 1", "a drawing"]


def test_map_and_stream_read_the_images(table: cd.Table) -> None:
    encoder = tiny_encoder()

    assert cd.map_column(table, cd.steps.ImageEmbedding(encoder), "embedding").computed == NUM
    batch = next(iter(cd.Stream(table, ["image", "captions"], batch_size=NUM, prepare=encoder.prepare)))

    assert tuple(batch["image"].shape[:2]) == (NUM, 3)
    assert table.count_nulls("embedding") == 0


def test_compare_resamples_pictures_not_rows(table: cd.Table) -> None:
    comparison = cd.compare(table, "before", "after")

    assert (comparison.mean.num_rows, comparison.mean.num_clusters, comparison.cluster) == (NUM, 3, "image_id")
    assert "only 3 images" in str(comparison)


@pytest.mark.usefixtures("datachain_root")
def test_its_rows_go_to_a_chain_and_come_in_from_there(table: cd.Table, tmp_path: Path) -> None:
    chain = cd.to_datachain(table, ["image_id", "image"]).settings(prefetch=0)

    done = ingest.from_chain(
        chain.map(path=lambda image_id: f"{image_id}.jpg", output={"path": str}), into=tmp_path / "t.lance"
    )

    assert done.table.to_table(["path"]).column(0).to_pylist()[:2] == ["0.jpg", "0.jpg#1"]
    assert done.table.to_table(["image"]).column(0).to_pylist()[-1] == encoded(2)


def test_what_is_no_image_is_left_out_of_an_export_and_counted(tmp_path: Path) -> None:
    rows = {"img": [encoded(0), b"no image", None, b""], "captions": [["a"], ["b"], ["c"], ["d"]]}
    lance.write_dataset(pa.table(rows), tmp_path / "theirs.lance")

    done = cd.export(tmp_path / "theirs.lance", tmp_path / "out")

    assert (done.num_rows, done.refused) == (1, {NO_PICTURE: 2, "what the row holds is no picture": 1})
    assert "1 row left out: what the row holds is no picture" in str(done)
