"""Lists of names and captions as text, line by line, in whatever encoding. Knows nothing of what the lines mean."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from clipdata.errors import NotFoundError, UsageError
from clipdata.file_kinds import HEAD_BYTES, kind_of_binary
from clipdata.objects.faults import as_clipdata_error, verdict_on
from clipdata.storage import Storage, absolute, redact
from ingest.metadata.encodings import guess

MAX_LINE_CHARS = 1_000_000
_HINT = "say which it is: --encoding (encoding=) gb18030, big5, latin-1, utf-16 …; or convert it to UTF-8"
_MARKS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


@contextmanager
def open_text(where: str, storage: Storage, encoding: str = "utf-8") -> Iterator[TextIO]:
    """A text file, read as it is needed; a byte-order mark is no part of it, and one of UTF-16 tells the encoding.

    Raises:
        NotFoundError: there is none.
        UsageError: it is not of this encoding, or there is no such encoding.
    """
    location = absolute(where)
    fs, path = storage.filesystem(location)
    try:
        with fs.open(path, "rb") as raw:
            start = raw.read(HEAD_BYTES)
            raw.seek(0)
            _refuse_binary(start, where)
            name = _known(_MARKS.get(start[:2], encoding) if encoding == "utf-8" else encoding)
            with io.TextIOWrapper(raw, encoding=name, newline="") as stream:
                yield stream
    except (FileNotFoundError, IsADirectoryError) as error:
        if verdict_on(error) == "again":
            raise as_clipdata_error(error, f"reading {redact(location)}", storage) from error
        if isinstance(error, IsADirectoryError):
            raise NotFoundError(f"{redact(location)} is a folder; expected a text file") from error
        raise NotFoundError(f"there is no file {redact(location)}") from error
    except UnicodeError as error:
        words = "UTF-8" if encoding == "utf-8" else encoding
        _refuse_binary(fs.cat_file(path, end=HEAD_BYTES) + fs.cat_file(path, start=-4), where)
        raise UsageError(f"{redact(location)} is not {words}: {_said(error)}", hint=_likely(error)) from error
    except OSError as error:
        raise as_clipdata_error(error, f"reading {redact(location)}", storage) from error


def lines(stream: TextIO, where: str) -> Iterator[str]:
    """The lines without their ends.

    Raises:
        UsageError: a line has no end, as in a binary file.
    """
    number = 0
    while line := stream.readline(MAX_LINE_CHARS + 1):
        number += 1
        if len(line) > MAX_LINE_CHARS:
            raise UsageError(f"{redact(where)}: line {number} has no end; is this a text file?")
        yield line.rstrip("\r\n")


def names(where: str, storage: Storage, encoding: str = "utf-8") -> Iterator[str]:
    """The lines of a list of names, without blank ones and comments, and without space around them."""
    with open_text(where, storage, encoding) as stream:
        for line in lines(stream, where):
            name = line.strip().removeprefix("./")
            if name and not name.startswith("#"):
                yield name


def _refuse_binary(data: bytes, where: str) -> None:
    """Say what a file is that is no text in any encoding.

    Raises:
        UsageError: its bytes tell.
    """
    kind = kind_of_binary(data, where)
    if kind is not None:
        raise UsageError(f"{redact(absolute(where))} is {kind.name}; expected text", hint=kind.mend)


def _known(encoding: str) -> str:
    try:
        found = codecs.lookup(encoding).name
    except LookupError as error:
        raise UsageError(f"{error}; expected a name such as 'utf-8', 'latin-1' or 'gb18030'") from error
    return "utf-8-sig" if found == "utf-8" else found


def _likely(error: UnicodeError) -> str:
    if not isinstance(error, UnicodeDecodeError):
        return _HINT
    likely = guess(error.object)
    return f"it looks like {likely}: say so with --encoding {likely} (encoding={likely!r})"


def _said(error: UnicodeError) -> str:
    return f"{error.reason} at byte {error.start:,}" if isinstance(error, UnicodeDecodeError) else str(error)
