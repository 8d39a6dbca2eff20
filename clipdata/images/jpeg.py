"""JPEG: the header, the number of scans, and whether the end is there. It decodes nothing.

Source: ITU-T T.81, annex B (markers) and figure B.2 (order of segments).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from clipdata.errors import ImageRefused
from clipdata.images.orientation import UPRIGHT, read_orientation

# A marker with a segment: not a stuffed zero, not fill, not a restart or another marker that stands alone.
_SEGMENT = re.compile(rb"\xff([\x02-\xcf\xd8-\xfe])", re.DOTALL)
_MARKERS = frozenset(range(0x02, 0xD0)) | frozenset(range(0xD8, 0xFF))
_MAX_SEGMENTS = 4096
_START_OF_SCAN, _END_OF_IMAGE, _EXIF, _ADOBE = 0xDA, 0xD9, 0xE1, 0xEE
_FRAMES_READ = {0xC0, 0xC1, 0xC2, 0xC3, 0xC9, 0xCA}
_FRAMES = _FRAMES_READ | {0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF}
_PROGRESSIVE = {0xC2, 0xCA}
_HUFFMAN_BLOCKS = {0xC0, 0xC1, 0xC2}
_END = b"\xff\xd9"
_TAIL_BYTES = 64  # in which the end marker of almost every file stands


@dataclass(frozen=True)
class JpegLayout:
    """What the segments before the first scan say."""

    width: int
    height: int
    orientation: int
    num_components: int
    adobe: bool
    scans_start: int
    huffman: bool
    many_scans: bool  # progressive, or one component a scan


def read_layout(data: bytes | memoryview) -> JpegLayout:
    """Read the segments up to the first scan; a view is not copied.

    Raises:
        ImageRefused: truncated, corrupt, unsupported_format.
    """
    width = height = num_components = 0
    orientation, adobe, progressive, huffman = UPRIGHT, False, False, False
    position = 2
    try:
        for _ in range(_MAX_SEGMENTS):
            if data[position] == 0xFF and data[position + 1] in _MARKERS:  # as it is in almost every file
                marker, start = data[position + 1], position + 2
            elif (found := _SEGMENT.search(data, position)) is not None:
                marker, start = data[found.start() + 1], found.end()
            else:
                raise ImageRefused("truncated", "the file ends inside its header")
            length = data[start] << 8 | data[start + 1]
            if marker in _FRAMES:
                if marker not in _FRAMES_READ or data[start + 2] != 8:
                    raise ImageRefused("unsupported_format", f"JPEG process {marker:#x} with {data[start + 2]} bits")
                height, width = data[start + 3] << 8 | data[start + 4], data[start + 5] << 8 | data[start + 6]
                num_components, progressive = data[start + 7], marker in _PROGRESSIVE
                huffman = marker in _HUFFMAN_BLOCKS
            elif marker == _START_OF_SCAN:
                if num_components == 0:
                    raise ImageRefused("corrupt", "a JPEG scan before its frame header")
                many = progressive or data[start + 2] < num_components
                return JpegLayout(width, height, orientation, num_components, adobe, start, huffman, many)
            elif marker == _END_OF_IMAGE:
                raise ImageRefused("corrupt", "a JPEG without a scan")
            elif marker == _EXIF and orientation == UPRIGHT and data[start + 2 : start + 8] == b"Exif\0\0":
                orientation = read_orientation(bytes(data[start + 8 : start + length]))
            elif marker == _ADOBE and data[start + 2 : start + 7] == b"Adobe":
                adobe = True
            position = start + max(length, 2)
    except IndexError:
        raise ImageRefused("truncated", "the file ends inside its header") from None
    raise ImageRefused("time_bomb", f"more than {_MAX_SEGMENTS} segments before the first scan")


def hold_scans(data: bytes | memoryview, layout: JpegLayout, max_scans: int) -> None:
    """Refuse a file whose scans alone would take seconds (thousands of empty passes in a few kilobytes).

    Raises:
        ImageRefused: time_bomb.
    """
    if not layout.many_scans or bytes(data).count(b"\xff\xda", layout.scans_start) < max_scans:
        return  # The count is an upper bound: metadata between or after the scans may hold the same two bytes.
    num_scans, position = 1, layout.scans_start
    while (found := _SEGMENT.search(data, position)) is not None:
        marker = data[found.start() + 1]
        if marker == _END_OF_IMAGE:
            return
        num_scans += marker == _START_OF_SCAN
        if num_scans > max_scans:
            raise ImageRefused("time_bomb", f"more than {max_scans} scans in one JPEG")
        position = found.end() + max(int.from_bytes(data[found.end() : found.end() + 2], "big"), 2)


def hold_end(data: bytes | memoryview, layout: JpegLayout) -> None:
    """Refuse a file without an end marker, or with fewer bytes than its blocks can take.

    Raises:
        ImageRefused: truncated.
    """
    before_tail = max(len(data) - _TAIL_BYTES, layout.scans_start)
    end = before_tail + bytes(data[before_tail:]).rfind(_END)
    if end < before_tail:
        end = bytes(data).rfind(_END, layout.scans_start)
    if end < 0:
        raise ImageRefused("truncated", "a JPEG without an end marker")
    num_blocks = -(-layout.width // 8) * -(-layout.height // 8)
    # Huffman codes are at least one bit long and each block of the first component has at least one.
    if layout.huffman and (end - layout.scans_start) * 8 < num_blocks:
        raise ImageRefused("truncated", f"{end - layout.scans_start:,} bytes for {num_blocks:,} blocks of pixels")


def pad_last_scan(data: bytes, layout: JpegLayout) -> bytes:
    """Put filler before the end marker: a decoder skips it after a complete scan, and draws it in an incomplete one."""
    # One scan holds no segments, so the first end marker is its own; among several, metadata may hold the same bytes.
    end = (data.rfind if layout.many_scans else data.find)(_END, layout.scans_start)
    return data[:end] + b"\x55" * 256 + data[end:]
