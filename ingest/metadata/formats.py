"""Formats of files of rows: what the suffix of a name says, and unpacking while reading, within bounds.

Knows nothing of what the rows mean.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import re
import zlib
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from clipdata.errors import UsageError

FORMATS = ("csv", "tsv", "jsonl", "parquet")
PARQUET_MAGIC = b"PAR1"
# What is unpacked may be this many times as long as what is stored, beyond a first part that every list may have.
MAX_EXPANSION = 200
FREE_BYTES = 256 << 20
_SUFFIXES = {".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
_PARQUET = re.compile(r"\.(parquet|pq)(\.(gzip|gz|snappy|zstd|zst|brotli|lz4))?$")  # packed inside, whatever the name
_UNPACK: dict[str, Callable[[Any], Any]] = {
    ".gz": lambda stream: gzip.GzipFile(fileobj=stream, mode="rb"),
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
    ".zst": lambda stream: pa.CompressedInputStream(pa.PythonFile(stream, "r"), "zstd"),
}
UNPACKING_ERRORS = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)


class FileFault(UsageError):  # noqa: N818 - it is a verdict on one file
    """A file that cannot be read as what it is.

    Args:
        reason: one word of the vocabulary of rejects.
        message: what was found, with the file's name.
        hint: what to type.
    """

    def __init__(self, reason: str, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


def format_of(name: str) -> str:
    """One of `FORMATS`, or "" where the suffix says nothing."""
    lower = name.lower()
    if _PARQUET.search(lower):
        return "parquet"
    return _SUFFIXES.get(os.path.splitext(lower.removesuffix(packing_of(lower)))[1], "")


def known_suffixes() -> str:
    """The suffixes, for a message."""
    return ", ".join([".parquet", *_SUFFIXES]) + f" (with {', '.join(_UNPACK)} behind those of texts)"


def packing_of(name: str) -> str:
    """The suffix that says how a text file is packed, or ""."""
    return next((suffix for suffix in _UNPACK if name.lower().endswith(suffix)), "")


class Unpacked(io.RawIOBase):
    """The bytes inside a packed stream, or of one that is not packed.

    Args:
        stream: open binary file.
        packing: as `packing_of` gives it.
        max_expansion: see `MAX_EXPANSION`.
        free_bytes: see `FREE_BYTES`.
    """

    def __init__(
        self,
        stream: Any,
        packing: str,
        *,
        max_expansion: int = MAX_EXPANSION,
        free_bytes: int = FREE_BYTES,
    ) -> None:
        super().__init__()
        self._stored = _Counted(stream)
        self._unpacked: Any = _UNPACK[packing](self._stored) if packing else self._stored
        self._is_packed = bool(packing)
        self._max_expansion, self._free_bytes = max_expansion, free_bytes
        self._count = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes.

        Raises:
            FileFault: it is cut off, no such archive, or swells beyond reason.
        """
        try:
            data: bytes = self._unpacked.read(size)
        except UNPACKING_ERRORS as error:
            reason = "truncated" if isinstance(error, EOFError) else "corrupt"
            raise FileFault(reason, f"it is cut off or not packed as its name says: {error}") from error
        except OSError as error:
            if not self._is_packed or error.errno is not None:
                raise
            reason = "truncated" if "truncated" in str(error).lower() else "corrupt"  # of zstandard
            raise FileFault(reason, f"it is cut off or not packed as its name says: {error}") from error
        self._count += len(data)
        if self._is_packed and self._count > self._free_bytes + self._max_expansion * self._stored.count:
            raise FileFault("time_bomb", f"it swells more than {self._max_expansion}-fold when it is unpacked")
        return data


class _Counted(io.RawIOBase):
    """A stream that counts what was read of it."""

    def __init__(self, stream: Any) -> None:
        super().__init__()
        self._stream = stream
        self.count = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        data: bytes = self._stream.read(size)
        self.count += len(data)
        return data
