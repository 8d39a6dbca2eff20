"""Which way up a picture is shown: reading the EXIF tag, and turning pixels. It knows no image format but EXIF's own.

Shapes: H height, W width, C channels.
"""

from __future__ import annotations

import struct

import cv2
import numpy as np

UPRIGHT = 1
_ORIENTATION_TAG = 0x0112
_MIRRORS = {2: 1, 4: 0}
_ROTATIONS = {3: cv2.ROTATE_180, 6: cv2.ROTATE_90_CLOCKWISE, 8: cv2.ROTATE_90_COUNTERCLOCKWISE}


def read_orientation(exif: bytes) -> int:
    """Read the orientation (1 to 8) from an EXIF block; 1 where there is none or the block is damaged.

    Args:
        exif: the block from its byte-order mark ("II" or "MM") on.

    Source: Exif 2.32, 4.6.4 A, tag 274.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return UPRIGHT
    entry = struct.Struct(f"{order}HHIHH")
    try:
        (start,) = struct.unpack_from(f"{order}I", exif, 4)
        (num_entries,) = struct.unpack_from(f"{order}H", exif, start)
        for index in range(num_entries):
            tag, _, _, value, _ = entry.unpack_from(exif, start + 2 + 12 * index)
            if tag == _ORIENTATION_TAG:
                return value if 1 <= value <= 8 else UPRIGHT
    except struct.error:  # a block that points outside itself says nothing; viewers show the picture as it is stored
        return UPRIGHT
    return UPRIGHT


def shown_size(width: int, height: int, orientation: int) -> tuple[int, int]:
    """Width and height as displayed."""
    return (height, width) if orientation >= 5 else (width, height)


def turn(pixels_HWC: np.ndarray, orientation: int) -> np.ndarray:
    """Turn stored pixels the way they are displayed.

    Args:
        pixels_HWC: as stored in the file; a 2-D array is turned as well.
        orientation: the EXIF value, 1 to 8.
    """
    if orientation == UPRIGHT:
        return pixels_HWC
    if orientation in _MIRRORS:
        return cv2.flip(pixels_HWC, _MIRRORS[orientation])
    if orientation in _ROTATIONS:
        return cv2.rotate(pixels_HWC, _ROTATIONS[orientation])
    transposed_HWC = cv2.transpose(pixels_HWC)
    return transposed_HWC if orientation == 5 else cv2.rotate(transposed_HWC, cv2.ROTATE_180)
