"""The elements of the arrays in a large JSON document, one at a time, without holding the document.

COCO's files of captions are one object with long arrays; as Python values they take ten times the room of the text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, TextIO

_BLOCK_CHARS = 1 << 20
_MAX_ITEM_CHARS = 64 << 20
_DECODER = json.JSONDecoder()
_SPACE = " \t\r\n"


def array_items(stream: TextIO) -> Iterator[tuple[str, Any]]:
    """Yield (key, element) of every array that the object has, and (key, value) of what else it has.

    A document that is an array itself has the key "".

    Raises:
        ValueError: it is no JSON, or neither an object nor an array.
    """
    text = _Text(stream)
    start = text.next_sign()
    if start == "[":
        yield from _elements(text, "")
    elif start == "{":
        yield from _members(text)
    else:
        raise ValueError(f"it starts with {start!r}; expected an object or an array")
    if (more := text.next_sign()) != "":
        raise ValueError(f"{more!r} after the end of the document")


def _members(text: _Text) -> Iterator[tuple[str, Any]]:
    if text.take("}"):
        return
    while True:
        key = text.value()
        if not isinstance(key, str) or not text.take(":"):
            raise ValueError("expected a name and a colon")
        if text.take("["):
            yield from _elements(text, key)
        else:
            yield key, text.value()
        if not text.take(","):
            break
    if not text.take("}"):
        raise ValueError("an object without its end")


def _elements(text: _Text, key: str) -> Iterator[tuple[str, Any]]:
    if text.take("]"):
        return
    while True:
        yield key, text.value()
        if not text.take(","):
            break
    if not text.take("]"):
        raise ValueError("an array without its end")


class _Text:
    """What is left of a text, a block at a time."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._text, self._at, self._ended = stream, "", 0, False

    def next_sign(self) -> str:
        """Take the next sign that is no space; empty at the end."""
        sign = self._peek()
        self._at += len(sign)
        return sign

    def take(self, sign: str) -> bool:
        """Take a sign if it is the next one."""
        if self._peek() != sign:
            return False
        self._at += 1
        return True

    def value(self) -> Any:
        """Take a whole value."""
        self._peek()
        while True:
            try:
                found, end = _DECODER.raw_decode(self._text, self._at)
            except RecursionError as error:
                raise ValueError("it is nested too deeply") from error
            except ValueError:
                if self._ended or len(self._text) - self._at > _MAX_ITEM_CHARS:
                    raise
            else:
                # A number may go on in the next block.
                if end < len(self._text) or self._ended:
                    self._at = end
                    return found
            self._more()

    def _peek(self) -> str:
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in _SPACE:
                    return self._text[self._at]
                self._at += 1
            if self._ended:
                return ""
            self._more()

    def _more(self) -> None:
        kept = self._text[self._at :]
        block = self._stream.read(max(_BLOCK_CHARS, len(kept)))
        self._ended = not block
        self._text, self._at = kept + block, 0
