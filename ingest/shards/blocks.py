"""A tar stream in blocks: read forwards in exact amounts, unpacked from gzip when it is, cut short when it swells.

Knows nothing of what the blocks mean.
"""

from __future__ import annotations

import gzip
import zlib
from typing import IO, Any, Protocol

BLOCK = 512
MAX_NAME = 4096
_CHUNK = 1 << 20


class ArchiveBroken(Exception):  # noqa: N818 - it ends one archive, and never leaves the ways in
    """Nothing more can be read from this archive; what came before it is good."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class Readable(Protocol):
    """What an archive is read from."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes; empty at the end."""
        ...


class WholeStream:
    """A stream of known length: where it ends early, the store or the network failed, and not the archive.

    Args:
        stream: an open binary file.
        size: its length in bytes, where the listing says so.
    """

    def __init__(self, stream: Readable, size: int | None) -> None:
        self._stream = stream
        self._size = size
        self._count = 0

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes.

        Raises:
            OSError: the stream ended before its length.
        """
        data = self._stream.read(size)
        self._count += len(data)
        if not data and size and self._size is not None and self._count < self._size:
            raise OSError(f"the stream ended after {self._count:,} of {self._size:,} bytes")
        return data


class Blocks:
    """A stream read in exact amounts."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream

    def read_block(self) -> bytes:
        """One header block, or what is left of it at the end."""
        return self._read(BLOCK)

    def read(self, size: int, name: str) -> bytes:
        data = self._read(size)
        if len(data) < size:
            raise ArchiveBroken("truncated", f"the archive ends inside {printable(name)!r}")
        return data

    def skip(self, size: int, name: str) -> None:
        while size > 0:
            self.read(min(size, _CHUNK), name)
            size -= _CHUNK

    def _read(self, size: int) -> bytes:
        parts: list[bytes] = []
        try:
            while size > 0:
                part = self._stream.read(min(size, _CHUNK))
                if not part:
                    break
                parts.append(part)
                size -= len(part)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ArchiveBroken("truncated" if isinstance(error, EOFError) else "corrupt", str(error)) from error
        return b"".join(parts)


def plain(stream: Readable, max_expansion: int) -> Readable:
    """The stream itself, or what is inside when it is gzip."""
    start = stream.read(2)
    whole = _Replayed(start, stream)
    if start != b"\x1f\x8b":
        return whole
    return _Inflated(whole, max_expansion)


class _Replayed:
    """A stream from which the first bytes have been read already."""

    def __init__(self, start: bytes, stream: Readable) -> None:
        self._start = start
        self._stream = stream
        self.count = 0

    def read(self, size: int = -1, /) -> bytes:
        data, self._start = self._start[:size], self._start[size:]
        data = data or self._stream.read(size)
        self.count += len(data)
        return data


class _Inflated:
    """The bytes inside a gzip stream, as long as it does not swell beyond reason."""

    def __init__(self, compressed: _Replayed, max_expansion: int) -> None:
        self._compressed = compressed
        self._gzip: IO[Any] = gzip.GzipFile(fileobj=compressed, mode="rb")  # type: ignore[call-overload]
        self._max_expansion = max_expansion
        self._count = 0

    def read(self, size: int, /) -> bytes:
        data: bytes = self._gzip.read(size)
        self._count += len(data)
        if self._count > _CHUNK + self._max_expansion * self._compressed.count:
            raise ArchiveBroken("time_bomb", f"swells more than {self._max_expansion}-fold when decompressed")
        return data


def printable(name: str) -> str:
    """A name that any table or terminal can hold."""
    return name[:MAX_NAME].encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
