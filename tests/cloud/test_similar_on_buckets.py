"""Pictures in a bucket are compared as those of a folder are."""

from __future__ import annotations

from pathlib import Path

import pytest

import clipdata as cd
from clipdata.errors import NotFoundError
from tests.cloud.fixtures import Bucket
from tests.cloud.objects import put, put_pictures
from tests.tiny_models import tiny_encoder


def test_a_bucket_gives_the_tables_of_the_same_folder(bucket: Bucket, tmp_path: Path) -> None:
    encoder = tiny_encoder()
    pictures = put_pictures(bucket, "in/deep", range(5))
    put(bucket, {"in/notes.txt": b"no image", "in/bad.jpg": b"no picture"})
    for name, data in pictures.items():
        (tmp_path / name).write_bytes(data)

    local = cd.similar(encoder, images=tmp_path)
    remote = cd.similar(encoder, images=bucket.url("in"), storage=bucket.storage)

    assert remote.images == [bucket.url("in", "deep", name) for name in pictures]
    assert [[match.place for match in row.matches] for row in remote.tables["image-image"]] == [
        [match.place for match in row.matches] for row in local.tables["image-image"]
    ]
    assert list(remote.refused) == [bucket.url("in/bad.jpg")]


def test_objects_are_named_one_by_one(bucket: Bucket) -> None:
    encoder = tiny_encoder()
    put_pictures(bucket, "in", range(2))
    places = [bucket.url("in/00001.jpg"), bucket.url("in/00000.jpg"), bucket.url("in/gone.png")]

    found = cd.similar(encoder, images=places, storage=bucket.storage)

    assert found.images == places[:2]
    assert found.refused[places[2]].startswith("missing")


def test_a_prefix_without_pictures_is_not_found(bucket: Bucket) -> None:
    put(bucket, {"in/notes.txt": b"no image"})

    with pytest.raises(NotFoundError, match="no picture under"):
        cd.similar(tiny_encoder(), images=bucket.url("in"), storage=bucket.storage)
