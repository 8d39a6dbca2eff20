"""WebP: the header and whether the end is there. It decodes nothing.

Source: RFC 9649, 2.
"""

from __future__ import annotations

from dataclasses import dataclass

from clipdata.errors import ImageRefused
from clipdata.images.orientation import UPRIGHT, read_orientation
from clipdata.plurals import counted

_HAS_EXIF, _HAS_ALPHA = 0x08, 0x10
_MAX_CHUNKS = 10_000


@dataclass(frozen=True)
class WebpLayout:
    """What the first chunk says."""

    width: int
    height: int
    has_alpha: bool
    orientation: int = UPRIGHT


def read_layout(data: bytes) -> WebpLayout:
    """Read the first chunk, and the orientation where there is one.

    Raises:
        ImageRefused: truncated, corrupt, unsupported_format.
    """
    if len(data) < 30:
        raise ImageRefused("truncated", "the file ends inside its header")
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
        orientation = _find_orientation(data) if data[20] & _HAS_EXIF else UPRIGHT
        return WebpLayout(width, height, bool(data[20] & _HAS_ALPHA), orientation)
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return WebpLayout((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, bool(bits >> 28 & 1))
    if kind == b"VP8 ":
        if data[23:26] != b"\x9d\x01\x2a":
            raise ImageRefused("corrupt", "a WebP without the start code of its frame")
        width, height = (int.from_bytes(data[at : at + 2], "little") & 0x3FFF for at in (26, 28))
        return WebpLayout(width, height, has_alpha=False)
    raise ImageRefused("unsupported_format", f"a WebP that starts with a {kind.decode('latin-1')!r} chunk")


def hold_end(data: bytes) -> None:
    """Refuse a file that is shorter than it says.

    Raises:
        ImageRefused: truncated.
    """
    missing = int.from_bytes(data[4:8], "little") + 8 - len(data)
    if missing > 0:
        raise ImageRefused("truncated", f"a WebP that lacks {counted(missing, 'byte')}")


def _find_orientation(data: bytes) -> int:
    position = 12
    for _ in range(_MAX_CHUNKS):
        if position + 8 > len(data):
            break
        length = int.from_bytes(data[position + 4 : position + 8], "little")
        if data[position : position + 4] == b"EXIF":
            return read_orientation(data[position + 8 : position + 8 + length].removeprefix(b"Exif\0\0"))
        position += 8 + length + length % 2
    return UPRIGHT
