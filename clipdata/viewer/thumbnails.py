"""Thumbnails: the last small pictures that a page asked for, kept in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict

from clipdata.images.canvas import Canvas
from clipdata.images.thumbnails import thumbnail

MOST_BYTES = 64 << 20
SIZES = (160, 320, 1600)
"""Longer sides, in pixels, that a picture can be asked for."""
QUALITY = {160: 78, 320: 80, 1600: 88}


class Thumbnails:
    """Makes and keeps WebP files.

    Args:
        most_bytes: that are kept.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._held: OrderedDict[object, bytes] = OrderedDict()
        self._num_bytes = 0
        self._local = threading.local()

    @property
    def num_bytes(self) -> int:
        """That are kept now."""
        return self._num_bytes

    def kept(self, key: object) -> bytes | None:
        """A file that was made before."""
        with self._lock:
            if key not in self._held:
                return None
            self._held.move_to_end(key)
            return self._held[key]

    def make(self, key: object, data: bytes, size: int) -> bytes:
        """Make a file and keep it.

        Args:
            data: the picture's own file.
            size: longer side at most, one of `SIZES`; a smaller picture stays as it is.

        Raises:
            ImageRefused: it cannot be decoded, or not within the limits.
        """
        if not hasattr(self._local, "canvas"):
            self._local.canvas = Canvas()
        whole = data if isinstance(data, bytes) else bytes(data)
        made = thumbnail(whole, side=size, quality=QUALITY[size], canvas=self._local.canvas).data
        with self._lock:
            if key not in self._held:
                self._held[key] = made
                self._num_bytes += len(made)
            while self._num_bytes > self._most_bytes:
                self._num_bytes -= len(self._held.popitem(last=False)[1])
        return made
