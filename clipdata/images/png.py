"""PNG: the chunks, their checksums, and a still of an animation. It inflates only what looks as if it would swell.

Source: PNG specification (third edition), 5 and 11.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from clipdata.errors import ImageRefused
from clipdata.images.orientation import UPRIGHT, read_orientation
from clipdata.plurals import counted

GREY = 0
_PALETTE = 3
_TYPES_WITH_ALPHA = (4, 6)
_MAX_CHUNKS = 100_000
_SIGNATURE_BYTES = 8
# What the pixels need. Text, colour profiles and animation frames are neither checked nor handed on: a damaged or
# bomb-like one says nothing of the picture.
_PIXEL_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_CHUNK = struct.Struct(">I4s")
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# Deflate makes 1032 bytes of one at most, and few-valued bytes of that. What it packs less stays within its own size.
_MOST_FOLD, _FEW_VALUES = 1032, 64
_WINDOW_BYTES, _NUM_WINDOWS = 256, 64
_SLACK_BYTES, _PIECE_BYTES = 16 << 20, 4 << 20
_CHEAP_BYTES = 256 << 20  # to unpack so many costs less than to look at every picture of large plain areas


@dataclass(frozen=True)
class PngLayout:
    """What the chunks say."""

    width: int
    height: int
    bit_depth: int
    colour_type: int
    orientation: int = UPRIGHT
    transparency: bytes | None = None
    pixels_only: bytes = b""

    @property
    def raw_bytes(self) -> int:
        """Bytes of the pixels before they are packed, about; an interlaced picture takes a few more."""
        row_bits = self.width * self.bit_depth * _CHANNELS.get(self.colour_type, 4)
        return self.height * (1 + (row_bits + 7) // 8)

    @property
    def has_alpha(self) -> bool:
        """Whether some pixel may be see-through."""
        return self.colour_type in _TYPES_WITH_ALPHA or self.transparency is not None


def read_layout(data: bytes) -> PngLayout:
    """Read the first chunk, and the orientation where there is one.

    Raises:
        ImageRefused: truncated, corrupt.
    """
    if len(data) < 33:
        raise ImageRefused("truncated", "the file ends inside its header")
    if data[8:16] != b"\0\0\0\x0dIHDR":
        raise ImageRefused("corrupt", "a PNG that does not start with its header chunk")
    orientation = UPRIGHT
    if b"eXIf" in data:  # One quick search for the few files that have it; it may lie after the pixels.
        orientation = next((read_orientation(data[s:e]) for kind, s, e in _walk(data) if kind == b"eXIf"), UPRIGHT)
    width, height, bit_depth, colour_type = struct.unpack_from(">IIBB", data, 16)
    return PngLayout(width, height, bit_depth, colour_type, orientation)


def _walk(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, start and end of the content of each chunk, up to the end chunk."""
    position = _SIGNATURE_BYTES
    for _ in range(_MAX_CHUNKS):
        if position + 12 > len(data):
            raise ImageRefused("truncated", "a PNG without an end chunk")
        length, kind = _CHUNK.unpack_from(data, position)
        end = position + 8 + length
        if end + 4 > len(data):
            raise ImageRefused(
                "truncated", f"a {kind.decode('latin-1')!r} chunk that lacks {counted(end + 4 - len(data), 'byte')}"
            )
        yield kind, position + 8, end
        if kind == b"IEND":
            return
        position = end + 4
    raise ImageRefused("time_bomb", f"a PNG of more than {counted(_MAX_CHUNKS, 'chunk')}")


def hold_whole(data: bytes, layout: PngLayout) -> PngLayout:
    """Check every chunk that pixels depend on.

    Returns:
        the layout with its transparency, and `pixels_only`: the file without any other chunk.

    Raises:
        ImageRefused: truncated, corrupt, time_bomb.
    """
    view = memoryview(data)
    kept, transparency, seen = [view[:_SIGNATURE_BYTES]], None, set()
    for kind, start, end in _walk(data):
        if kind not in _PIXEL_CHUNKS:
            continue
        if zlib.crc32(view[start - 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            raise ImageRefused("corrupt", f"the checksum of a {kind.decode()} chunk is wrong")
        kept.append(view[start - 8 : end + 4])
        seen.add(kind)
        if kind == b"tRNS":
            transparency = data[start:end]
    if b"IDAT" not in seen:
        raise ImageRefused("corrupt", "a PNG without pixel data")
    if layout.colour_type == _PALETTE and b"PLTE" not in seen:
        raise ImageRefused("corrupt", "a PNG without its palette")
    _hold_swelling([part[8:-4] for part in kept if bytes(part[4:8]) == b"IDAT"], layout)
    whole = sum(map(len, kept)) == len(data)
    return replace(layout, transparency=transparency, pixels_only=data if whole else b"".join(kept))


def _hold_swelling(packed: list[memoryview], layout: PngLayout) -> None:
    """Refuse pixels that go on after the last row: libpng unpacks all of them, and throws them away.

    Where bytes take few values, packing was strong; only then are the pixels unpacked here, and counted.
    """
    most = 2 * layout.raw_bytes + _SLACK_BYTES
    if sum(map(len, packed)) * _MOST_FOLD <= most + _CHEAP_BYTES:
        return
    rest, unpacking, num_bytes = b"".join(packed), zlib.decompressobj(), 0
    if not _may_swell(rest):
        return
    while rest and not unpacking.eof:
        try:
            num_bytes += len(unpacking.decompress(rest, _PIECE_BYTES))
        except zlib.error:
            return  # the decoder says so, too
        if num_bytes > most:
            raise ImageRefused("time_bomb", f"a PNG whose pixels swell to more than {counted(most, 'byte')}")
        rest = unpacking.unconsumed_tail


def _may_swell(packed: bytes) -> bool:
    """Whether some of the bytes, looked at here and there, take so few values that they may stand for many."""
    letters = np.frombuffer(packed, np.uint8)
    starts = np.linspace(0, max(len(letters) - _WINDOW_BYTES, 0), _NUM_WINDOWS).astype(int)
    windows = (letters[start : start + _WINDOW_BYTES] for start in starts)
    return any(np.count_nonzero(np.bincount(window)) < _FEW_VALUES for window in windows)


def mask_of_clear_grey(stored_HW: np.ndarray, layout: PngLayout) -> np.ndarray:
    """Find the see-through pixels of a grey picture that names one value as clear (OpenCV forgets which).

    Args:
        stored_HW: uint8 or uint16, as OpenCV returns them: fewer than 8 bits are spread over 0 to 255.
    """
    assert layout.transparency is not None
    value = int.from_bytes(layout.transparency[:2], "big")
    if layout.bit_depth < 8:
        value = value * 255 // (2**layout.bit_depth - 1)
    return stored_HW == value
