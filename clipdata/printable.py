"""Text from data as it may be shown, and typed: what would give a terminal an order, or turn a line around, is spelled.

A file name may set a window's title (ESC ], BEL), a caption may colour or clear the screen, and a right-to-left
override shows `gpj.exe` as `exe.jpg`. Letters of every language, accents and emoji, joiners among them, stay as they
are. This module knows characters, and nothing of who shows them.
"""

from __future__ import annotations

import re
import shlex

# C0, DEL and C1; line and paragraph separator; bidi embeddings, overrides and isolates; halves of surrogate pairs,
# which no stream can encode (a file name that is no UTF-8 holds them).
_ORDERS = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u2028-\\u202e\\u2066-\\u2069\\ud800-\\udfff]")
_HALVES = re.compile("[\\ud800-\\udfff]")
_BYTES = range(0xDC80, 0xDD00)  # what Python has for the bytes of a name that is no UTF-8
_BYTE_IN_REPR = re.compile(r"(?<!\\)((?:\\\\)*)\\udc([89a-f][0-9a-f])")


def printable(text: str, *, keep: str = "") -> str:
    r"""Text in which control characters are spelled out: ESC as `\x1b`, a right-to-left override as `\u202e`.

    A byte of a name that is no UTF-8 is spelled as that byte: `\xff`.

    Args:
        text: from anywhere.
        keep: characters that stay as they are, such as the newline of a text of several lines.
    """
    return _ORDERS.sub(lambda found: found.group() if found.group() in keep else _spelled(found.group()), text)


def printable_quoted(text: str, *, keep: str = "") -> str:
    r"""The same of a text that quotes others as Python does, which spells that byte `\udcff`: it is `\xff` here too."""
    return printable(_BYTE_IN_REPR.sub(r"\1\\x\2", text), keep=keep)


def storable(text: str) -> str:
    r"""A name as UTF-8 can hold it: bytes and halves of letters that are none are spelled out, all else stays."""
    return _HALVES.sub(lambda found: _spelled(found.group()), text)


def shell_word(text: str) -> str:
    """A text as one word of a shell, which can be typed whatever it holds: as `$'…'` where letters do not do."""
    if printable(text) == text:
        return shlex.quote(text)
    return "$'" + "".join(_typed(letter) for letter in text) + "'"


def _spelled(letter: str) -> str:
    if ord(letter) in _BYTES:
        return f"\\x{ord(letter) - 0xDC00:02x}"
    return letter.encode("unicode_escape").decode("ascii")


def _typed(letter: str) -> str:
    if letter in "\\'":
        return f"\\{letter}"
    if 0x80 <= ord(letter) < 0xA0:  # in a shell \\x80 is a byte
        return f"\\u{ord(letter):04x}"
    return printable(letter)
