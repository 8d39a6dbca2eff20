"""AVIF: how large the coded pictures in it claim to be. It decodes nothing.

The container names one size, the stream inside another; a decoder makes room for the stream's. What cannot be followed
here is left to the decoder, which follows the same structure.

Source: ISO/IEC 14496-12, 8.11 (meta, iloc); AV1 Bitstream & Decoding Process Specification, 5.3 and 5.5.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_MAX_BOXES = 1000
_MAX_UNITS = 16
_SEQUENCE_HEADER = 1


def coded_sizes(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield the largest width and height that each coded picture may have."""
    for start in _item_starts(data):
        try:
            size = _size_of_stream(data, start)
        except IndexError:
            continue
        if size is not None:
            yield size


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of the content of each box."""
    for _ in range(_MAX_BOXES):
        if start + 8 > end:
            return
        length, kind = struct.unpack_from(">I4s", data, start)
        content = start + 8
        if length == 1 and start + 16 <= end:
            (length,) = struct.unpack_from(">Q", data, content)
            content += 8
        stop = end if length == 0 else start + length
        if stop < content or stop > end:
            return
        yield kind, content, stop
        start = stop


def _item_starts(data: bytes) -> Iterator[int]:
    """Where the data of each item begins."""
    for kind, start, end in _boxes(data, 0, len(data)):
        if kind != b"meta":
            continue
        inside = {box: (first, last) for box, first, last in _boxes(data, start + 4, end)}
        if b"iloc" in inside:
            try:
                yield from _located(_Bits(data, *inside[b"iloc"]), inside.get(b"idat", (0, 0))[0])
            except IndexError:
                return


def _located(bits: _Bits, item_data: int) -> Iterator[int]:
    version, _ = bits.take(8), bits.take(24)
    offset_bits, length_bits, base_bits, index_bits = (8 * bits.take(4) for _ in range(4))
    wide = 32 if version == 2 else 16
    for _ in range(min(bits.take(wide), _MAX_BOXES)):
        bits.take(wide)
        inside = (bits.take(16) & 0xF) == 1 if version in (1, 2) else False
        bits.take(16)
        base = bits.take(base_bits)
        for number in range(bits.take(16)):
            if version in (1, 2):
                bits.take(index_bits)
            offset = bits.take(offset_bits)
            bits.take(length_bits)
            if number == 0:
                yield base + offset + (item_data if inside else 0)


def _size_of_stream(data: bytes, at: int) -> tuple[int, int] | None:
    """The size in the sequence header among the first units of a stream; None where there is none."""
    for _ in range(_MAX_UNITS):
        head = data[at]
        kind, extended, sized = head >> 3 & 0xF, head >> 2 & 1, head >> 1 & 1
        at += 1 + extended
        length = shift = 0
        while sized:
            length |= (data[at] & 0x7F) << shift
            shift, at = shift + 7, at + 1
            if not data[at - 1] & 0x80 or shift > 56:
                break
        if kind == _SEQUENCE_HEADER:
            return _size_of_sequence(_Bits(data, at, min(len(data), at + 256)))
        if not sized:
            return None
        at += length
    return None


def _size_of_sequence(bits: _Bits) -> tuple[int, int]:
    bits.take(3 + 1)
    if bits.take(1):  # a still picture's short header
        bits.take(5)
    else:
        _skip_operating_points(bits)
    width_bits, height_bits = bits.take(4) + 1, bits.take(4) + 1
    return bits.take(width_bits) + 1, bits.take(height_bits) + 1


def _skip_operating_points(bits: _Bits) -> None:
    delay_bits = 0
    if bits.take(1):  # timing
        bits.take(64)
        if bits.take(1):
            zeros = 0
            while not bits.take(1):
                zeros += 1
            bits.take(zeros)
        if bits.take(1):  # decoder model
            delay_bits = bits.take(5) + 1
            bits.take(32 + 5 + 5)
    delays = bits.take(1)
    for _ in range(bits.take(5) + 1):
        bits.take(12)
        if bits.take(5) > 7:
            bits.take(1)
        if delay_bits and bits.take(1):
            bits.take(2 * delay_bits + 1)
        if delays and bits.take(1):
            bits.take(4)


class _Bits:
    """Bits of a stretch of bytes, the highest first."""

    def __init__(self, data: bytes, start: int, end: int) -> None:
        self._data, self._at, self._end = data, start * 8, end * 8

    def take(self, num: int) -> int:
        """The next bits as a number.

        Raises:
            IndexError: there are not so many.
        """
        if self._at + num > self._end:
            raise IndexError("the bits end")
        first, last = self._at // 8, (self._at + num + 7) // 8
        value = int.from_bytes(self._data[first:last], "big")
        self._at += num
        return value >> (last * 8 - self._at) & ((1 << num) - 1)
