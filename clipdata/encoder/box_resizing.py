"""Resizing a box of a picture to a given size, antialiased and fast, straight into given memory.

It is Pillow's arithmetic with coefficients of 16 bits, off by a level in places, and only the pixels of the box are
computed. It leaves the interpreter lock to others and starts no threads. It must know nothing of models.

Shapes: H, W = height and width of a picture, S = those wanted.
"""

from __future__ import annotations

import threading

import cv2
import cykooz_resizer as resizer
import numpy as np
from PIL import Image

from clipdata.images.canvas import Canvas

Box = tuple[float, float, float, float]
"""Top, left, height and width of a part of a picture, in pixels and fractions of them."""

# Pillow's cubic is that of Catmull and Rom, which it calls bicubic.
_FILTERS = {"bicubic": resizer.FilterType.catmull_rom, "bilinear": resizer.FilterType.bilinear}
# Four channels of one byte that have nothing to do with each other: RGBA would be weighed by its alpha.
_FOUR_CHANNELS = "CMYK"


class _Own(threading.local):
    """What a thread resizes with: only one at a time may use a resizer, which keeps memory of its own."""

    def __init__(self) -> None:
        self.resizer = resizer.Resizer()
        self.source, self.made = Canvas(), Canvas()


_own = _Own()


def resize_box(pixels: np.ndarray, box: Box, out: np.ndarray, interpolation: str = "bicubic") -> None:
    """Resize a box of a picture to the size of `out`.

    Args:
        pixels: uint8 RGB [H, W, 3], or [H, W, 4] whose last channel means nothing.
        box: the part to resize; what reaches beyond the picture by rounding is cut off.
        out: uint8 RGB [S, S, 3] to write to; rows may lie apart.
        interpolation: "bicubic" or "bilinear", with antialiasing.
    """
    height, width = pixels.shape[:2]
    top, left = max(box[0], 0.0), max(box[1], 0.0)
    tall, wide = min(box[2], height - top), min(box[3], width - left)
    if (tall, wide) == out.shape[:2] and top == int(top) and left == int(left):
        out[:] = pixels[int(top) : int(top + tall), int(left) : int(left + wide), :3]
        return
    options = resizer.ResizeOptions(
        resize_alg=resizer.ResizeAlg.convolution(_FILTERS[interpolation]),
        crop_box=resizer.CropBox(left, top, wide, tall),
    )
    if pixels.shape[2] == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2RGBA, dst=_four_channels(_own.source, height, width))
    made = _four_channels(_own.made, *out.shape[:2])
    _own.resizer.resize_pil(_shared(np.ascontiguousarray(pixels)), _shared(made), options)
    cv2.cvtColor(made, cv2.COLOR_RGBA2RGB, dst=out)


def _four_channels(canvas: Canvas, height: int, width: int) -> np.ndarray:
    num_bytes = height * width * 4
    memory = canvas.room(num_bytes)
    memory = np.empty(num_bytes, np.uint8) if memory is None else memory
    return memory[:num_bytes].reshape(height, width, 4)


def _shared(pixels_HW4: np.ndarray) -> Image.Image:
    """A picture of Pillow's in the same memory."""
    height, width = pixels_HW4.shape[:2]
    return Image.frombuffer(_FOUR_CHANNELS, (width, height), pixels_HW4, "raw", _FOUR_CHANNELS, 0, 1)
