"""Thumbnails: a picture small enough to stand in a page, as WebP without a byte of metadata.

Shapes: H height, W width.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

from clipdata.images.canvas import Canvas
from clipdata.images.pixels import decode_onto
from clipdata.images.refusals import DEFAULT_LIMITS, ImageLimits

SIDE = 256
_QUALITY = 72


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


def thumbnail(data: bytes | memoryview, *, side: int = SIDE, limits: ImageLimits = DEFAULT_LIMITS) -> Thumbnail:
    """Decode a picture and make it small; one that is small already keeps its size.

    Args:
        data: the whole encoded file.
        side: longest side, in pixels.
        limits: what the file may cost.

    Raises:
        ImageRefused: the file cannot be used; `reason` is a key of `REASONS`.
        MemoryError: there was no room for the pixels; the file may be good.
    """
    from PIL import Image

    picture = decode_onto(Canvas(), data, limits, fraction=lambda height, width: _fraction(height, width, side))
    whole = Image.fromarray(picture.pixels_HWC[:, :, :3])
    scale = min(1.0, side / max(picture.whole))
    size = (max(1, round(picture.whole[1] * scale)), max(1, round(picture.whole[0] * scale)))
    small = whole.resize(size, Image.Resampling.LANCZOS) if size != whole.size else whole
    written = io.BytesIO()
    small.save(written, "WEBP", quality=_QUALITY, method=4)
    return Thumbnail(written.getvalue(), *size)


def _fraction(height: int, width: int, side: int) -> int:
    """By what a JPEG is divided as it is decoded, so that twice the pixels that are wanted stay."""
    return next((divisor for divisor in (8, 4, 2) if max(height, width) >= 2 * side * divisor), 1)
