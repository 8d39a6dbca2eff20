"""Encoded images of a batch to one uint8 tensor, in threads: decoding and resizing release the interpreter lock.

It knows Arrow and images; what a model wants done to the pixels is handed in.
Shapes: B images of a batch, C = 3 channels, H and W as the model wants them.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import torch

from clipdata.errors import ImageRefused
from clipdata.images import ImageLimits, decode
from clipdata.storage import Storage, redact

Prepare = Callable[[np.ndarray], torch.Tensor]
"""Pixels uint8 [any height, any width, 3] to a tensor uint8 [C, H, W], the same size for every image."""


class ImageDecoder:
    """Decodes batches of images.

    Args:
        prepare: makes a model's input of decoded pixels.
        storage: reaches the files of tables that hold images by reference.
        num_threads: images decoded at the same time.
        limits: what an image may cost.
    """

    def __init__(
        self, prepare: Prepare, storage: Storage, *, num_threads: int, limits: ImageLimits | None = None
    ) -> None:
        self._prepare = prepare
        self._storage = storage
        self._limits = limits or ImageLimits()
        self._pool = ThreadPoolExecutor(num_threads, thread_name_prefix="clipdata-decode")

    def close(self) -> None:
        """End the threads, leaving out images that are not begun."""
        self._pool.shutdown(cancel_futures=True)

    def batch(self, images: pa.ChunkedArray, uris: pa.ChunkedArray | None, offsets: np.ndarray) -> torch.Tensor:
        """Decode the images of a batch.

        Args:
            images: original bytes; a null is read from its `uri`.
            uris: where the files are, for images held by reference.
            offsets: int64 [B], positions in the table, for messages.

        Returns:
            uint8 [B, C, H, W].

        Raises:
            ImageRefused: an image cannot be used; the message says which row.
        """

        def one(place: int) -> torch.Tensor:
            data = images[place].as_buffer() if images[place].is_valid else None
            uri = uris[place].as_py() if uris is not None else None
            try:
                encoded = memoryview(data) if data is not None else self._read(uri)
                return self._prepare(decode(encoded, self._limits))
            except ImageRefused as refused:
                named = f"row {offsets[place]}" + (f" ({redact(uri)})" if uri else "")
                raise ImageRefused(refused.reason, f"{named}: {refused.detail}") from refused

        futures = [self._pool.submit(one, place) for place in range(len(images))]
        image_BCHW: torch.Tensor | None = None
        for place, future in enumerate(futures):
            image_CHW = future.result()
            if image_BCHW is None:
                image_BCHW = torch.empty((len(futures), *image_CHW.shape), dtype=torch.uint8)
            image_BCHW[place] = image_CHW
        return image_BCHW if image_BCHW is not None else torch.empty((0, 3, 0, 0), dtype=torch.uint8)

    def _read(self, uri: str | None) -> bytes:
        if not uri:
            raise ImageRefused("missing", "the row holds neither the image nor a uri to read it from")
        filesystem, path = self._storage.filesystem(uri)
        try:
            return filesystem.cat_file(path)
        except FileNotFoundError as error:
            raise ImageRefused("missing", "the file is gone") from error
        except OSError as error:
            raise ImageRefused("unreadable", redact(str(error))) from error
