"""Places: where a table may be made, and what is left alone where it may not."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from clipdata.errors import UsageError
from clipdata.lance_io import rows
from clipdata.schema import key_field
from tests.cloud.fixtures import Bucket
from tests.cloud.objects import put
from tests.pictures import encoded
from tests.tables import number_table

SCHEMA = pa.schema([key_field("path"), pa.field("text", pa.string())])


def test_a_folder_of_photos_is_refused_by_name_and_left_as_it_was(tmp_path: Path) -> None:
    photos = tmp_path / "my photos"
    (photos / "day 1").mkdir(parents=True)
    (photos / "day 1" / "cat.jpg").write_bytes(encoded(1))

    with pytest.raises(UsageError, match=r"my photos is no table and holds other files: day 1/cat\.jpg;") as refused:
        rows.create_table(photos, SCHEMA)

    assert f"'{photos}/images.lance'" in str(refused.value)
    assert [path.name for path in photos.rglob("*")] == ["day 1", "cat.jpg"]


@pytest.mark.parametrize("below", ["", "/images.lance", "/deeper/images.lance"])
def test_a_file_is_no_place_for_a_table_and_nothing_below_it_either(tmp_path: Path, below: str) -> None:
    (tmp_path / "cat.jpg").write_bytes(encoded(1))

    with pytest.raises(UsageError, match=r"cat\.jpg is a file, and a table is a folder"):
        rows.create_table(f"{tmp_path}/cat.jpg{below}", SCHEMA)

    assert [path.name for path in tmp_path.rglob("*")] == ["cat.jpg"]


@pytest.mark.parametrize("left", [[], [".DS_Store", "._x"], ["_transactions/0-1.txn", "data/.tmp1", "data/a.lance"]])
def test_an_empty_folder_will_do_and_one_that_a_killed_maker_left(tmp_path: Path, left: list[str]) -> None:
    place = tmp_path / "images.lance"
    place.mkdir()
    for name in left:
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_bytes(b"")

    assert rows.create_table(place, SCHEMA).num_rows == 0


@pytest.mark.parametrize("inside", ["data", "_versions"])
def test_no_table_is_made_inside_another(tmp_path: Path, inside: str) -> None:
    table = number_table(tmp_path, 3)

    with pytest.raises(UsageError, match="is no table and holds other files"):
        rows.create_table(f"{table.uri}/{inside}", SCHEMA)

    assert table.latest().num_rows == 3


@pytest.mark.cloud
def test_a_prefix_that_holds_objects_is_refused_and_a_free_one_is_not(bucket: Bucket) -> None:
    put(bucket, {"photos/a.jpg": b"1", "photos/b.jpg": b"2", "photos2/c.jpg": b"3", "one.jpg": b"4"})

    with pytest.raises(UsageError, match=r"/photos is no table and holds other files: a\.jpg, b\.jpg;"):
        rows.create_table(bucket.url("photos"), SCHEMA, storage=bucket.storage)
    with pytest.raises(UsageError, match=r"holds other files: one\.jpg;"):
        rows.create_table(bucket.url("one.jpg"), SCHEMA, storage=bucket.storage)

    fs, _ = bucket.direct.filesystem(bucket.url())
    assert len(fs.find(bucket.name)) == 4
    assert rows.create_table(bucket.url("photo"), SCHEMA, storage=bucket.storage).num_rows == 0
