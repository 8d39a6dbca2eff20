"""A tar stream in blocks: read forwards in exact amounts. Knows nothing of what the blocks mean."""

from __future__ import annotations

from typing import Protocol

from clipdata.printable import storable

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
        while size > 0:
            part = self._stream.read(min(size, _CHUNK))
            if not part:
                break
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


def printable(name: str) -> str:
    """A name that any table or terminal can hold."""
    return storable(name[:MAX_NAME]).replace("\0", "\\0")
