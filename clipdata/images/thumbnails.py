"""Thumbnails: a picture small enough to stand in a page, as WebP without a byte of metadata.

Shapes: H height, W width.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

import cv2

from clipdata.errors import ImageRefused
from clipdata.images.canvas import Canvas
from clipdata.images.pixels import decode_onto
from clipdata.images.refusals import DEFAULT_LIMITS, ImageLimits

SIDE = 256
QUALITY = 72


@dataclass(frozen=True)
class Thumbnail:
    """A small picture.

    Args:
        data: WebP.
        width, height: of it, in pixels.
    """

    data: bytes
    width: int
    height: int

    @property
    def uri(self) -> str:
        """As the address of a picture that lies in the page itself."""
        return f"data:image/webp;base64,{base64.b64encode(self.data).decode('ascii')}"


def thumbnail(
    data: bytes | memoryview,
    *,
    side: int = SIDE,
    quality: int = QUALITY,
    limits: ImageLimits = DEFAULT_LIMITS,
    canvas: Canvas | None = None,
) -> Thumbnail:
    """Decode a picture and make it small; one that is small already keeps its size.

    Args:
        data: the whole encoded file.
        side: longest side, in pixels.
        quality: of the WebP, from 1 to 100.
        limits: what the file may cost.
        canvas: to decode onto, of one thread; a new one by default.

    Raises:
        ImageRefused: the file cannot be used; `reason` is a key of `REASONS`.
        MemoryError: there was no room for the pixels; the file may be good.
    """
    picture = decode_onto(
        canvas or Canvas(), data, limits, fraction=lambda height, width: _fraction(height, width, side)
    )
    pixels_HWC = picture.pixels_HWC[:, :, :3]
    height, width = picture.whole
    scale = min(1.0, side / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if pixels_HWC.shape[1::-1] != size:
        pixels_HWC = cv2.resize(pixels_HWC, size, interpolation=cv2.INTER_AREA)
    bgr_HWC = cv2.cvtColor(pixels_HWC, cv2.COLOR_RGB2BGR)
    done, written = cv2.imencode(".webp", bgr_HWC, [cv2.IMWRITE_WEBP_QUALITY, quality])
    if not done:
        raise ImageRefused("corrupt", "its pixels cannot be written as WebP")
    return Thumbnail(written.tobytes(), *size)


def _fraction(height: int, width: int, side: int) -> int:
    """By what a JPEG is divided as it is decoded, so that twice the pixels that are wanted stay."""
    return next((divisor for divisor in (8, 4, 2) if max(height, width) >= 2 * side * divisor), 1)
