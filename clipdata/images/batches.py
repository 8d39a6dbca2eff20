"""The images of a batch of rows: each distinct one decoded once, in threads, and a reason for each row without one.

Rows of one image are neighbours in a merged table, so a batch holds it several times over. Map and the stream decode
here, and what a model wants done to the pixels is handed in. It knows Arrow and images, no table, no torch and no
network: an image held by reference has to be filled in before.

Shapes: B rows of a batch, D distinct images among them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import pyarrow as pa

from clipdata.errors import ImageRefused
from clipdata.images.pixels import decode
from clipdata.images.refusals import DEFAULT_LIMITS, ImageLimits

T = TypeVar("T")
Prepare = Callable[[np.ndarray], T]
"""What is made of the decoded pixels of one image, uint8 [any height, any width, 3]."""

NO_IMAGE = -1


@dataclass(frozen=True)
class DistinctImages:
    """The different images of a batch.

    Args:
        encoded: bytes of each distinct image [D], in the order of their first rows; views of the batch's own memory.
        image_of_row: int64 [B], place in `encoded` of each row's image; NO_IMAGE where the row holds none.
    """

    encoded: Sequence[pa.Buffer]
    image_of_row: np.ndarray


@dataclass(frozen=True)
class DecodedBatch(Generic[T]):
    """What became of the images of a batch.

    Args:
        pixels: what `prepare` made of each distinct image that decodes [at most D].
        image_of_row: int64 [B], place in `pixels` of each row's image; NO_IMAGE where there is none.
        refused: row → why its image cannot be used; "missing" where the row holds no image.
    """

    pixels: Sequence[T]
    image_of_row: np.ndarray
    refused: Mapping[int, ImageRefused]


Encoded = pa.Array | pa.ChunkedArray | Sequence[pa.Buffer | None]
"""Encoded images [B], binary or as views of where they lie in memory; null, or None, where a row holds none."""


def distinct_images(images: Encoded) -> DistinctImages:
    """Find equal images among the rows of a batch. Nothing is copied; bytes are compared where lengths are equal.

    Args:
        images: [B].
    """
    encoded: list[pa.Buffer] = []
    image_of_row = np.full(len(images), NO_IMAGE, np.int64)
    by_length: dict[int, list[int]] = {}
    for row, data in enumerate(_buffers(images)):
        if data is None:
            continue
        alike = by_length.setdefault(data.size, [])
        # The image of the row before is tried first: rows of one image are neighbours.
        found = next((place for place in reversed(alike) if encoded[place].equals(data)), None)
        if found is None:
            found = len(encoded)
            encoded.append(data)
            alike.append(found)
        image_of_row[row] = found
    return DistinctImages(encoded, image_of_row)


def _buffers(images: Encoded) -> Iterator[pa.Buffer | None]:
    """Each row's bytes as a view; a scalar of Arrow would copy them."""
    if not isinstance(images, (pa.Array, pa.ChunkedArray)):
        yield from images
        return
    for chunk in images.chunks if isinstance(images, pa.ChunkedArray) else [images]:
        values = chunk if chunk.type in (pa.binary(), pa.large_binary()) else chunk.cast(pa.large_binary())
        validity, offsets, data = values.buffers()
        if not len(values):
            continue
        kind = np.int64 if values.type == pa.large_binary() else np.int32
        bounds = np.frombuffer(offsets, kind, len(values) + 1, values.offset * np.dtype(kind).itemsize)
        valid = values.is_valid().to_numpy(zero_copy_only=False) if validity is not None else None
        held = pa.py_buffer(b"") if data is None else data
        for row in range(len(values)):
            start, end = int(bounds[row]), int(bounds[row + 1])
            yield held.slice(start, end - start) if valid is None or valid[row] else None


def decode_images(
    encoded: Sequence[pa.Buffer], prepare: Prepare[T], pool: Executor, limits: ImageLimits = DEFAULT_LIMITS
) -> list[T | ImageRefused]:
    """Decode and prepare images in the threads of a pool.

    Returns:
        for each image, in order, what `prepare` made of it or why it is refused.

    Raises:
        MemoryError: there was no room for an image that may be good; images not begun are left out.
    """

    def one(data: pa.Buffer) -> T | ImageRefused:
        try:
            return prepare(decode(memoryview(data), limits))
        except ImageRefused as refused:
            return refused

    if len(encoded) == 1:  # nothing to share out
        return [one(encoded[0])]
    return list(pool.map(one, encoded))


def decode_batch(
    images: Encoded, prepare: Prepare[T], pool: Executor, limits: ImageLimits = DEFAULT_LIMITS
) -> DecodedBatch[T]:
    """Decode and prepare each distinct image of a batch once.

    Args:
        images: [B].
        prepare: makes what is wanted of decoded pixels.
        pool: threads; decoding releases the interpreter lock.
        limits: what an image may cost.

    Raises:
        MemoryError: there was no room for an image that may be good.
    """
    found = distinct_images(images)
    outcomes = decode_images(found.encoded, prepare, pool, limits)
    pixels: list[T] = []
    # One place more than there are images, so that NO_IMAGE stays what it is.
    place_of_image = np.full(len(outcomes) + 1, NO_IMAGE, np.int64)
    for image, outcome in enumerate(outcomes):
        if not isinstance(outcome, ImageRefused):
            place_of_image[image] = len(pixels)
            pixels.append(outcome)
    refused: dict[int, ImageRefused] = {}
    image_of_row = place_of_image[found.image_of_row]
    for row in np.flatnonzero(image_of_row == NO_IMAGE).tolist():
        image = int(found.image_of_row[row])
        outcome = outcomes[image] if image != NO_IMAGE else ImageRefused("missing", "the row holds no image")
        assert isinstance(outcome, ImageRefused)
        refused[row] = outcome
    return DecodedBatch(pixels, image_of_row, refused)
