"""Encoded images of a batch to one uint8 tensor, in threads: decoding and resizing release the interpreter lock.

A picture that several rows of a batch share is decoded once. It knows Arrow and images; what a model wants done to the
pixels is handed in. Shapes: B images of a batch, C = 3 channels, H and W as the model wants them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch

from clipdata.errors import ImageRefused
from clipdata.images import ImageLimits, decode

Prepare = Callable[[np.ndarray], torch.Tensor]
"""Pixels uint8 [any height, any width, 3] to a tensor uint8 [C, H, W], the same size for every image."""

_ABSENT = ImageRefused("missing", "the row holds neither the image nor a uri to read it from")


@dataclass(frozen=True)
class Decoded:
    """The images of a batch.

    Args:
        image_BCHW: uint8 [B, C, H, W]; what a refused image leaves is undefined.
        refused: place in the batch → why its image cannot be used.
    """

    image_BCHW: torch.Tensor
    refused: dict[int, ImageRefused]


class ImageDecoder:
    """Decodes batches of images.

    Args:
        prepare: makes a model's input of decoded pixels.
        num_threads: images decoded at the same time.
        limits: what an image may cost.
    """

    def __init__(self, prepare: Prepare, *, num_threads: int, limits: ImageLimits | None = None) -> None:
        self._prepare = prepare
        self._limits = limits or ImageLimits()
        self._pool = ThreadPoolExecutor(num_threads, thread_name_prefix="clipdata-decode")
        self._shape_CHW: tuple[int, ...] | None = None

    def close(self) -> None:
        """End the threads, leaving out images that are not begun."""
        self._pool.shutdown(cancel_futures=True)

    def batch(self, images: pa.ChunkedArray, unread: Mapping[int, ImageRefused]) -> Decoded:
        """Decode the images of a batch, each distinct one once.

        Args:
            images: original bytes.
            unread: place → why there is a null.
        """
        refused: dict[int, ImageRefused] = {}
        places_of: dict[bytes, list[int]] = {}
        for place, image in enumerate(images):
            if image.is_valid:
                places_of.setdefault(image.as_py(), []).append(place)
            else:
                refused[place] = unread.get(place, _ABSENT)
        outcomes = self._pool.map(self._one, places_of)
        image_BCHW: torch.Tensor | None = None
        for places, outcome in zip(places_of.values(), outcomes, strict=True):
            if isinstance(outcome, ImageRefused):
                refused |= dict.fromkeys(places, outcome)
                continue
            if image_BCHW is None:
                image_BCHW = torch.empty((len(images), *outcome.shape), dtype=torch.uint8)
                self._shape_CHW = tuple(outcome.shape)
            for place in places:
                image_BCHW[place] = outcome
        if image_BCHW is None:
            image_BCHW = torch.empty((len(images), *self._shape()), dtype=torch.uint8)
        return Decoded(image_BCHW, refused)

    def _one(self, encoded: bytes) -> torch.Tensor | ImageRefused:
        try:
            return self._prepare(decode(encoded, self._limits))
        except ImageRefused as refusal:
            return refusal

    def _shape(self) -> tuple[int, ...]:
        """What a prepared image looks like, also before there is any."""
        if self._shape_CHW is None:
            self._shape_CHW = tuple(self._prepare(np.zeros((32, 32, 3), np.uint8)).shape)
        return self._shape_CHW
