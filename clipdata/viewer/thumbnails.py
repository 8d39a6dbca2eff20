"""Thumbnails: pictures as WebP made of decoded pixels, so that nothing else of a file reaches the browser.

Files are decoded by the project's own decoders, with their limits. The last ones are kept in memory.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

import cv2
import numpy as np

from clipdata.errors import ImageRefused
from clipdata.images.canvas import Canvas
from clipdata.images.pixels import decode_onto
from clipdata.images.refusals import DEFAULT_LIMITS

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
        picture = decode_onto(
            self._local.canvas,
            data if isinstance(data, bytes) else bytes(data),
            DEFAULT_LIMITS,
            fraction=lambda height, width: _fraction(height, width, size),
        )
        made = webp_of(picture.pixels_HWC[..., :3], size)
        with self._lock:
            if key not in self._held:
                self._held[key] = made
                self._num_bytes += len(made)
            while self._num_bytes > self._most_bytes:
                self._num_bytes -= len(self._held.popitem(last=False)[1])
        return made


def webp_of(pixels_HWC: np.ndarray, size: int) -> bytes:
    """Pixels as a WebP whose longer side is `size` at most.

    Raises:
        ImageRefused: they cannot be written.
    """
    height, width = pixels_HWC.shape[:2]
    scale = min(1.0, size / max(height, width))
    if scale < 1:
        shape = max(1, round(width * scale)), max(1, round(height * scale))
        pixels_HWC = cv2.resize(pixels_HWC, shape, interpolation=cv2.INTER_AREA)
    bgr_HWC = cv2.cvtColor(pixels_HWC, cv2.COLOR_RGB2BGR)
    done, encoded = cv2.imencode(".webp", bgr_HWC, [cv2.IMWRITE_WEBP_QUALITY, QUALITY.get(size, 80)])
    if not done:
        raise ImageRefused("corrupt", "its pixels cannot be written as WebP")
    return encoded.tobytes()


def _fraction(height: int, width: int, size: int) -> int:
    """By what a JPEG may be divided while it is decoded, and still be scaled down afterwards."""
    longest = max(height, width)
    return next((number for number in (8, 4, 2) if longest >= 1.5 * size * number), 1)
