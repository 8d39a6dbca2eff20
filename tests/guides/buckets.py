"""Small pictures in a bucket of an emulator on the loopback, and a tiny model."""

from __future__ import annotations

from pathlib import Path

from tests.cloud.fixtures import Bucket
from tests.pictures import encoded
from tests.tiny_models import tiny_encoder

BUCKET = "s3"
"""The fixture that lends the bucket; `tests/test_guides.py` names it in the environment."""


def prepare(folder: Path, bucket: Bucket) -> None:
    """Put pictures into the bucket, and write the model."""
    files, _ = bucket.storage.filesystem(bucket.url())
    for number in range(8):
        files.pipe_file(f"{bucket.name}/photos/{number}.jpg", encoded(number))
    tiny_encoder(folder)
    (folder / "tiny-0").rename(folder / "model")
