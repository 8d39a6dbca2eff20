"""The images of a batch of rows: each distinct one decoded once, in threads, and a reason for each row without one.

Rows of one image are neighbours in a merged table, so a batch holds it several times over. Map and the stream decode
here, and what a model wants done to the pixels is handed in: as any function (`decode_batch`), or as what writes it to
where it is wanted (`fill_slots`). It knows Arrow and images, no table, no torch and no network: an image held by
reference has to be filled in before.

Shapes: B rows of a batch, D distinct images among them, H and W as a model wants them, C = 3 channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeAlias, TypeVar, runtime_checkable

import numpy as np
import pyarrow as pa

from clipdata.errors import ImageRefused
from clipdata.images.canvas import Canvas
from clipdata.images.pixels import decode, decode_onto
from clipdata.images.refusals import DEFAULT_LIMITS, ImageLimits
from clipdata.images.threads import DecodingThreads

T = TypeVar("T")
Prepare = Callable[[np.ndarray], T]
"""What is made of the decoded pixels of one image, uint8 [any height, any width, 3]."""

Encoded: TypeAlias = "pa.Array | pa.ChunkedArray | Sequence[pa.Buffer | None]"
"""Encoded images, binary [B]; null (or None) where a row holds none."""

NO_IMAGE = -1


@runtime_checkable
class FillsSlots(Protocol):
    """What prepares pixels into memory that it is given.

    One that says `padded = True` takes pixels with a fourth channel that means nothing, which are made and resized
    faster. One that has a method `fraction(height, width)` says by what a JPEG may be divided (1, 2, 4 or 8); of a
    picture that was, `into` is also told `whole=(height, width)`, and the pixels are the fraction of it, rounded up.

    Args:
        size: height and width of what it makes.
    """

    @property
    def size(self) -> tuple[int, int]: ...

    def into(self, pixels: np.ndarray, out: np.ndarray, draw: Any) -> None:
        """Prepare one picture.

        Args:
            pixels: uint8 [any height, any width, 3], in memory that the next picture is decoded to.
            out: uint8 [H, W, 3], contiguous, all of which is written.
            draw: the row's own source of chance, with methods of `numpy.random.Generator`; None for whoever draws
                nothing.
        """


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


@dataclass(frozen=True)
class FilledSlots:
    """What became of the images of a batch that were prepared into its memory.

    Args:
        refused: row → why its image cannot be used; "missing" where the row holds no image.
        num_images: different ones that were decoded.
    """

    refused: Mapping[int, ImageRefused]
    num_images: int


def distinct_images(images: Encoded) -> DistinctImages:
    """Find equal images among the rows of a batch. Nothing is copied; bytes are compared where lengths are equal."""
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
    if not isinstance(images, pa.Array | pa.ChunkedArray):
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
    encoded: Sequence[pa.Buffer],
    prepare: Prepare[T],
    pool: Executor | DecodingThreads,
    limits: ImageLimits = DEFAULT_LIMITS,
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
    images: Encoded,
    prepare: Prepare[T],
    pool: Executor | DecodingThreads,
    limits: ImageLimits = DEFAULT_LIMITS,
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
    reasons = {image: outcome for image, outcome in enumerate(outcomes) if isinstance(outcome, ImageRefused)}
    return DecodedBatch(pixels, place_of_image[found.image_of_row], refused_rows(found.image_of_row, reasons))


def fill_slots(
    images: Encoded,
    prepare: FillsSlots,
    out_BHWC: np.ndarray,
    threads: DecodingThreads,
    *,
    draws: Callable[[int], Any] | None = None,
    limits: ImageLimits = DEFAULT_LIMITS,
) -> FilledSlots:
    """Decode each distinct image of a batch once, and prepare it into the slot of every row that holds it.

    Args:
        prepare: writes what is wanted of decoded pixels.
        out_BHWC: uint8 [B, H, W, 3], contiguous; the slot of a row that is refused may hold anything afterwards.
        draws: row → its own source of chance; an image is then prepared once for each of its rows. Called in threads.
        limits: what an image may cost.

    Raises:
        MemoryError: there was no room for an image that may be good.
    """
    found = distinct_images(images)
    rows_of: list[list[int]] = [[] for _ in found.encoded]
    for row, image in enumerate(found.image_of_row.tolist()):
        if image != NO_IMAGE:
            rows_of[image].append(row)
    reasons: dict[int, ImageRefused] = {}
    padded, fraction = getattr(prepare, "padded", False), getattr(prepare, "fraction", None)

    def fill(image: int, canvas: Canvas) -> None:
        try:
            data = memoryview(found.encoded[image])
            picture = decode_onto(canvas, data, limits, padded=padded, fraction=fraction)
        except ImageRefused as refused:
            reasons[image] = refused
            return
        whole = {} if picture.fraction == 1 else {"whole": picture.whole}
        first, *others = rows_of[image]
        if draws is not None:
            for row in rows_of[image]:
                prepare.into(picture.pixels_HWC, out_BHWC[row], draws(row), **whole)
            return
        prepare.into(picture.pixels_HWC, out_BHWC[first], None, **whole)
        for row in others:
            out_BHWC[row] = out_BHWC[first]

    threads.each(len(found.encoded), fill)
    return FilledSlots(refused_rows(found.image_of_row, reasons), len(found.encoded) - len(reasons))


def refused_rows(image_of_row: np.ndarray, reasons: Mapping[int, ImageRefused]) -> dict[int, ImageRefused]:
    """Why rows have no pixels: those of refused images, and those without an image."""
    missing = ImageRefused("missing", "the row holds no image")
    return {
        row: missing if image == NO_IMAGE else reasons[image]
        for row, image in enumerate(image_of_row.tolist())
        if image == NO_IMAGE or image in reasons
    }
