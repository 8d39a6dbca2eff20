"""Captions that wait for their images, on disk: found in the order of the files, whatever the order they came in.

In memory a caption takes 32 bytes, however long it is. It knows numbers of files, and nothing of what they are.
"""

from __future__ import annotations

import pickle
import tempfile
from array import array
from collections.abc import Iterator

import numpy as np

from ingest.pictures.captioned import Captioned

_IN_MEMORY_BYTES = 32 << 20


class CaptionSpool:
    """Captions by the number of their image's file."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES, prefix="clipdata-")  # noqa: SIM115 - goes with the spool
        self._images, self._places, self._orders = array("q"), array("q"), array("q")

    def __len__(self) -> int:
        return len(self._images)

    def add(self, image: int, found: Captioned) -> None:
        """Keep a caption of the file of this number."""
        self._images.append(image)
        self._orders.append(found.order)
        self._places.append(self._file.tell())
        pickle.dump((found.number, found.caption, found.split), self._file, pickle.HIGHEST_PROTOCOL)

    def groups(self) -> Iterator[tuple[int, list[tuple[int, str, str]]]]:
        """Yield each image's number with (number, caption, split) of all it has, by image, then by order."""
        images = np.frombuffer(self._images, np.int64) if len(self) else np.empty(0, np.int64)
        orders = np.frombuffer(self._orders, np.int64) if len(self) else images
        group: list[tuple[int, str, str]] = []
        last = -1
        for place in np.lexsort((orders, images)).tolist():
            if images[place] != last and group:
                yield last, group
                group = []
            last = int(images[place])
            self._file.seek(self._places[place])
            group.append(pickle.load(self._file))  # noqa: S301 - of our own temporary file
        if group:
            yield last, group
