"""Encoded images of a batch to one uint8 tensor, in threads that live as long as the stream is read.

Decoding itself is that of `images.batches`, which map uses as well: each distinct picture of a batch once. It knows
Arrow and images; what a model wants done to the pixels is handed in.
Shapes: B images of a batch, C channels (3 of a model's preparation), H and W as the model wants them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from clipdata.errors import ImageRefused
from clipdata.images.batches import NO_IMAGE, Encoded, FillsSlots, decode_batch, fill_slots
from clipdata.images.canvas import Canvas, ReusedMemory
from clipdata.images.threads import DecodingThreads
from clipdata.stream.shares import MeteredThreads, Stopwatch, Took

Prepare = Callable[[np.ndarray], torch.Tensor]
"""Pixels uint8 [any height, any width, 3] to a tensor uint8 [C, H, W], the same size for every image. One that also
`FillsSlots`, as a `Preparation` does, is given memory to write to instead, and is faster."""


@dataclass(frozen=True)
class Decoded:
    """The images of a batch.

    Args:
        image_BCHW: uint8 [B, C, H, W], whose memory is [B, H, W, C]; what a refused image leaves is undefined.
        refused: place in the batch → why its image cannot be used.
    """

    image_BCHW: torch.Tensor
    refused: Mapping[int, ImageRefused]


class ImageDecoder:
    """Decodes batches of images.

    Args:
        prepare: makes a model's input of decoded pixels.
        num_threads: images decoded at the same time.
        pin_memory: put batches where a GPU copies from without waiting; without a GPU it changes nothing.
    """

    def __init__(self, prepare: Prepare, *, num_threads: int, pin_memory: bool = False) -> None:
        self._prepare = prepare
        self._fills = prepare if isinstance(prepare, FillsSlots) else None
        self._pool = MeteredThreads(max(num_threads - 1, 1), "clipdata-decode")
        self._threads = DecodingThreads(num_threads, self._pool)
        self._stopwatch, self._num_pictures = Stopwatch(), 0
        self._memory = ReusedMemory()
        self._pin_memory = pin_memory and torch.cuda.is_available()
        self._shape_CHW: tuple[int, ...] | None = None

    def close(self) -> None:
        """End the threads, leaving out images that are not begun."""
        self._threads.close()

    def taken(self) -> tuple[int, Took, Took]:
        """Pictures decoded since this was asked the last time; the time of the caller's thread, and of the others."""
        num_pictures, self._num_pictures = self._num_pictures, 0
        return num_pictures, self._stopwatch.taken(), self._pool.taken()

    def batch(
        self, encoded: Encoded, unread: Mapping[int, ImageRefused], draws: Callable[[int], Any] | None = None
    ) -> Decoded:
        """Decode the images of a batch, each distinct one once.

        Args:
            encoded: original bytes [B].
            unread: place → why the file that holds the image could not be read.
            draws: place → the row's own source of chance, a `numpy.random.Generator`, for a preparation that draws.
        """
        with self._stopwatch:
            return self._called(encoded, unread) if self._fills is None else self._filled(encoded, unread, draws)

    def _filled(
        self, encoded: Encoded, unread: Mapping[int, ImageRefused], draws: Callable[[int], Any] | None
    ) -> Decoded:
        """Have a preparation write to the slots of the batch."""
        assert self._fills is not None
        image_BHWC = self._room((len(encoded), *self._fills.size, 3))
        filled = fill_slots(encoded, self._fills, image_BHWC.numpy(), self._threads, draws=draws)
        self._num_pictures += filled.num_images
        return Decoded(image_BHWC.permute(0, 3, 1, 2), {**filled.refused, **unread})

    def levels(self, image_BHWC: np.ndarray, draws: Callable[[int], Any] | None) -> torch.Tensor:
        """Make a batch of pictures that need no decoding.

        Args:
            image_BHWC: uint8, of the size that the preparation makes; or of any, where there are `draws`.
            draws: as for `batch`.

        Returns:
            uint8 [B, C, H, W], whose memory is [B, H, W, C]: the very memory given, where it may be written to.
        """
        if draws is None and image_BHWC.flags.writeable and not self._pin_memory:
            return torch.from_numpy(image_BHWC).permute(0, 3, 1, 2)
        assert self._fills is not None, "what was prepared is known to fit"
        fills = self._fills
        room_BHWC = self._room((len(image_BHWC), *fills.size, 3))
        out_BHWC = room_BHWC.numpy()

        def fill(place: int, _: Canvas) -> None:
            if draws is None:
                out_BHWC[place] = image_BHWC[place]
            else:
                fills.into(image_BHWC[place], out_BHWC[place], draws(place))

        with self._stopwatch:
            self._threads.each(len(image_BHWC), fill)
        return room_BHWC.permute(0, 3, 1, 2)

    def _called(self, encoded: Encoded, unread: Mapping[int, ImageRefused]) -> Decoded:
        """Call a preparation that makes tensors of its own, and copy those."""
        decoded = decode_batch(encoded, self._prepare, self._threads)
        self._num_pictures += len(decoded.pixels)
        channels, height, width = tuple(decoded.pixels[0].shape) if decoded.pixels else self._shape()
        self._shape_CHW = (channels, height, width)
        image_BCHW = self._room((len(encoded), height, width, channels)).permute(0, 3, 1, 2)
        for place, image in enumerate(decoded.image_of_row.tolist()):
            if image != NO_IMAGE:
                image_BCHW[place] = decoded.pixels[image]
        return Decoded(image_BCHW, {**decoded.refused, **unread})

    def _room(self, shape_BHWC: tuple[int, ...]) -> torch.Tensor:
        """Memory for a batch. What is pinned torch uses again by itself, once copies from it are through."""
        if self._pin_memory:
            return torch.empty(shape_BHWC, dtype=torch.uint8, pin_memory=True)
        return torch.from_numpy(self._memory.array(shape_BHWC, np.uint8))

    def _shape(self) -> tuple[int, ...]:
        """What a prepared image looks like, also before there is any."""
        return self._shape_CHW or tuple(self._prepare(np.zeros((32, 32, 3), np.uint8)).shape)
