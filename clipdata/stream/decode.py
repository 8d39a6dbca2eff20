"""Encoded images of a batch to one uint8 tensor, in threads that live as long as the stream is read.

Decoding itself is that of `images.batches`, which map uses as well: each distinct picture of a batch once. It knows
Arrow and images; what a model wants done to the pixels is handed in.
Shapes: B images of a batch, C = 3 channels, H and W as the model wants them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from clipdata.errors import ImageRefused
from clipdata.images.batches import NO_IMAGE, Encoded, decode_batch

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
        self._pool = ThreadPoolExecutor(num_threads, thread_name_prefix="clipdata-decode")
        self._shape_CHW: tuple[int, ...] | None = None

    def close(self) -> None:
        """End the threads, leaving out images that are not begun."""
        self._pool.shutdown(cancel_futures=True)

    def batch(self, images: Encoded, unread: Mapping[int, ImageRefused]) -> Decoded:
        """Decode the images of a batch, each distinct one once.

        Args:
            images: original bytes.
            unread: place → why the file that holds the image could not be read.
        """
        decoded = decode_batch(images, self._prepare, self._pool)
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
