"""What each store must do through each client before anything else is tested on it."""

from __future__ import annotations

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from tests.cloud.fixtures import Bucket

NUM_MANY = 2_050  # three pages


def rows(first: int, count: int, payload_bytes: int = 100) -> pa.Table:
    """A small table with a key, a number and some bytes."""
    keys = range(first, first + count)
    return pa.table(
        {
            "path": pa.array([f"{key:06d}.jpg" for key in keys]),
            "number": pa.array(keys, pa.int64()),
            "image": pa.array([key.to_bytes(4, "big") * (payload_bytes // 4) for key in keys], pa.large_binary()),
        }
    )


def write(bucket: Bucket, uri: str, table: pa.Table, mode: str = "create", **how: Any) -> lance.LanceDataset:
    return lance.write_dataset(table, uri, mode=mode, storage_options=bucket.storage.lance_options(uri), **how)


def reopen(bucket: Bucket, uri: str, version: int | None = None) -> lance.LanceDataset:
    return lance.dataset(uri, version=version, storage_options=bucket.direct.lance_options(uri))


def test_second_create_of_an_object_is_refused(bucket: Bucket) -> None:
    fs, path = bucket.storage.filesystem(bucket.url("once"))
    fs.pipe_file(path, b"one", mode="create")

    with pytest.raises(FileExistsError):
        fs.pipe_file(path, b"two", mode="create")

    assert fs.cat_file(path) == b"one"


def test_one_of_six_simultaneous_creates_of_an_object_wins(bucket: Bucket) -> None:
    fs, path = bucket.storage.filesystem(bucket.url("once"))

    def create(number: int) -> int | None:
        try:
            fs.pipe_file(path, b"%d" % number, mode="create")
        except FileExistsError:
            return None
        return number

    with ThreadPoolExecutor(6) as pool:
        winners = [number for number in pool.map(create, range(6)) if number is not None]

    assert len(winners) == 1
    assert fs.cat_file(path) == b"%d" % winners[0]


def test_six_simultaneous_appends_lose_no_row(bucket: Bucket) -> None:
    uri = bucket.url("table.lance")
    write(bucket, uri, rows(0, 10))
    together = threading.Barrier(6)

    def append(number: int) -> None:
        together.wait()
        write(bucket, uri, rows(1000 + number, 1), mode="append")

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(append, range(6)))

    table = reopen(bucket, uri)
    assert sorted(table.to_table(columns=["number"])["number"].to_pylist()) == [*range(10), *range(1000, 1006)]
    assert table.version == 7


def test_table_goes_through_every_verb(bucket: Bucket) -> None:
    uri = bucket.url("folder", "table.lance")
    table = write(bucket, uri, rows(0, 100), max_rows_per_file=40)
    write(bucket, uri, rows(100, 20), mode="append")
    table = lance.dataset(uri, storage_options=bucket.storage.lance_options(uri))
    table.add_columns({"double": "number * 2"})
    upserted = rows(115, 10).append_column("double", pa.array([7] * 10, pa.int64()))
    table.merge_insert("path").when_matched_update_all().when_not_matched_insert_all().execute(upserted)

    latest = reopen(bucket, uri)
    read = latest.to_table(columns=["number", "double"]).sort_by("number")
    assert read["number"].to_pylist() == list(range(125))
    assert read["double"].to_pylist() == [*(2 * n for n in range(115)), *([7] * 10)]
    assert latest.take([3], columns=["image"])["image"].to_pylist() == [(3).to_bytes(4, "big") * 25]
    assert [reopen(bucket, uri, version).count_rows() for version in (1, 2, 3, 4)] == [100, 120, 120, 125]
    assert "double" not in reopen(bucket, uri, 2).schema.names


def test_large_files_are_written_in_parts_and_read_by_ranges(bucket: Bucket) -> None:
    uri = bucket.url("large.lance")
    images = [np.random.default_rng(number).bytes(1_000_000) for number in range(20)]  # noise: nothing to compress
    with bucket.proxy.counting() as written:
        write(bucket, uri, pa.table({"image": pa.array(images, pa.large_binary())}))
    table = lance.dataset(uri, storage_options=bucket.storage.lance_options(uri))

    with bucket.proxy.counting() as read:
        taken = table.take([7, 13], columns=["image"])["image"].to_pylist()

    assert taken == [images[7], images[13]]
    assert 2_000_000 <= read.of("get").down_bytes < 4_000_000
    assert written.up_bytes >= 20_000_000
    assert max(request.up_bytes for request in written.log) < 10_000_000


def test_filesystem_reads_what_it_wrote(bucket: Bucket) -> None:
    fs, root = bucket.storage.filesystem(bucket.url("folder"))
    fs.pipe({f"{root}/a.txt": b"0123456789", f"{root}/sub/b.txt": b"b", f"{root}/汉字 é#.txt": b"c"})
    with fs.open(f"{root}/large.bin", "wb", block_size=5 << 20) as file:
        file.write(bytes(11 << 20))

    assert fs.cat_file(f"{root}/a.txt", start=3, end=6) == b"345"
    assert fs.cat_file(f"{root}/汉字 é#.txt") == b"c"
    assert fs.info(f"{root}/large.bin")["size"] == 11 << 20
    assert sorted(Path(name).name for name in fs.find(root)) == ["a.txt", "b.txt", "large.bin", "汉字 é#.txt"]
    fs.rm(f"{root}/sub", recursive=True)
    fs.copy(f"{root}/a.txt", f"{root}/copy.txt")
    fs.invalidate_cache()
    assert sorted(Path(name).name for name in fs.find(root)) == ["a.txt", "copy.txt", "large.bin", "汉字 é#.txt"]


def test_thousands_of_objects_are_listed_completely(bucket: Bucket, datachain_root: Path) -> None:
    names = [f"{number:05d}.jpg" for number in range(NUM_MANY)]
    direct, root = bucket.direct.filesystem(bucket.url("many"))
    direct.pipe({f"{root}/{name}": name.encode() for name in names})

    fs, root = bucket.storage.filesystem(bucket.url("many"))
    with bucket.proxy.counting() as counts:
        found = fs.find(root)
    assert sorted(Path(path).name for path in found) == names
    assert set(counts.requests) == {"list"}

    import datachain

    listed = datachain.read_storage(bucket.url("many/"), **bucket.storage.datachain_config(bucket.url("many/")))
    assert sorted(Path(str(path)).name for path in listed.to_values("file.path")) == names

    from lance.file import LanceFileSession

    session = LanceFileSession(bucket.url("many"), storage_options=bucket.storage.lance_options(bucket.url("many")))
    assert sorted(Path(path).name for path in session.list()) == names


def test_store_on_disk_creates_once_and_carries_tables(gcs_disk: Bucket) -> None:
    fs, path = gcs_disk.storage.filesystem(gcs_disk.url("once"))
    fs.pipe_file(path, b"one", mode="create")
    with pytest.raises(FileExistsError):
        fs.pipe_file(path, b"two", mode="create")
    uri = gcs_disk.url("table.lance")
    write(gcs_disk, uri, rows(0, 10))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: write(gcs_disk, uri, rows(100 + n, 1), mode="append"), range(4)))

    assert reopen(gcs_disk, uri).count_rows() == 14


def test_datachain_reads_images(bucket: Bucket, datachain_root: Path) -> None:
    fs, root = bucket.storage.filesystem(bucket.url("pictures"))
    for number in range(3):
        stored = io.BytesIO()
        Image.fromarray(np.full((8, 6, 3), 50 * number, np.uint8)).save(stored, "png")
        fs.pipe_file(f"{root}/{number}.png", stored.getvalue())

    import datachain

    uri = bucket.url("pictures/")
    chain = datachain.read_storage(uri, type="image", **bucket.storage.datachain_config(uri))
    files: list[Any] = chain.to_values("file")
    read = {file.name: file.read() for file in files}

    assert {name: (image.size, image.getpixel((0, 0))[0]) for name, image in read.items()} == {
        f"{number}.png": ((6, 8), 50 * number) for number in range(3)
    }
