"""Encoded images of a batch to one uint8 tensor, in threads that live as long as the stream is read.

Decoding itself is that of `images.batches`, which map uses as well: each distinct picture of a batch once. It knows
Arrow and images; what a model wants done to the pixels is handed in.
Shapes: B images of a batch, C = 3 channels, H and W as the model wants them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch

from clipdata.errors import ImageRefused
from clipdata.images.batches import NO_IMAGE, decode_batch
from clipdata.stream.shares import MeteredThreads, Stopwatch, Took

Prepare = Callable[[np.ndarray], torch.Tensor]
"""Pixels uint8 [any height, any width, 3] to a tensor uint8 [C, H, W], the same size for every image."""


@dataclass(frozen=True)
class Decoded:
    """The images of a batch.

    Args:
        image_BCHW: uint8 [B, C, H, W]; what a refused image leaves is undefined.
        refused: place in the batch → why its image cannot be used.
    """

    image_BCHW: torch.Tensor
    refused: Mapping[int, ImageRefused]


class ImageDecoder:
    """Decodes batches of images.

    Args:
        prepare: makes a model's input of decoded pixels.
        num_threads: images decoded at the same time.
    """

    def __init__(self, prepare: Prepare, *, num_threads: int) -> None:
        self._prepare = prepare
        self._pool = MeteredThreads(num_threads, "clipdata-decode")
        self._stopwatch, self._num_pictures = Stopwatch(), 0
        self._shape_CHW: tuple[int, ...] | None = None

    def close(self) -> None:
        """End the threads, leaving out images that are not begun."""
        self._pool.shutdown(cancel_futures=True)

    def taken(self) -> tuple[int, Took, Took]:
        """Pictures decoded since this was asked the last time; the time of the caller's thread, and of the others."""
        num_pictures, self._num_pictures = self._num_pictures, 0
        return num_pictures, self._stopwatch.taken(), self._pool.taken()

    def batch(self, images: pa.ChunkedArray, unread: Mapping[int, ImageRefused]) -> Decoded:
        """Decode the images of a batch, each distinct one once.

        Args:
            images: original bytes.
            unread: place → why the file that holds the image could not be read.
        """
        with self._stopwatch:
            return self._batch(images, unread)

    def _batch(self, images: pa.ChunkedArray, unread: Mapping[int, ImageRefused]) -> Decoded:
        decoded = decode_batch(images, self._prepare, self._pool)
        self._num_pictures += len(decoded.pixels)
        shape_CHW = tuple(decoded.pixels[0].shape) if decoded.pixels else self._shape()
        self._shape_CHW = shape_CHW
        image_BCHW = torch.empty((len(images), *shape_CHW), dtype=torch.uint8)
        for place, image in enumerate(decoded.image_of_row.tolist()):
            if image != NO_IMAGE:
                image_BCHW[place] = decoded.pixels[image]
        return Decoded(image_BCHW, {**decoded.refused, **unread})

    def _shape(self) -> tuple[int, ...]:
        """What a prepared image looks like, also before there is any."""
        return self._shape_CHW or tuple(self._prepare(np.zeros((32, 32, 3), np.uint8)).shape)
