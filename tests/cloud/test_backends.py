"""What every object store of the tests must do before anything else is tested on it."""

from tests.cloud.fixtures import Bucket


def test_x(bucket: Bucket) -> None:
    fs, path = bucket.storage.filesystem(bucket.url("a", "b"))
    fs.pipe_file(path, b"hello")
    assert fs.cat_file(path, start=1, end=3) == b"el"
    print(bucket.proxy.counts().log)
