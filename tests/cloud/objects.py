"""Objects put into a test's bucket beside its proxy, so that they are neither counted nor harmed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from tests.cloud.fault_proxy import Counts, Fault
from tests.cloud.fixtures import Bucket
from tests.pictures import encoded

TEN_PERCENT = (
    Fault("503", 0.02),
    Fault("429", 0.02),
    Fault("reset_before", 0.02),
    Fault("reset_after", 0.02),
    Fault("truncate", 0.02),
)
"""One request in ten fails, in one of five ways."""


def put(bucket: Bucket, objects: Mapping[str, bytes]) -> None:
    """Write objects, by their name in the bucket."""
    fs, _ = bucket.direct.filesystem(bucket.url())
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: fs.pipe_file(f"{bucket.name}/{name}", objects[name]), objects))


def put_pictures(bucket: Bucket, folder: str, numbers: Iterable[int]) -> dict[str, bytes]:
    """Write pictures 00000.jpg, 00001.jpg, … into a folder, and return them by their path in it."""
    pictures = {f"{number:05d}.jpg": encoded(number) for number in numbers}
    put(bucket, {f"{folder}/{name}": data for name, data in pictures.items()})
    return pictures


def remove(bucket: Bucket, name: str) -> None:
    """Delete an object."""
    fs, _ = bucket.direct.filesystem(bucket.url())
    fs.rm_file(f"{bucket.name}/{name}")


def of_folder(counts: Counts, folder: str) -> dict[str, int]:
    """Requests by kind that concern a folder of the bucket."""
    marks = (f"/{folder}/", f"={folder}/")
    return Counts([request for request in counts.log if any(mark in request.target for mark in marks)]).requests
