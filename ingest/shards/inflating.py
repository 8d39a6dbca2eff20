"""Compressed streams, told by their first bytes: unpacked as they are read, and cut short when they swell.

What is wrong with the compressed bytes ends the archive; what is wrong with the stream below stays its own error. It
knows nothing of what is inside.
"""

from __future__ import annotations

import bz2
import gzip
import re
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa

from ingest.shards.blocks import ArchiveBroken, Readable

GRACE_BYTES = 1 << 20  # what may come out of next to nothing: headers and padding of a small archive are zeros
_LONGEST_MAGIC = 10


def plain(stream: Readable, max_expansion: int) -> Readable:
    """The stream itself, or what is inside when it is gzip, zstd, bzip2 or lz4.

    Args:
        stream: an open binary file.
        max_expansion: bytes that may come out for each that goes in, beside `GRACE_BYTES`.

    Raises:
        ArchiveBroken: it is compressed in another way.
    """
    compressed = _Compressed(stream)
    kind = next((kind for kind, magic in _MAGIC.items() if magic.match(compressed.start)), None)
    if kind is None:
        return compressed
    if kind not in _OPENERS:
        raise ArchiveBroken("unsupported_format", f"compressed with {kind}; expected gzip, zstd, bzip2, lz4 or none")
    return _Inflated(compressed, _OPENERS[kind](compressed), max_expansion)


class _Compressed:
    """A stream whose first bytes were looked at. Counts what is taken from it, and remembers its own fault."""

    closed = False

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self.start = b""
        while len(self.start) < _LONGEST_MAGIC and (more := stream.read(_LONGEST_MAGIC - len(self.start))):
            self.start += more
        self._waiting = self.start
        self.count = 0
        self.fault: Exception | None = None

    def read(self, size: int = -1, /) -> bytes:
        data, self._waiting = self._waiting[:size], self._waiting[size:]
        try:
            data = data or self._stream.read(size)
        except Exception as error:
            self.fault = error
            raise
        self.count += len(data)
        return data

    def close(self) -> None:
        """Nothing: whoever opened the stream below closes it."""


class _Inflated:
    """The bytes inside a compressed stream, as long as it does not swell beyond reason."""

    def __init__(self, compressed: _Compressed, inside: Readable, max_expansion: int) -> None:
        self._compressed, self._inside, self._max_expansion = compressed, inside, max_expansion
        self._count = 0

    def read(self, size: int, /) -> bytes:
        try:
            data: bytes = self._inside.read(size)
        except (EOFError, OSError, zlib.error) as error:
            if self._compressed.fault is not None:
                raise self._compressed.fault from error
            is_cut = isinstance(error, EOFError) or "Truncated" in str(error)
            raise ArchiveBroken("truncated" if is_cut else "corrupt", str(error)) from error
        self._count += len(data)
        if self._count > GRACE_BYTES + self._max_expansion * self._compressed.count:
            raise ArchiveBroken("time_bomb", f"swells more than {self._max_expansion}-fold when decompressed")
        return data


def _arrow(codec: str) -> Callable[[_Compressed], Readable]:
    return lambda compressed: pa.CompressedInputStream(pa.PythonFile(compressed, "r"), codec)


def _gzip(compressed: Any) -> Readable:
    return gzip.GzipFile(fileobj=compressed, mode="rb")


def _bzip2(compressed: Any) -> Readable:
    return bz2.BZ2File(compressed, "rb")


# Long enough that the name with which a plain archive begins ("BZhang.jpg") is none of them.
_MAGIC: Mapping[str, re.Pattern[bytes]] = {
    "gzip": re.compile(rb"\x1f\x8b"),
    "zstd": re.compile(rb"\x28\xb5\x2f\xfd"),
    "bzip2": re.compile(rb"BZh[1-9]1AY&SY"),
    "lz4": re.compile(rb"\x04\x22\x4d\x18"),
    "xz": re.compile(rb"\xfd7zXZ\x00"),
}
_OPENERS: Mapping[str, Callable[[_Compressed], Readable]] = {
    "gzip": _gzip,
    "zstd": _arrow("zstd"),
    "bzip2": _bzip2,
    "lz4": _arrow("lz4"),
}
