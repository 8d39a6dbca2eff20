"""JPEGs to pixels by libjpeg-turbo straight: into given memory, to a fraction of the size, and only when all is well.

It says nothing on the terminal, and nothing of what is wrong with a file: at the least complaint of the library there
are no pixels, and the caller has to ask a decoder that says why or puts up with it. Equal to Pillow's and OpenCV's
pixels, level for level, at the full size.
"""

from __future__ import annotations

import numpy as np
import simplejpeg

from clipdata.images.canvas import Canvas
from clipdata.images.jpeg import JpegLayout

FRACTIONS = (8, 4, 2)
"""By what a picture can be divided at little cost: the inverse transforms that are written for processors."""
_EVEN = ("444", "420", "Gray", "gray")
"""Samplings whose colours have lost as much along one side as along the other."""


def decode_clean(
    data: memoryview,
    layout: JpegLayout,
    *,
    fraction: int = 1,
    canvas: Canvas | None = None,
    padded: bool = False,
) -> np.ndarray | None:
    """Decode a JPEG of one or three components that the library has nothing to say against.

    Args:
        data: the whole file, bytes.
        layout: what its header says.
        fraction: 1, or one of FRACTIONS to make a picture that many times smaller, rounded up, out of fewer
            frequencies of each block. Source: ITU-T T.81 A.3.3, and jdct.h of libjpeg.
        canvas: where to decode to; memory of the pixels' own by default.
        padded: make four channels, of which the last means nothing.

    Returns:
        uint8 [H, W, 3], or [H, W, 4] when padded; None where the library complains.

    Raises:
        MemoryError: there was no room for the pixels.
    """
    height, width = -(-layout.height // fraction), -(-layout.width // fraction)
    least = {"min_height": height, "min_width": width} if fraction > 1 else {}
    try:
        pixels_HWC = simplejpeg.decode_jpeg(
            data,
            "RGBX" if padded else "RGB",
            buffer=None if canvas is None else canvas.room(height * width * (4 if padded else 3)),
            strict=True,
            **least,
        )
    except (ValueError, RuntimeError):  # it is damaged or unusual; or the library had no room for itself
        return None
    return pixels_HWC if pixels_HWC.shape[:2] == (height, width) else None


def is_evenly_sampled(data: memoryview) -> bool:
    """Tell whether colours are as fine along one side as along the other.

    Where they are not, as in 4:2:2 and 4:1:1, a fraction of the picture has too few of them, and is levels off.
    """
    try:
        return simplejpeg.decode_jpeg_header(data, strict=False)[3] in _EVEN
    except (ValueError, RuntimeError):
        return False
