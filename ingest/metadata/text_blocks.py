"""A text file in blocks of whole lines, and a line at a time, from one place in it: for readers of two speeds.

Whatever the encoding, blocks and lines are UTF-8 here, and a byte-order mark is gone. Knows nothing of fields.
"""

from __future__ import annotations

import codecs
from typing import Protocol

from clipdata.errors import UsageError
from clipdata.file_kinds import kind_of_binary
from ingest.metadata.encodings import guess, has_zeros
from ingest.metadata.formats import FileFault

MAX_LINE_CHARS = 1_000_000
BLOCK_BYTES = 1 << 20
RAW_BYTES = 1 << 18


class Readable(Protocol):
    """What a text is read from."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes; empty at the end."""
        ...


def known_encoding(name: str) -> str:
    """The encoding that a name means.

    Raises:
        UsageError: there is none of that name.
    """
    try:
        found = codecs.lookup(name).name
        "".encode(found)  # not every codec is one of texts
    except (LookupError, TypeError) as error:
        raise UsageError(f"{error}; expected a name such as 'utf-8', 'latin-1' or 'gb18030'") from error
    return "utf-8-sig" if found == "utf-8" else found  # a byte-order mark is no part of the first column's name


class TextBlocks:
    """A text from its current place on.

    Args:
        stream: the bytes.
        encoding: as `known_encoding` gives it.

    Raises:
        FileFault: by every method: the bytes are no text of that encoding; the hint names one that they may be of.
    """

    def __init__(self, stream: Readable, encoding: str) -> None:
        self._stream = stream
        self._encoding = encoding
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._buffer = b""
        self._at = 0
        self._ended = False
        self.num_lines = 0
        self.position = 0

    def block(self) -> bytes:
        """The next whole lines, about `BLOCK_BYTES` of them, which stay where they are; empty where none ends."""
        while len(self._buffer) - self._at < BLOCK_BYTES and self._fill():
            pass
        if self._ended:
            return self._buffer[self._at :]
        return self._buffer[self._at : self._buffer.rfind(b"\n") + 1]

    @property
    def is_done(self) -> bool:
        """Whether the text is at its end."""
        return self._ended and self._at == len(self._buffer)

    def skip(self, num_bytes: int, num_lines: int) -> None:
        """Go on behind bytes that `block` gave."""
        self._at += num_bytes
        self.position += num_bytes
        self.num_lines += num_lines

    def readline(self, limit: int = MAX_LINE_CHARS + 1) -> str:
        r"""The next line with its end (`\n`, `\r\n` or `\r`), or what is left; about `limit` letters at most."""
        start, most_bytes = self._at, 4 * limit
        while True:
            stop = self._line_end(start)
            if stop or self._ended or len(self._buffer) - self._at >= most_bytes:
                break
            start = max(self._at, len(self._buffer) - 1)
            moved = self._at
            self._fill()
            start -= moved - self._at
        stop = min(stop or len(self._buffer), self._at + most_bytes)
        line = self._buffer[self._at : stop]
        if line:
            self.skip(len(line), 1)
        return line.decode("utf-8", "replace" if len(line) == most_bytes else "strict")

    def _line_end(self, start: int) -> int:
        """Place behind the next line's end; 0 where there is none yet."""
        newline = self._buffer.find(b"\n", start)
        carriage = self._buffer.find(b"\r", start, newline if newline >= 0 else len(self._buffer))
        if carriage < 0 or carriage + 1 == newline:
            return newline + 1
        return 0 if carriage + 1 == len(self._buffer) and not self._ended else carriage + 1

    def _fill(self) -> bool:
        if self._ended:
            return False
        raw = self._stream.read(RAW_BYTES)
        if not self._buffer and (kind := kind_of_binary(raw)) is not None:
            raise FileFault("not_text", f"it is {kind.name}; expected text", hint=kind.mend)
        try:
            if self._encoding == "utf-8-sig" and has_zeros(raw):
                raise UnicodeDecodeError("utf-8", raw, 0, 1, "every second byte is zero")
            text = self._decoder.decode(raw, final=not raw)
            fresh = text.encode()
        except UnicodeError as error:
            raise self._fault(error, raw) from error
        self._ended = not raw
        self._buffer = self._buffer[self._at :] + fresh
        self._at = 0
        return True

    def _fault(self, error: UnicodeError, raw: bytes) -> FileFault:
        likely = guess(error.object if isinstance(error, UnicodeDecodeError) else raw)
        named = self._encoding.removesuffix("-sig")
        return FileFault(
            "bad_encoding",
            f"it is not {named} text behind line {self.num_lines:,}: {getattr(error, 'reason', error)}",
            hint=f"it looks like {likely}: say so with --encoding {likely} (encoding={likely!r})",
        )
